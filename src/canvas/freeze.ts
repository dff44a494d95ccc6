/**
 * Gives every task of a canvas its id, before anything of it is sent: whatever is sent again later has the same ids, and
 * meets the first one's claim. What comes out has the forms that are left when Celery's rules for chains are applied.
 */
import { ImproperlyConfigured } from "../errors.ts";
import type { SignatureData } from "../protocol/message.ts";
import type { ResultTuple } from "../protocol/meta.ts";
import type { Way } from "../results/reader.ts";
import {
  ACCUMULATE,
  before,
  bodyOf,
  chainOf,
  chordData,
  formOf,
  groupData,
  headerOf,
  inherited,
  membersOf,
  noLinkToGroup,
  normal,
  nthOf,
  signatures,
  stepsOf,
  tasksOf,
  withOptions,
} from "./shape.ts";

/** The result of a part of a canvas: of a task, with the way to its queue, or with `members` of a group. */
export interface ResultNode extends Way {
  readonly id: string;
  readonly members?: readonly ResultNode[];
  /** What came before it: the step before in a chain, the header of a chord. */
  parent?: ResultNode;
}

/** What freezing goes by. */
export interface Rules {
  newId(): string;
  /** The setting `taskAllowErrorCbOnChordHeader`: errbacks of a chord are those of its header too. */
  readonly errbacksOnHeader: boolean;
}

export interface Frozen {
  readonly signature: SignatureData;
  readonly node: ResultNode;
}

/** Where the end of a canvas stands: what is said here is said of the task whose result is the canvas's. */
export interface Place {
  /** Its id, whatever it has. Default: its own. */
  readonly id?: string | undefined;
  /** Its id, where it has none. Default: a new one. */
  readonly defaultId?: string | undefined;
  /** Options in Python's spelling. */
  readonly options?: SignatureData["options"];
  /** It counts as one member of a chord: a group that it ends in gives its results as one. */
  readonly joined?: boolean;
}

/** A canvas with all its ids. Ids are asked for in the order of the canvas, so that the same answers make the same ids. */
export function freeze(given: SignatureData, rules: Rules, place: Place = {}): Frozen {
  const signature = normal(given);
  const form = formOf(signature);
  switch (form) {
    case "chain":
      return freezeChain(signature, rules, place);
    case "group":
      return freezeGroup(signature, rules, place);
    case "chord":
      return freezeChord(signature, rules, place);
    case "task":
      return freezeTask(signature, rules, place);
    default:
      return form satisfies never;
  }
}

const idOf = (options: SignatureData["options"]): string | undefined =>
  typeof options["task_id"] === "string" ? options["task_id"] : undefined;

function freezeTask(signature: SignatureData, rules: Rules, place: Place): Frozen {
  const id = place.id ?? idOf(signature.options) ?? place.defaultId ?? rules.newId();
  const { queue } = signature.options;
  const node = { id, task: signature.task, ...(typeof queue === "string" && { queue }) };
  return { signature: withOptions(signature, { ...place.options, task_id: id }), node };
}

function freezeChain(chain: SignatureData, rules: Rules, place: Place): Frozen {
  const flat = chainOf(stepsOf(chain));
  const steps = formOf(flat) === "chain" ? tasksOf(flat) : [flat];
  if (steps.length === 0) throw new ImproperlyConfigured("chain", "has no steps");
  const frozen = steps.map((step, index) => freeze(step, rules, index === steps.length - 1 ? place : {}));
  for (const [index, { node }] of frozen.entries()) {
    const before = frozen[index - 1];
    if (before !== undefined) rootOf(node).parent = before.node;
  }
  const [first] = frozen;
  const last = frozen.at(-1);
  if (first === undefined || last === undefined) throw new ImproperlyConfigured("chain", "has no steps");
  if (frozen.length === 1) return first;
  // A group or chord among the steps has handed them to its parts, and must not be given them again.
  const isPlain = frozen.every((step) => formOf(step.signature) === "task");
  const errbacks = isPlain ? chain.options["link_error"] : undefined;
  const signature = {
    ...chain,
    args: [],
    kwargs: { tasks: frozen.map((step) => step.signature) },
    // Celery's worker looks there, and not at the steps, for whom to tell of a body that will not run.
    options: { task_id: last.node.id, ...(errbacks === undefined ? {} : { link_error: errbacks }) },
  };
  return { signature: { ...signature, immutable: false }, node: last.node };
}

