/**
 * What is sent on because something has ended: canvases, and what those who wait are told where a task will not run. A
 * chord's members are counted here, and its body is sent. All of it may be done again: ids are derived from what has
 * ended, rows only ever gain, and a second copy of a message meets the first one's claim.
 */
import { expand, type Given } from "../canvas/apply.ts";
import { endOptions, freeze, type Place } from "../canvas/freeze.ts";
import { countIds, joinRows, leafId, memberHash } from "../canvas/join-rows.ts";
import { countingOf, rowContext, rulesOf } from "../canvas/send.ts";
import { ACCUMULATE, bodyOf, formOf, headerOf, signatures, tasksOf } from "../canvas/shape.ts";
import { ChordError, DecodeError, isLasting, LovageError, PayloadTooLarge, WorkerLostError } from "../errors.ts";
import type { JournalEntry } from "../journal/entry.ts";
import { createMessage, lineOf, type Message, ownHeaders, type SignatureData } from "../protocol/message.ts";
import type { Meta, ResultTuple } from "../protocol/meta.ts";
import { joinKey, taskKey } from "../results/backend.ts";
import type { Again, Joined } from "../results/record.ts";
import { stableId } from "../stable-id.ts";
import { ERRBACK_HEADER, type FailedRequest, isErrback } from "../tasks/errback.ts";
import { type Addressed, createCall } from "../tasks/publish.ts";
import { joinResults, readHeader } from "./chord-results.ts";
import { failedMeta, isOurFate, storeFate } from "./dead-letter.ts";
import { type Fate, writeNext } from "./next.ts";
import { joinEntry, unsentEntry } from "./note.ts";
import { messageOf, stackOf } from "./report.ts";
import { hasOutcome, repeating, type Sender } from "./sender.ts";

/** What ids of something that is sent on are made of, so that they are the same each time. */
export type IdParts = readonly (string | number)[];

/** What ids of what follows from a message are made of, beside its own (`lineOf`). */
type Line = ReturnType<typeof lineOf>;

/** Whose end it is that something follows from. */
export interface Origin {
  readonly id: string;
  readonly rootId: string;
}

/**
 * Sends a canvas on. What may pass is thrown: whoever asked does it again. What cannot be sent for a lasting reason has
 * failed, and who waits for it is told. Returns the ids of the tasks that it begins with.
 */
export async function sendOn(
  sender: Sender,
  signature: SignatureData,
  given: Given,
  place: Place,
  idParts: IdParts,
): Promise<readonly string[]> {
  const { engine } = sender;
  let ids = 0;
  const rules = rulesOf(engine, () => stableId(...idParts, ids++));
  let expanded: ReturnType<typeof expand>;
  try {
    expanded = expand(signature, given, place, rules, countingOf(engine));
  } catch (error) {
    const id = place.id ?? place.defaultId;
    const options = {
      ...signature.options,
      ...place.options,
      ...(id === undefined ? {} : { task_id: id }),
      chain: given.chain,
    };
    await refused(sender, { ...signature, subtask_type: null, task: "", options }, signature.task, error);
    return [];
  }
  try {
    for (const join of expanded.joins) {
      for (const row of await joinRows(join, rowContext(engine))) await sender.apply(row);
    }
  } catch (error) {
    if (!isLasting(error)) throw error;
    await refused(sender, expanded.signature, signature.task, error);
    return [];
  }
  await all(
    expanded.calls.map(async (call) => {
      const { signature: sent, task, args, options } = call;
      let message: Addressed;
      try {
        message = await createCall(engine, task, args, options);
      } catch (error) {
        // It is made of what is there already: another time it could not be made either.
        return refused(sender, sent, task, error);
      }
      try {
        await sender.send(message, call);
      } catch (error) {
        if (!isLasting(error)) throw error;
        await refused(sender, sent, task, error);
      }
    }),
  );
  return expanded.calls.flatMap(({ signature: sent }) => idOf(sent) ?? []);
}

