/** Sends a canvas: rows of chords first, then messages. */
import type { Engine } from "../engine.ts";
import { ImproperlyConfigured, LovageError } from "../errors.ts";
import type { SignatureData } from "../protocol/message.ts";
import type { ResultTuple } from "../protocol/meta.ts";
import { AsyncResult } from "../results/async-result.ts";
import { joinKey } from "../results/backend.ts";
import { GroupResult } from "../results/group-result.ts";
import type { ResultReader, Way } from "../results/reader.ts";
import type { Command, Joined } from "../results/record.ts";
import { isUnique } from "../tasks/limits.ts";
import { checkLimits, createCall, type PublishOptions, send } from "../tasks/publish.ts";
import {
  argumentsOf,
  bodyToSend,
  type Call,
  type Counting,
  countedInLeaves,
  endOf,
  expand,
  type Given,
  type Plan,
  plan,
} from "./apply.ts";
import { atEnd, chordOptions, freeze, type ResultNode, type Rules, tupleOf } from "./freeze.ts";
import { joinRows, leafId, leafTuples, memberHash, membersRow, type RowContext, sizeRow } from "./join-rows.ts";
import {
  bodyOf,
  formOf,
  headerOf,
  inherited,
  membersOf,
  nthOf,
  withArguments,
  withMembers,
  withOptions,
} from "./shape.ts";
import type { Applied, OpenStream } from "./signature.ts";

/** Whether a task of the app that is bundled has limits. */
declare const LOVAGE_LIMITS: boolean;

/** Messages of one canvas that are under way at a time. */
const AT_A_TIME = 500;

/** A header whose tasks are all known here, or called by their type, and so run by workers like ours, may be counted in leaves. */
export const countingOf = (engine: Engine): Counting => ({
  leafSize: engine.leafSize,
  isOurs: (task) => task.startsWith("celery.") || engine.declared(task) !== undefined,
});

/** What canvases are frozen by; ids are new ones unless it is said how they are made. */
export const rulesOf = ({ config, uuid }: Engine, newId: () => string = uuid): Rules => ({
  newId,
  errbacksOnHeader: config.taskAllowErrorCbOnChordHeader,
});

/** Sends one call, that of a task which is unique too: `tasks/send-call.ts`. */
type SendOne = (
  engine: Engine,
  task: string,
  args: readonly unknown[],
  options: PublishOptions,
) => Promise<{ readonly id: string }>;

/**
 * Sends a canvas with given arguments. Nothing is sent where any message of it would be refused for what it holds.
 *
 * @param sendOne Sends a task that is unique and no part of a workflow.
 */
export async function sendCanvas(
  engine: Engine,
  signature: SignatureData,
  given: Given,
  sendOne?: SendOne,
): Promise<ResultNode> {
  const { node, ...plan } = expand(signature, given, {}, rulesOf(engine), countingOf(engine));
  if ((typeof LOVAGE_LIMITS === "undefined" || LOVAGE_LIMITS) && sendOne !== undefined) {
    const call = uniqueCall(engine, plan);
    if (call !== undefined) {
      checkLimits(engine, call.task, call.options);
      const { id } = await sendOne(engine, call.task, call.args, call.options);
      return { ...node, id };
    }
  }
  await sendPlan(engine, plan);
  return node;
}

/** A task that is unique, and no part of a workflow: it is called as by `delay`. */
function uniqueCall(engine: Engine, { calls, joins }: Plan): Call | undefined {
  const [call] = calls;
  if (call === undefined || calls.length > 1 || joins.length > 0) return undefined;
  const { groupId, chord, chain = [] } = call.options;
  const declared = engine.declared(call.task);
  const isAlone = groupId === undefined && chord === undefined && chain.length === 0;
  return isAlone && declared !== undefined && isUnique(engine.optionsOf(declared)) ? call : undefined;
}

