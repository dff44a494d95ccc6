/** From a canvas to what is to be sent of it now: the messages, and the rows of joins that must be there before them. Pure. */
import type { SignatureData } from "../protocol/message.ts";
import type { ResultTuple } from "../protocol/meta.ts";
import type { PublishOptions } from "../tasks/publish.ts";
import { countIds } from "./join-rows.ts";
import { atEnd, endOptions, type Frozen, freeze, type Place, type ResultNode, type Rules } from "./freeze.ts";
import { before, bodyOf, formOf, headerOf, signatures, tasksOf, withArguments } from "./shape.ts";
import { fromWireOptions } from "./wire-options.ts";

/** One message to send. */
export interface Call {
  readonly task: string;
  readonly args: readonly unknown[];
  readonly options: PublishOptions;
  /** The same as a signature: who waits for it is told by this when it cannot be sent. */
  readonly signature: SignatureData;
}

/** A chord that begins. */
export interface JoinPlan {
  /** The group's id. */
  readonly id: string;
  /** Results of the header, in order. */
  readonly members: readonly ResultTuple[];
  /** Members are counted in rows of so many first. Default: in one row. */
  readonly leafSize: number | undefined;
}

export interface Plan {
  readonly calls: readonly Call[];
  readonly joins: readonly JoinPlan[];
}

/** What a canvas is called with. */
export interface Given {
  readonly args?: readonly unknown[];
  readonly kwargs?: SignatureData["kwargs"];
  /** Options of every message that is sent now, in Python's spelling: `parent_id`, `root_id`. */
  readonly options?: SignatureData["options"];
  /** The rest of the chain that it stands in, as it travels: the next step is the last. */
  readonly chain?: readonly SignatureData[];
}

/** How headers are counted. */
export interface Counting {
  readonly leafSize: number;
  /** Whether all that run a task are ours, so that a header of it may be counted in leaves. */
  isOurs(task: string): boolean;
}

export interface Expanded extends Plan {
  readonly node: ResultNode;
  readonly signature: SignatureData;
}

/** Freezes a canvas and says what is to be sent of it now. */
export function expand(
  signature: SignatureData,
  given: Given,
  place: Place,
  rules: Rules,
  counting: Counting,
): Expanded {
  const frozen: Frozen = freeze(signature, rules, place);
  return { ...plan(frozen.signature, given, counting), node: frozen.node, signature: frozen.signature };
}

/** What is to be sent now of a canvas that is frozen. */
export function plan(frozen: SignatureData, given: Given, counting: Counting): Plan {
  const calls: Call[] = [];
  const joins: JoinPlan[] = [];
  run(frozen, given);
  return { calls, joins };

  function run(signature: SignatureData, given: Given): void {
    const rest = [...(given.chain ?? []), ...signatures(signature.options["chain"])];
    const form = formOf(signature);
    switch (form) {
      case "task":
        calls.push(toCall(signature, given, rest));
        break;
      case "chain": {
        // Where it ends in a group, the rest has become part of its last step.
        const whole = before({ ...signature, options: { ...signature.options, chain: undefined } }, rest);
        const [first, ...later] = tasksOf(whole);
        if (first === undefined) break;
        const chain = [...signatures(whole.options["chain"]), ...later.reverse()];
        run(first, { ...given, args: argumentsOf(signature, given), chain });
        break;
      }
      case "group":
        if (rest.length > 0) run(before(signature, rest), { ...given, chain: [] });
        else runMembers(signature, given);
        break;
      case "chord":
        runChord(signature, given, rest);
        break;
      default:
        form satisfies never;
    }
  }

  function runMembers(group: SignatureData, given: Given): void {
    for (const member of tasksOf(group)) run(member, { ...given, args: argumentsOf(group, given) });
  }

  function runChord(chord: SignatureData, given: Given, rest: readonly SignatureData[]): void {
    const id = idOf(chord);
    const body = bodyToSend(before(bodyOf(chord), rest), id, given);
    const header = tasksOf(headerOf(chord));
    if (header.length === 0) {
      const { args: _, kwargs: __, chain: ___, ...more } = given;
      return run(body, { ...more, args: [[]] });
    }
    const members = header.map(resultOf);
    // Which of two messages of one task is met first, and so in which leaf it would count, is not known.
    const inLeaves =
      header.length > counting.leafSize &&
      countIds(members) === header.length &&
      header.every((member) => counting.isOurs(endOf(member)));
    const leafSize = inLeaves ? counting.leafSize : undefined;
    joins.push({ id, members, leafSize });
    const placedBody = leafSize === undefined ? body : countedInLeaves(body, leafSize);
    const args = argumentsOf(chord, given);
    header.forEach((member, index) => {
      const placed = atEnd(member, { group_id: id, group_index: index, chord: placedBody });
      run(placed, { ...given, args, chain: [] });
    });
  }
}

/** A body belongs to its chord, unless it ends a member of another one, and to the root of what sends it. */
export function bodyToSend(given: SignatureData, id: string, { options = {} }: Given): SignatureData {
  // Says how the header that it comes of was counted, and not how its own is.
  const { join_leaves: _, ...body } = given;
  const { root_id } = options;
  const rooted = root_id === undefined ? body : { ...body, options: { ...body.options, root_id } };
  return (endOptions(body)["group_id"] ?? undefined) === undefined ? atEnd(rooted, { group_id: id }) : rooted;
}

export const argumentsOf = (signature: SignatureData, { args = [] }: Given): readonly unknown[] =>
  signature.immutable ? signature.args : [...args, ...signature.args];

/** Tells the members of a chord that they are counted in leaves. It stands beside the options, which a body's own parts inherit. */
export const countedInLeaves = (body: SignatureData, leafSize: number): SignatureData => ({
  ...body,
  join_leaves: leafSize,
});

function toCall(
  signature: SignatureData,
  { args = [], kwargs = {}, options = {} }: Given,
  rest: readonly SignatureData[],
): Call {
  // What the canvas says of where a task stands goes before what its sender says.
  const { group_id, stamped_headers } = signature.options;
  const merged = {
    ...signature.options,
    ...options,
    ...(group_id === undefined ? {} : { group_id }),
    ...(stamped_headers === undefined ? {} : { stamped_headers }),
    chain: rest.length > 0 ? rest : undefined,
  };
  const placed = withArguments({ ...signature, options: merged }, args, kwargs);
  return {
    task: placed.task,
    args: placed.args,
    options: { ...fromWireOptions(merged), kwargs: placed.kwargs },
    signature: placed,
  };
}

/** Name of the task that a frozen canvas ends in. */
export function endOf(signature: SignatureData): string {
  if (formOf(signature) === "chord") return endOf(bodyOf(signature));
  const last = formOf(signature) === "task" ? undefined : tasksOf(signature).at(-1);
  return last === undefined ? signature.task : endOf(last);
}

/** Where the result of a frozen canvas is found. */
function resultOf(signature: SignatureData): ResultTuple {
  switch (formOf(signature)) {
    case "chord":
      return resultOf(bodyOf(signature));
    case "chain": {
      const last = tasksOf(signature).at(-1);
      return last === undefined ? [[idOf(signature), null], null] : resultOf(last);
    }
    case "group":
      return [[idOf(signature), null], tasksOf(signature).map(resultOf)];
    default:
      return [[idOf(signature), null], null];
  }
}

const idOf = (signature: SignatureData): string => String(signature.options["task_id"] ?? "");