/** Waits for all of them, also where one throws: what has begun shall not go on behind the back of who handles the error. */
async function all(steps: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(steps)).find((step) => step.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

async function refused(sender: Sender, signature: SignatureData, what: string, error: unknown): Promise<void> {
  const id = idOf(signature);
  sender.log("error", `${what}[${id ?? ""}] could not be sent: ${messageOf(error)}`, { id, error: stackOf(error) });
  const entry = unsentEntry(sender.engine, id, what, rootOf(signature), error);
  await fail(sender, signature, failedMeta(sender.engine, id ?? "", error), entry);
}

// ── what will not run ────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * A canvas that a message brings, as if it were sent now: whoever wrote it, what follows from it is derived from one form,
 * with the same ids. What is no canvas is one task, that can be told.
 */
function normalized({ engine }: Sender, signature: SignatureData, place: Place, parts: IdParts): SignatureData {
  let ids = 0;
  try {
    return freeze(
      signature,
      rulesOf(engine, () => stableId(...parts, ids++)),
      place,
    ).signature;
  } catch {
    return { ...signature, subtask_type: null, task: "" };
  }
}

/**
 * A frozen canvas will not run: the task that it ends in has failed, its errbacks are called once, and so on. `entry`: what
 * the journal is told with the first row that is stored of it.
 */
async function fail(sender: Sender, signature: SignatureData, meta: Meta, entry?: JournalEntry): Promise<void> {
  const form = formOf(signature);
  switch (form) {
    case "group":
      return all(
        tasksOf(signature).map((member, index) => fail(sender, member, meta, index === 0 ? entry : undefined)),
      );
    case "chord":
      // A group that counts as one: who is told are its members' errbacks, and those of a task that it takes the place of.
      if (bodyOf(signature).task === ACCUMULATE.task)
        return all([fail(sender, bodyOf(signature), meta, entry), fail(sender, headerOf(signature), meta)]);
      return all([fail(sender, bodyOf(signature), meta, entry), mark(sender, headerOf(signature), meta)]);
    case "task":
    case "chain": {
      const id = endOf(signature);
      const origin = { id, rootId: rootOf(signature) ?? id };
      await mark(sender, signature, meta, entry);
      const errbacks = errbacksOf(signature);
      const [row] = errbacks.length === 0 ? [] : await sender.read([taskKey(id)]);
      return callErrbacks(sender, errbacks, origin, row ?? {}, unsentCall(signature, id, meta));
    }
    default:
      return form satisfies never;
  }
}

/**
 * A frozen canvas will not run, because of what came before it: its tasks share that outcome, and count in their chords.
 * `counted`: only of those that a chord counts an outcome is stored.
 */
async function mark(
  sender: Sender,
  signature: SignatureData,
  meta: Meta,
  entry?: JournalEntry,
  counted = false,
): Promise<void> {
  const form = formOf(signature);
  switch (form) {
    case "chain":
    case "group":
      return all(
        tasksOf(signature).map((task, index) => mark(sender, task, meta, index === 0 ? entry : undefined, counted)),
      );
    case "chord":
      return all(
        [bodyOf(signature), headerOf(signature)].map((part, index) =>
          mark(sender, part, meta, index === 0 ? entry : undefined, counted),
        ),
      );
    case "task": {
      const { chain, chord, group_id: group, group_index: index } = signature.options;
      const rest = signatures(chain).map((step, at) =>
        markStep(sender, step, meta, [idOf(signature) ?? "", at], counted),
      );
      const id = idOf(signature);
      if (id === undefined) {
        if (entry !== undefined) await sender.note(entry);
        return all(rest);
      }
      const groupId = typeof group === "string" ? group : undefined;
      const fate = { ...meta, taskId: id, children: [], parentId: undefined, groupId, extended: undefined };
      const [body] = groupId === undefined ? [] : signatures(chord);
      const why: Fate = id === sender.own ? "own" : "shared";
      if (!counted || body !== undefined) await storeFate(sender, id, fate, entry, writeNext({ fate: why }));
      if (body !== undefined && groupId !== undefined) {
        const member = {
          id,
          rootId: rootOf(signature) ?? id,
          group: groupId,
          index: typeof index === "number" ? index : null,
        };
        await joinChord(sender, { ...member, body });
      }
      return all(rest);
    }
    default:
      return form satisfies never;
  }
}

/** A step that a message brings will not run. */
export const markStep = (
  sender: Sender,
  step: SignatureData,
  meta: Meta,
  parts: IdParts,
  counted?: boolean,
): Promise<void> => mark(sender, normalized(sender, step, {}, ["unrun", ...parts]), meta, undefined, counted);

/**
 * Calls errbacks: with the failed id, or where a task is known here that takes more, with (request, exception, traceback). It
 * is sent as any other task; who runs it makes an error of the exception's data again. Once for each time that the task was sent,
 * by its row: one failure is learned of from messages of several attempts, and from those of other tasks.
 */
export async function callErrbacks(
  sender: Sender,
  errbacks: readonly SignatureData[],
  { id, rootId }: Origin,
  { again = 0, redrive = 0 }: Again,
  { request, exception, traceback }: FailedCall,
): Promise<void> {
  const group = stableId("errbacks", id, again, redrive);
  await all(
    errbacks.map(async (errback, index) => {
      const parts: IdParts = ["errback", id, again, redrive, index];
      const task = formOf(errback) === "task" ? sender.engine.task(errback.task) : undefined;
      const takesError = task !== undefined && !errback.immutable && isErrback(task, errback);
      const { headers } = errback.options;
      const marked = takesError ? { headers: { ...(headers as object | null), [ERRBACK_HEADER]: true } } : {};
      const place = { defaultId: stableId(...parts), options: { group_id: group, group_index: index } };
      const args = takesError ? [request, exception, traceback] : [id];
      await sendOn(sender, errback, { args, options: { parent_id: id, root_id: rootId, ...marked } }, place, parts);
    }),
  );
}

/** What an errback is told, as data. */
interface FailedCall {
  readonly request: FailedRequest;
  readonly exception: unknown;
  readonly traceback: string | null;
}

export const failedCall = (message: Message, { result, traceback }: Meta): FailedCall => ({
  request: {
    id: message.id,
    task: message.task,
    args: message.args,
    kwargs: message.kwargs,
    retries: message.retries,
    rootId: message.rootId ?? message.id,
    parentId: message.parentId,
    group: message.group,
    headers: ownHeaders(message),
  },
  exception: result,
  traceback,
});

/** The same of what was never sent. */
function unsentCall(signature: SignatureData, id: string, meta: Meta): FailedCall {
  const { task, args, kwargs } = formOf(signature) === "chain" ? (tasksOf(signature).at(-1) ?? signature) : signature;
  return failedCall(createMessage({ id, task, args, kwargs, rootId: rootOf(signature) ?? id }), meta);
}

/** Of a frozen canvas: those of a chain are each of its steps'. */
function errbacksOf(signature: SignatureData): readonly SignatureData[] {
  if (formOf(signature) === "chord") return errbacksOf(bodyOf(signature));
  const [first] = formOf(signature) === "chain" ? tasksOf(signature) : [];
  return first === undefined ? signatures(signature.options["link_error"]) : errbacksOf(first);
}

const endOf = (signature: SignatureData): string => textOf(endOptions(signature)["task_id"]) ?? "";

const textOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
const idOf = (signature: SignatureData): string | undefined => textOf(signature.options["task_id"]);
const rootOf = (signature: SignatureData): string | undefined => textOf(signature.options["root_id"]);

// ── chords ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A member of a chord whose end is stored. */
export interface Member extends Origin {
  readonly group: string;
  readonly index: number | null;
  readonly body: SignatureData;
}

/** Counts a member; the one that completes the chord sends its body, or has it fail. */
export async function joinChord(sender: Sender, member: Member): Promise<void> {
  try {
    await joinMember(sender, member);
  } catch (error) {
    // No other try would make its row smaller, or one that can be read: nobody will ever count to the end, and who waits is told so.
    if (!(error instanceof PayloadTooLarge || error instanceof DecodeError)) throw error;
    const { group, body } = member;
    const failure = new ChordError(`the chord ${group} cannot be completed: ${error.message}`, { cause: error });
    await failBody(repeating(sender), group, body, member, failure);
  }
}

async function joinMember(sender: Sender, { id, rootId, group, index, body }: Member): Promise<void> {
  let member = memberHash(id);
  const { join_leaves: leafSize } = body;
  if (typeof leafSize === "number" && index !== null) {
    const leaf = leafId(group, Math.floor(index / leafSize));
    const { members, size = leafSize } = await count(sender, leaf, member);
    if (members < size) return;
    member = memberHash(leaf);
  }
  const state = await count(sender, group, member);
  // Celery's counter may run ahead of the truth: enough to look, no proof.
  if (state.size !== undefined && state.count < state.size + state.added.length) return;
  await completeChord(sender, group, body, { id, rootId }, state);
}

/** Counts who has come to where things are counted, each once, or only asks. `member`: its {@link memberHash}. */
export async function count({ apply, engine }: Sender, group: string, member?: string): Promise<Joined> {
  const joined = await apply({ type: "join", key: joinKey(group), now: engine.clock.now(), ttl: engine.ttl(), member });
  if (joined.type !== "joined") throw new LovageError(`a join was answered by ${joined.type}`);
  return joined;
}

/** What the id is made of that a task gets which another adds to their chord: the `nth` that this attempt adds. */
const addedParts = (id: string, line: Line, nth: number): IdParts => ["added", id, line, nth];

/** Sends a canvas as a further member of a chord, before the member that adds it has ended. Returns the id it ends in. */
export async function addToChord(
  sender: Sender,
  { id, rootId, group, body }: Member,
  line: Line,
  nth: number,
  signature: SignatureData,
): Promise<string> {
  const { engine } = sender;
  const parts = addedParts(id, line, nth);
  const added = stableId(...parts);
  await sender.apply({ type: "join", key: joinKey(group), now: engine.clock.now(), ttl: engine.ttl(), added });
  const place: Place = { id: added, joined: true, options: { group_id: group, chord: body } };
  try {
    await sendOn(sender, signature, { options: { parent_id: id, root_id: rootId } }, place, parts);
  } catch (error) {
    // The chord must not wait for what may never be sent, whatever becomes of the task.
    await failAdded(sender, { id, rootId, group, index: null, body }, added, error);
    throw error;
  }
  return added;
}

/** What a member has added to its chord will not come, unless it was sent: then it counts by itself. */
async function failAdded(sender: Sender, member: Member, added: string, error: unknown): Promise<void> {
  const { group: groupId, id: parentId } = member;
  const recorded = await storeFate(sender, added, { ...failedMeta(sender.engine, added, error), groupId, parentId });
  if (isOurFate(recorded)) await joinChord(sender, { ...member, id: added });
}

/**
 * Counts what a member that failed has added to its chord. It may have died before it sent them, so that nobody else would;
 * and the body fails in any case.
 */
export async function joinAdded(sender: Sender, member: Member, line: Line): Promise<void> {
  const { added } = await count(sender, member.group);
  for (let nth = 0; ; nth++) {
    const id = stableId(...addedParts(member.id, line, nth));
    if (!added.includes(id)) return;
    await joinChord(sender, { ...member, id, index: null });
  }
}

/**
 * What a run that died has added to its chord, and the run after it has not added again, will not come: it may never have
 * been sent. `again`: how many this run added itself. Where it was sent and runs, or has ended, it counts by itself.
 */
export async function dropAdded(sender: Sender, message: Message, again: number): Promise<void> {
  const { id, group, chord: body } = message;
  if (group === null || body === null) return;
  const { added } = await count(sender, group);
  for (let nth = again; ; nth++) {
    const dropped = stableId(...addedParts(id, lineOf(message), nth));
    if (!added.includes(dropped)) return;
    const error = new WorkerLostError(
      `${message.task}[${id}] added this to its chord and died; the run after it did not add it again`,
    );
    await failAdded(sender, { id, rootId: message.rootId ?? id, group, index: null, body }, dropped, error);
  }
}

/** Sends the body of a chord, or has it fail, if all of its members have ended. */
export async function completeChord(
  sender: Sender,
  group: string,
  body: SignatureData,
  origin: Origin,
  known?: Joined,
): Promise<void> {
  const state = known ?? (await count(sender, group));
  const header = await readHeader(sender, group);
  // A chord that nobody counts: Celery's chord_unlock waits for it, or Python has completed it and deleted its rows; or
  // its header is a generator that has not ended.
  if (header === undefined) return failUncounted(sender, group, body, origin);
  const added = state.added.map((id): ResultTuple => [[id, null], null]);
  const size = state.size === undefined ? countIds([...header, ...added]) : state.size + state.added.length;
  if (state.count < size) return;
  const joined = await joinResults(sender, [...header, ...added]);
  switch (joined.type) {
    case "waiting":
      // Only Python's count said that all had ended. Where ours does, the result of a member is gone, or it was never sent.
      if (state.members < size) return;
      return failBody(
        sender,
        group,
        body,
        origin,
        joined.error ?? new ChordError(`Dependency ${joined.id} has ended and its result is gone`),
      );
    case "failed":
      return failBody(sender, group, body, origin, joined.error);
    case "complete":
      return sendBody(sender, group, body, joined.values, origin);
    default:
      return joined satisfies never;
  }
}

/**
 * A chord has no row of its own, and this member of it has ended. Where it has failed, so has the body, as with Celery's
 * worker: its row may have expired, and nobody else would tell. The body may also have its outcome already.
 */
async function failUncounted(sender: Sender, group: string, body: SignatureData, origin: Origin): Promise<void> {
  // The header is a generator's that has not ended.
  if (body.join_leaves !== undefined) return;
  const joined = await joinResults(sender, [[[origin.id, null], null]]);
  if (joined.type !== "failed") return;
  const end = endOf(normalized(sender, body, bodyPlace(group), bodyParts(group)));
  const [row] = await sender.read([taskKey(end)]);
  if (row !== undefined && (await hasOutcome(sender, row))) return;
  await failBody(sender, group, body, origin, joined.error);
}

const bodyParts = (group: string): IdParts => ["body", group];
const bodyPlace = (group: string): Place => ({ defaultId: stableId(...bodyParts(group)) });

/** Sends the body of a chord with the results of its members. */
export async function sendBody(
  sender: Sender,
  group: string,
  body: SignatureData,
  values: readonly unknown[],
  { id, rootId }: Origin,
): Promise<void> {
  const place = bodyPlace(group);
  const known = { id: idOf(body) ?? place.defaultId, task: taskOf(body) };
  const given: Given = { args: [values], options: { parent_id: id, root_id: rootId } };
  const begins = await sendOn(sender, body, given, place, bodyParts(group));
  await sender.note(joinEntry(sender.engine, group, known, { id, rootId }, { begins }));
}

/** Has the body of a chord fail. `from`: the member that ended last. */
export async function failBody(
  sender: Sender,
  group: string,
  body: SignatureData,
  from: Origin,
  error: ChordError,
): Promise<void> {
  const known = { id: idOf(body), task: taskOf(body) };
  const entry = joinEntry(sender.engine, group, known, from, { error });
  const normalBody = normalized(sender, body, bodyPlace(group), bodyParts(group));
  await fail(sender, normalBody, failedMeta(sender.engine, known.id ?? "", error), entry);
}

/** The name of the task that a canvas begins with, or that of a form. */
const taskOf = (signature: SignatureData): string =>
  formOf(signature) === "chain" ? (tasksOf(signature)[0]?.task ?? signature.task) : signature.task;
