/** Failed tasks are run again: by the message that their rows keep, as dead letters are sent back. */
import { sendAgain, READABLE } from "../brokers/dead-letters.ts";
import type { Engine } from "../engine.ts";
import { CannotRetry, ImproperlyConfigured } from "../errors.ts";
import { checkFind, type JournalQuery } from "../journal/query.ts";
import { boolean, integer, options, type Parse, shape, text } from "../parse.ts";
import { decodeEnvelope, encodeEnvelope } from "../protocol/envelope.ts";
import { errorMessage } from "../protocol/exceptions.ts";
import { createMessage } from "../protocol/message.ts";
import { decodeMeta, decodeStatus } from "../protocol/meta.ts";
import { parseTime } from "../protocol/time.ts";
import { type Row, taskKey } from "../results/backend.ts";
import { fitted } from "../tasks/publish.ts";
import { readKept } from "../results/kept.ts";
import { dataToError } from "../protocol/exceptions.ts";
import { hashOf } from "../hash.ts";
import { FAILURE, RETRY, REVOKED } from "../states.ts";
import type { RetriedFailures, RetryFailed, RetryRefusal } from "./control.ts";
import { type AskedBefore, nextRedrive, readAsked, writeAsked } from "./rows.ts";

/** Rows that are looked at, and messages that are sent, at a time. */
const BATCH = 100;

interface Retryable {
  readonly id: string;
  readonly row: Row;
  /** Which one it is to be: two who ask at the same time send the same one, and the row is claimed once by it. */
  readonly redrive: number;
  readonly kept: string;
}

interface Asking extends Retryable {
  readonly before: AskedBefore;
}

export const REASONS: Readonly<Record<RetryRefusal, string>> = {
  succeeded: "it has succeeded; to run it a second time, send a new call",
  running: "it runs; wait for its end, or revoke it",
  waiting: "it has not ended: it waits in its queue, or for its next retry",
  asked:
    "it is to run again already, and waits in its queue; if its message was purged, try again an hour after the first time",
  revoked: "it was revoked, or has expired, and its message is gone; send a new call",
  unknown:
    "nothing is stored of it: it was never sent, it still waits in its queue, or it ended so long ago that its row has expired",
  deadLetter:
    "its message is not with its result: if a task before it in its chain or chord failed, retry that one, and this one goes on; else the message is among the dead letters, and you can send it back from there: `lovage dlq redrive --id`, app.control.deadLetters.redrive({ id })",
  notKept:
    "it failed, and its message was not kept: keepFailed was off, there was no room for it, Python ran it, or the result was forgotten; send a new call",
};

/** Runs one again. Throws `CannotRetry`, and sends nothing then. */
export async function retryOne(engine: Engine, id: string): Promise<{ readonly task: string; readonly queue: string }> {
  const asking = await checkRetry(engine, id);
  const sent = await sendKept(engine, asking);
  if (!(await taken(engine, [asking]))[0]) throw refusal(id, "asked");
  return sent;
}

const refusal = (id: string, why: RetryRefusal) => new CannotRetry(id, why, REASONS[why]);

/** Throws `CannotRetry` where it cannot run again. */
export async function checkRetry(engine: Engine, id: string): Promise<Asking> {
  const [row] = await (await engine.backend()).read([taskKey(id)], { consistent: true });
  const found = await judge(engine, id, row);
  if (typeof found === "string") throw refusal(id, found);
  const [asking] = await asked(engine, [found]);
  if (asking === undefined || asking.before.isWaiting) throw refusal(id, "asked");
  return asking;
}

/** These, with what has been asked of them before. */
async function asked(engine: Engine, found: readonly Retryable[]): Promise<readonly Asking[]> {
  const before = await readAsked(await engine.backend(), found, engine.clock.now());
  return found.flatMap((one, at) => (before[at] === undefined ? [] : [{ ...one, before: before[at] }]));
}

/**
 * Which of these were sent for who asks here, and not for somebody who asked at the same time. Behind the send: who dies
 * between the two has sent what is sent again, which runs once.
 */
const taken = async (engine: Engine, found: readonly Asking[]) =>
  writeAsked(await engine.backend(), found, engine.uuid(), engine.clock.now());

async function judge(engine: Engine, id: string, row: Row | undefined): Promise<Retryable | RetryRefusal> {
  if (row === undefined) return "unknown";
  if (row.kept) return { id, row, kept: row.kept, redrive: nextRedrive(row) };
  const status = await decodeStatus(row.result, engine.codec);
  if (status === FAILURE && row.buried) return "deadLetter";
  if (status === FAILURE) return "notKept";
  if (status === REVOKED) return "revoked";
  if (row.done || (row.attempt === undefined && status !== RETRY)) return "succeeded";
  return row.lease === undefined ? "waiting" : "running";
}

async function sendKept(engine: Engine, { id, kept, redrive }: Retryable) {
  const { queue, body, groupId } = readKept(kept);
  const now = engine.clock.now();
  const again = await unexpired(engine, queue, body, now);
  await sendAgain(
    (entry) => engine.outbox.send(entry),
    {
      queue,
      body: again.body,
      priority: again.priority ?? undefined,
      groupId,
      // A FIFO queue takes no such id of more than 128 characters, and not every character.
      deduplicationId: `retry-${await hashOf(JSON.stringify([id, redrive]))}`,
      redrive,
    },
    now,
  );
  return { task: again.task, queue };
}

