/** From a canvas to what is to be sent of it now: the messages, and the rows of joins that must be there before them. Pure. */
import type { SignatureData } from "../protocol/message.ts";
import type { ResultTuple } from "../protocol/meta.ts";
import type { PublishOptions } from "../tasks/publish.ts";
import { atEnd, before, endOptions, type Frozen, freeze, type Place, type ResultNode, type Rules } from "./freeze.ts";
import { bodyOf, formOf, headerOf, LEAF_SIZE, signatures, tasksOf, withArguments } from "./shape.ts";
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
  /** Whether members are counted in rows of {@link LEAF_SIZE} first. */
  readonly inLeaves: boolean;
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

/** Whether all that run a task are ours, so that a header of it may be counted in leaves. */
export type IsOurs = (task: string) => boolean;

export interface Expanded extends Plan {
  readonly node: ResultNode;
  readonly signature: SignatureData;
}

/** Freezes a canvas and says what is to be sent of it now. */
export function expand(signature: SignatureData, given: Given, place: Place, rules: Rules, isOurs: IsOurs): Expanded {
  const frozen: Frozen = freeze(signature, rules, place);
  return { ...plan(frozen.signature, given, isOurs), node: frozen.node, signature: frozen.signature };
}

/** What is to be sent now of a canvas that is frozen. */
export function plan(frozen: SignatureData, given: Given, isOurs: IsOurs): Plan {
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
    const { task_id: id, chord, group_id, group_index: _, chain: __, ...options } = group.options;
    tasksOf(group).forEach((member, index) => {
      // A group that Python put at the end of a chain in a header: its members are members of that chord.
      const at =
        chord === undefined ? { group_id: id, group_index: index } : { group_id, group_index: undefined, chord };
      run(atEnd(member, at), { ...given, args: argumentsOf(group, given), options: { ...options, ...given.options } });
    });
  }

  function runChord(chord: SignatureData, given: Given, rest: readonly SignatureData[]): void {
    const { task_id, countdown, eta } = chord.options;
    const id = String(task_id);
    const body = bodyToSend(before(bodyOf(chord), rest), id, given);
    const header = headerOf(chord);
    if (header.length === 0) {
      const { args: _, kwargs: __, chain: ___, ...more } = given;
      return run(body, { ...more, args: [[]] });
    }
    const inLeaves = header.length > LEAF_SIZE && header.every((member) => isOurs(endOf(member)));
    joins.push({ id, members: header.map(resultOf), inLeaves });
    const delay = { ...(countdown === undefined ? {} : { countdown }), ...(eta === undefined ? {} : { eta }) };
    const args = argumentsOf(chord, given);
    header.forEach((member, index) => {
      const placed = atEnd(member, {
        group_id: id,
        group_index: index,
        chord: inLeaves ? countedInLeaves(body) : body,
      });
      run(placed, { ...given, args, chain: [], options: { ...delay, ...given.options } });
    });
  }
}

/** A body belongs to its chord, unless it ends a member of another one, and to the root of what sends it. */
export function bodyToSend(body: SignatureData, id: string, { options = {} }: Given): SignatureData {
  const { root_id } = options;
  const rooted = root_id === undefined ? body : { ...body, options: { ...body.options, root_id } };
  return (endOptions(body)["group_id"] ?? undefined) === undefined ? atEnd(rooted, { group_id: id }) : rooted;
}

const argumentsOf = (signature: SignatureData, { args = [] }: Given): readonly unknown[] =>
  signature.immutable ? signature.args : [...args, ...signature.args];

/** Tells the members of a chord that they are counted in leaves. */
export const countedInLeaves = (body: SignatureData): SignatureData => ({
  ...body,
  options: { ...body.options, join_leaves: LEAF_SIZE },
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
  const { join_leaves: _, ...wire } = merged as Record<string, unknown>;
  const placed = withArguments({ ...signature, options: wire }, args, kwargs);
  return {
    task: placed.task,
    args: placed.args,
    options: { ...fromWireOptions(wire), kwargs: placed.kwargs },
    signature: placed,
  };
}

/** Name of the task that a frozen canvas ends in. */
function endOf(signature: SignatureData): string {
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