async function sendPlan(engine: Engine, { calls, joins }: Plan): Promise<void> {
  for (const call of calls) checkLimits(engine, call.task, call.options);
  const messages = await Promise.all(calls.map((call) => createCall(engine, call.task, call.args, call.options)));
  const rows = (await Promise.all(joins.map((join) => joinRows(join, rowContext(engine))))).flat();
  await write(engine, rows);
  for (let at = 0; at < messages.length; at += AT_A_TIME) {
    await Promise.all(
      messages.slice(at, at + AT_A_TIME).map((message, index) => send(engine, message, calls[at + index]?.options)),
    );
  }
}

const sendCall = async (engine: Engine, { task, args, options }: Call): Promise<void> =>
  send(engine, await createCall(engine, task, args, options), options);

export const rowContext = (engine: Engine): RowContext => ({
  now: engine.clock.now(),
  ttl: engine.ttl(),
  codec: engine.codec,
});

async function write(engine: Engine, commands: readonly Command[]): Promise<readonly Joined[]> {
  if (commands.length === 0) return [];
  const outcomes = await (await engine.backend()).apply(commands);
  return outcomes.flatMap((outcome) => {
    if (outcome instanceof Error) throw outcome;
    return outcome.type === "joined" ? [outcome] : [];
  });
}

/** The results that a caller holds of a canvas. `first`, where it is given, is that of its beginning. */
export function toResult(reader: ResultReader, node: ResultNode, first: Applied | null = null): Applied {
  const line: ResultNode[] = [];
  for (let at: ResultNode | undefined = node; at !== undefined; at = at.parent) line.push(at);
  let result: Applied | null = first;
  for (const step of line.reverse().slice(first === null ? 0 : 1)) {
    const { id, members } = step;
    if (members === undefined) result = new AsyncResult(reader, id, result, false, step);
    else
      result = new GroupResult(
        reader,
        id,
        { length: members.length, at: (index) => toResult(reader, members[index] as ResultNode) },
        result,
      );
  }
  if (result === null) throw new LovageError("a canvas has a result");
  return result;
}

/** What a task that sends a canvas has as its child: of a chain the first step, of a chord its header. */
export function childOf(node: ResultNode): ResultTuple {
  let first = node;
  while (first.parent !== undefined) first = first.parent;
  return tupleOf(first);
}

/** Completes a chord of which all members had ended before its size was known. */
type Complete = (group: string, body: SignatureData) => Promise<void>;

/**
 * A group, or a chord (`signature` has its body), whose members come one by one. Their ids are derived from the group's,
 * so that none needs to be kept; the size of a chord is written last.
 */