function freezeGroup(group: SignatureData, rules: Rules, place: Place): Frozen {
  const { link, ...own } = group.options;
  // What counts as one has a single result, which its callbacks get.
  if (place.joined) {
    const header = { ...group, options: own };
    return freezeChord(chordData(header, withOptions(ACCUMULATE, { link })), rules, place);
  }
  if (link !== undefined) throw noLinkToGroup();
  const { chord, group_id } = group.options;
  // A group that Python put at the end of a chain in a header: its members are members of that chord.
  const isInHeader = chord !== undefined && chord !== null;
  const id = place.id ?? idOf(group.options) ?? place.defaultId ?? rules.newId();
  const frozen = membersOf([group]).map((member, index) =>
    freeze(member, rules, {
      options: isInHeader ? { group_id, group_index: undefined, chord } : { group_id: id, group_index: index },
    }),
  );
  return {
    signature: {
      ...group,
      args: [],
      kwargs: { tasks: frozen.map(({ signature }) => signature) },
      options: { task_id: id, ...(isInHeader ? { group_id, chord } : {}) },
    },
    node: { id, members: frozen.map(({ node }) => node) },
  };
}

/** What is set on a chord: Celery gives it to the header and to the body, but waits before the header alone. */
export function chordOptions(
  chord: SignatureData,
  rules: Rules,
): { readonly forHeader: SignatureData["options"]; readonly forBody: SignatureData["options"] } {
  const { countdown, eta, ...forBody } = inherited(chord.options);
  const { link: _, link_error, ...shared } = forBody;
  const forHeader = {
    ...shared,
    ...(countdown === undefined ? {} : { countdown }),
    ...(eta === undefined ? {} : { eta }),
    ...(rules.errbacksOnHeader && link_error !== undefined ? { link_error } : {}),
  };
  return { forHeader, forBody };
}

function freezeChord(chord: SignatureData, rules: Rules, place: Place): Frozen {
  const { forHeader, forBody } = chordOptions(chord, rules);
  const header = headerOf(chord);
  const gid = idOf(chord.options) ?? idOf(header.options) ?? rules.newId();
  const members = membersOf([header]).map((member, index) =>
    freeze(withOptions(member, nthOf(forHeader, index)), rules, {
      joined: true,
      // Whose members they are is said when they are sent.
      options: { group_id: undefined, group_index: index, chord: undefined },
    }),
  );
  const after = before(withOptions(bodyOf(chord), forBody), signatures(chord.options["chain"]));
  const body = freeze(after, rules, place);
  const headerNode: ResultNode = { id: gid, members: members.map(({ node }) => node) };
  rootOf(body.node).parent = headerNode;
  const kwargs = {
    ...chord.kwargs,
    header: groupData(
      members.map(({ signature }) => signature),
      { task_id: gid },
    ),
    body: body.signature,
  };
  return { signature: { ...chord, kwargs, options: { task_id: gid } }, node: body.node };
}

function rootOf(node: ResultNode): ResultNode {
  let root = node;
  while (root.parent !== undefined) root = root.parent;
  return root;
}

/** A result as Celery writes it. */
export const tupleOf = ({ id, members }: ResultNode): ResultTuple => [[id, null], members?.map(tupleOf) ?? null];

/** What is said of the task that a canvas ends in. */
export function endOptions(signature: SignatureData): SignatureData["options"] {
  if (formOf(signature) === "chord") return endOptions(bodyOf(signature));
  const last = formOf(signature) === "chain" ? tasksOf(signature).at(-1) : undefined;
  return last === undefined ? signature.options : endOptions(last);
}

/** Says something of the task that a frozen canvas ends in; of a group's, of each member. */
export function atEnd(signature: SignatureData, options: SignatureData["options"]): SignatureData {
  switch (formOf(signature)) {
    case "chain": {
      const tasks = tasksOf(signature);
      return {
        ...signature,
        kwargs: { tasks: tasks.map((task, at) => (at === tasks.length - 1 ? atEnd(task, options) : task)) },
      };
    }
    case "chord":
      return { ...signature, kwargs: { ...signature.kwargs, body: atEnd(bodyOf(signature), options) } };
    default:
      return { ...signature, options: { ...signature.options, ...options } };
  }
}