/** Who runs it again wants it to run: that its time is over by now holds for the first try. */
async function unexpired(
  engine: Engine,
  queue: string,
  body: string,
  now: number,
): Promise<{ readonly body: string; readonly task: string; readonly priority: number | null }> {
  const message = await decodeEnvelope(await engine.messageText(body), { accept: READABLE });
  const { task, priority, expires } = message;
  if (expires === null || parseTime(expires) >= now)
    return { body: await fitted(engine, queue, message, body), task, priority };
  const again = createMessage({ ...message, expires: null, eta: null });
  return { body: await fitted(engine, queue, again, await encodeEnvelope(again)), task, priority };
}

interface Given extends Pick<JournalQuery, "from" | "to" | "task" | "queue" | "text" | "limit"> {
  readonly error?: string;
  readonly dryRun?: boolean;
  readonly by?: string;
  readonly progress?: (count: number) => void;
}

const anything: Parse<never> = (value) => value as never;
const givenShape = shape<Given>(
  {
    from: anything,
    to: anything,
    task: anything,
    queue: anything,
    error: text,
    text: anything,
    limit: integer(0),
    dryRun: boolean,
    by: text,
    progress: anything,
  },
  {},
);

/** Runs all again that match. `told` is given those of each batch that were sent. */
export async function retryMany(
  engine: Engine,
  filter: RetryFailed | undefined,
  told: (sent: readonly { readonly id: string; readonly task: string; readonly queue: string }[]) => Promise<void>,
): Promise<RetriedFailures> {
  const given = options(givenShape, filter, "retryFailed", '{ task: "media.*", dryRun: true }');
  const { error, dryRun = false, limit = Number.POSITIVE_INFINITY, by: _, progress, ...query } = given;
  if (error === "") throw new ImproperlyConfigured("retryFailed.error", "must not be empty");
  const { matches, from, to } = checkFind({ ...query, state: FAILURE }, engine.clock.now());
  const store = await engine.journal();
  const sought = error?.toLowerCase();
  const backend = await engine.backend();
  const seen = new Set<string>();
  const tasks: Record<string, number> = Object.create(null);
  const skipped: Partial<Record<RetryRefusal, number>> = {};
  let count = 0;

  /** Sends these. Returns those that were not asked for by somebody else at the same time. */
  async function sendAll(sending: readonly Asking[]): Promise<readonly { readonly id: string }[]> {
    const sent = await Promise.all(
      sending.map(async (found) => ({ id: found.id, ...(await sendKept(engine, found)) })),
    );
    const isOurs = await taken(engine, sending);
    const ours = sent.filter((_, at) => isOurs[at]);
    if (ours.length > 0) await told(ours);
    return ours;
  }

  async function take(batch: ReadonlyMap<string, string>): Promise<void> {
    const ids = [...batch.keys()];
    const rows = await backend.read(ids.map(taskKey), { consistent: true });
    const judged = await Promise.all(ids.map((id, at) => judge(engine, id, rows[at])));
    const skip = (why: RetryRefusal, number = 1) => {
      if (number > 0) skipped[why] = (skipped[why] ?? 0) + number;
    };
    const meant: Retryable[] = [];
    for (const found of judged) {
      if (typeof found === "string") skip(found);
      else if (await isMeant(found)) meant.push(found);
    }
    const sending: Asking[] = [];
    for (const asking of await asked(engine, meant)) {
      if (asking.before.isWaiting) skip("asked");
      else if (count + sending.length < limit) sending.push(asking);
    }
    const done = dryRun ? sending : await sendAll(sending);
    skip("asked", sending.length - done.length);
    count += done.length;
    for (const { id } of done) {
      const task = batch.get(id) ?? "";
      tasks[task] = (tasks[task] ?? 0) + 1;
    }
    progress?.(count);
  }

  /** The row is the truth: it may have failed again since, in another way or at another time. */
  async function isMeant({ row }: Retryable): Promise<boolean> {
    const at = row.timestamp * 1000;
    if (at < from || at >= to) return false;
    if (sought === undefined) return true;
    const { result, traceback, taskId } = await decodeMeta(row.result, engine.codec);
    const failure = dataToError(result, traceback, taskId);
    return failure.name.toLowerCase() === sought || errorMessage(failure).toLowerCase().includes(sought);
  }

  let batch = new Map<string, string>();
  for await (const page of store.read({ failures: true, from, to })) {
    for (const entry of page) {
      const { id, task = "", kind } = entry;
      // The body of a chord that has failed: it runs when the member does that failed.
      if (id === undefined || seen.has(id) || kind === "join") continue;
      const isMatch = matches(entry);
      // How it failed before the last time is no longer asked for.
      if (isMatch || kind === "task") seen.add(id);
      if (!isMatch) continue;
      batch.set(id, task);
      if (batch.size < BATCH) continue;
      await take(batch);
      batch = new Map();
    }
    if (count >= limit) break;
  }
  if (batch.size > 0 && count < limit) await take(batch);
  return { count, tasks, skipped };
}