export function openStream(engine: Engine, signature: SignatureData, given: Given, complete: Complete): OpenStream {
  const isChord = formOf(signature) === "chord";
  const rules = rulesOf(engine);
  const frozen = isChord ? freeze(signature, rules) : undefined;
  const header = isChord ? headerOf(signature) : signature;
  const groupId = String(frozen?.signature.options["task_id"] ?? signature.options["task_id"] ?? engine.uuid());
  const body = frozen === undefined ? undefined : bodyToSend(bodyOf(frozen.signature), groupId, given);
  const { leafSize } = engine;
  const inChord = body === undefined ? {} : { chord: countedInLeaves(body, leafSize) };
  const options = [inherited(header.options), isChord ? chordOptions(signature, rules).forHeader : {}];
  const toMembers: Given = { ...given, args: argumentsOf(signature, given) };
  /** Members whose results are not found under the id that is derived for them. */
  const others = new Map<number, ResultNode>();
  /** How the first goes to its queue, as long as all others do so too. */
  let way: Way | undefined;
  /** The header's leaf that is not full yet. */
  let leaf: ResultTuple[] = [];
  /** How many are counted in that leaf. */
  let inLeaf = 0;
  /** Under which place a task is counted whose id is its own: it may come again, and whichever message is met first runs. */
  const places = new Map<string, number>();
  /** Leaves of fewer tasks than a full one has, and how many. */
  const short = new Map<string, number>();
  let length = 0;
  /** Members of a chord that Python runs, which knows no leaves: gathered, and sent as a list, which Celery makes of them at once. */
  let listed: SignatureData[] | undefined;
  const { isOurs } = countingOf(engine);

  const derived = (index: number) => `${groupId}.${index}`;

  function place(member: SignatureData): {
    readonly calls: readonly Call[];
    readonly commands: readonly Promise<Command[]>[];
  } {
    const index = length++;
    let linked = isChord ? withArguments(member, header.args) : member;
    for (const some of options) linked = withOptions(linked, nthOf(some, index));
    const { signature: own, node } = freeze(linked, rules, { joined: isChord, defaultId: derived(index) });
    if (index === 0) way = { ...(node.task && { task: node.task }), ...(node.queue && { queue: node.queue }) };
    else if (way?.task !== node.task || way?.queue !== node.queue) way = undefined;
    let counted = index;
    if (node.members !== undefined || node.id !== derived(index)) {
      others.set(index, node);
      counted = places.get(node.id) ?? index;
      places.set(node.id, counted);
    }
    if (counted === index) inLeaf++;
    const at = atEnd(own, { group_id: groupId, group_index: counted, ...inChord });
    const { calls, joins } = plan(at, toMembers, countingOf(engine));
    for (const call of calls) checkLimits(engine, call.task, call.options);
    const commands = joins.map((join) => joinRows(join, rowContext(engine)));
    if (isChord) leaf.push(tupleOf(node));
    if (leaf.length === leafSize) commands.push(closeLeaf());
    return { calls, commands };
  }

  /** Stores who is in the leaf that is full, or the last. */
  async function closeLeaf(): Promise<Command[]> {
    const id = leafId(groupId, Math.ceil(length / leafSize) - 1);
    const members = leaf;
    leaf = [];
    if (inLeaf < leafSize) short.set(id, inLeaf);
    inLeaf = 0;
    return [await membersRow(id, members, rowContext(engine))];
  }

  async function endChord(after: SignatureData): Promise<void> {
    if (length === 0) {
      const { args: _, kwargs: __, ...more } = given;
      return sendPlan(engine, plan(after, { ...more, args: [[]] }, countingOf(engine)));
    }
    const leaves = Math.ceil(length / leafSize);
    let size = leaves;
    const context = rowContext(engine);
    const closing = leaf.length === 0 ? [] : await closeLeaf();
    await write(engine, [...closing, await membersRow(groupId, leafTuples(groupId, leaves), context)]);
    // Had all of such a leaf ended before, nobody else would tell.
    const ended: string[] = [];
    for (const [id, members] of short) {
      if (members === 0) size--;
      else {
        const [counted] = await write(engine, [sizeRow(id, members, context)]);
        if (counted !== undefined && counted.members >= members) ended.push(id);
      }
    }
    const join = { type: "join", key: joinKey(groupId), now: context.now, ttl: context.ttl } as const;
    for (const id of ended) await write(engine, [{ ...join, member: memberHash(id) }]);
    const [root] = await write(engine, [{ ...join, size }]);
    if (root !== undefined && root.members >= size) await complete(groupId, countedInLeaves(after, leafSize));
  }

  return {
    groupId,
    async send(members) {
      const flat = membersOf(members);
      const foreign = isChord ? flat.find((member) => !isOurs(endOf(member))) : undefined;
      if (foreign !== undefined && length === 0) listed ??= [];
      if (listed !== undefined) {
        listed.push(...members);
        return;
      }
      if (foreign !== undefined)
        throw new ImproperlyConfigured(
          "chord",
          `the tasks of a header from a generator must be this app's, and ${endOf(foreign)} is not; give the header as a list`,
        );
      const placed = flat.map(place);
      await write(engine, (await Promise.all(placed.flatMap(({ commands }) => commands))).flat());
      await Promise.all(placed.flatMap(({ calls }) => calls).map((call) => sendCall(engine, call)));
    },
    async end() {
      const { reader } = engine;
      if (listed !== undefined) {
        const whole = withMembers(withOptions(signature, { task_id: groupId }), listed);
        return toResult(reader, await sendCanvas(engine, whole, given));
      }
      const at = (index: number) => {
        const node = others.get(index);
        return node === undefined ? new AsyncResult(reader, derived(index), null, false, way) : toResult(reader, node);
      };
      const members = new GroupResult(reader, groupId, { length, at });
      if (frozen === undefined || body === undefined) return members;
      await endChord(body);
      return toResult(reader, frozen.node, members);
    },
  };
}
