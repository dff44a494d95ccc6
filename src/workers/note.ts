/** What the journal is told: of a delivery's end, and of what happens beside the rows. */
import { clip } from "../brief.ts";
import type { Engine } from "../engine.ts";
import { isFailure, type JournalEntry, type JournalError, shortened } from "../journal/entry.ts";
import { shortRepr } from "../journal/repr.ts";
import { errorMessage, exceptionToData } from "../protocol/exceptions.ts";
import type { Message, SignatureData } from "../protocol/message.ts";
import { parseTime } from "../protocol/time.ts";
import type { Conclusion } from "./conclude.ts";
import type { Job, WorkerContext } from "./context.ts";
import type { Outcome } from "./trace.ts";

/** Most characters of arguments. */
const ARGS_LENGTH = 100;
/** Most characters of a name or an id: what Lovage itself sends has no more. A foreign message may have any number. */
const NAME_LENGTH = 255;

const nameOf = (text: string): string => clip(text, NAME_LENGTH);

type Draft = { -readonly [Field in keyof JournalEntry]: JournalEntry[Field] } & Pick<JournalEntry, "time" | "kind">;

export const isKept = ({ config }: Engine): boolean => config.journal;

/** How an attempt ended. */
interface Ended {
  readonly outcome: Outcome;
  readonly conclusion: Conclusion;
  /** When the task's own code began, in milliseconds since the epoch; absent: it did not run. */
  readonly began: number | undefined;
  /** Seconds that it took. */
  readonly runtime: number;
  readonly runs: number;
  /** It failed, and there was no room for its message. */
  readonly unkept?: boolean;
}

/** The entry of an attempt that ended. */
export function attemptEntry(context: WorkerContext, job: Job, ended: Ended): JournalEntry {
  const { outcome, conclusion, began, runtime, runs, unkept } = ended;
  const state = conclusion.status ?? STATES[outcome.type] ?? outcome.type;
  const entry = draftOf(context, job, "task", state, began);
  // Clocks are no finer, and a fraction of seventeen digits is the longest thing in an entry.
  if (began !== undefined) entry.runtime = Math.round(runtime * 1e6) / 1e6;
  if (runs > 1) entry.runs = runs;
  if (conclusion.command.buried === true) entry.deadLetter = true;
  if (unkept) entry.unkept = true;
  // What a retry is for is told, and what a revoked task would have thrown says nothing more than its state.
  if (conclusion.error !== null && (isFailure(entry) || outcome.type === "retry"))
    entry.error = errorOf(conclusion.error);
  return entry;
}

const STATES: Partial<Record<Outcome["type"], string>> = {
  ignore: "IGNORED",
  replace: "REPLACED",
  checkpoint: "CHECKPOINT",
};

/** The entry of a run that has taken some seconds and goes on. */
export function runningEntry(context: WorkerContext, job: Job, began: number): JournalEntry {
  const entry = draftOf(context, job, "running", "STARTED", began);
  entry.runtime = Math.max(0, (entry.time - began) / 1000);
  return entry;
}

/** The entry of a task that waits for a limit. */
export function waitingEntry(context: WorkerContext, job: Job, why: string, until: number): JournalEntry {
  const entry = draftOf(context, job, "waiting", "PENDING", undefined);
  entry.limit = why;
  entry.until = Math.round(until);
  return entry;
}

function draftOf(
  { engine, hostname }: WorkerContext,
  { delivery, message }: Job,
  kind: Draft["kind"],
  state: string,
  began: number | undefined,
): Draft {
  const now = engine.clock.now();
  // A message that was put off was sent when it was put off for the last time, and is due by its own time.
  const due = Math.max(delivery.sentAt, message.eta === null ? 0 : parseTime(message.eta));
  // In one go: an object that gets its fields one by one is moved for every few of them.
  const entry = {
    time: now,
    kind,
    id: nameOf(message.id),
    task: nameOf(message.task),
    queue: delivery.queue,
    worker: hostname,
    state,
    waited: Math.max(0, ((began ?? now) - due) / 1000),
  };
  return withMessage(entry, message);
}

/** Adds what a message has to tell. */
function withMessage(entry: Draft, message: Message): Draft {
  const { id, rootId, parentId, group, chord, chain, args, kwargs, argsrepr, kwargsrepr, retries } = message;
  if (retries > 0) entry.retries = retries;
  if (rootId !== null && rootId !== id) entry.root = rootId;
  if (parentId !== null) entry.parent = parentId;
  if (group !== null) entry.group = group;
  const body = chord?.options["task_id"];
  if (typeof body === "string") entry.chord = body;
  const [last] = chain;
  const end =
    (last?.kwargs["body"] as Partial<SignatureData> | undefined)?.options?.["task_id"] ?? last?.options["task_id"];
  if (typeof end === "string") entry.chain = nameOf(end);
  // What a caller gave to be shown is all that is: it may have been given to keep a secret.
  if (argsrepr !== null) entry.args = shortened(argsrepr, ARGS_LENGTH);
  else if (args.length > 0) entry.args = shortRepr(args, ARGS_LENGTH);
  if (kwargsrepr !== null) entry.kwargs = shortened(kwargsrepr, ARGS_LENGTH);
  else if (Object.keys(kwargs).length > 0) entry.kwargs = shortRepr(kwargs, ARGS_LENGTH);
  return entry;
}

function errorOf(error: unknown): JournalError {
  const { exc_type: type } = exceptionToData(error).data;
  return { type: nameOf(type), message: shortened(errorMessage(error)) };
}

/** The entry of a message that becomes a dead letter without having run. */
export function deadLetterEntry(
  { engine, hostname }: WorkerContext,
  queue: string,
  known: { readonly id: string | undefined; readonly task: string | undefined; readonly message: Message | undefined },
  error: Error,
): JournalEntry {
  const time = engine.clock.now();
  const { id, task, message } = known;
  const entry: Draft = { time, kind: "deadLetter" };
  if (id) entry.id = nameOf(id);
  if (task) entry.task = nameOf(task);
  if (message !== undefined) withMessage(entry, message);
  entry.queue = queue;
  entry.worker = hostname;
  entry.state = "FAILURE";
  entry.deadLetter = true;
  entry.error = errorOf(error);
  return entry;
}

/** Where something follows from: the id of what has ended, and that of the root. */
interface From {
  readonly id: string;
  readonly rootId: string;
}

/** The entry of a chord whose members have ended: its body was sent and begins with these tasks, or it fails. */
export function joinEntry(
  { clock }: Engine,
  group: string,
  body: { readonly id: string | undefined; readonly task: string },
  { id, rootId }: From,
  end: { readonly error: Error } | { readonly begins: readonly string[] },
): JournalEntry {
  const error = "error" in end ? end.error : undefined;
  const entry: Draft = { time: clock.now(), kind: "join", group, state: error === undefined ? "SUCCESS" : "FAILURE" };
  if (body.id !== undefined) entry.id = body.id;
  if (body.task !== "") entry.task = nameOf(body.task);
  entry.parent = id;
  if (rootId !== body.id) entry.root = rootId;
  if (error !== undefined) entry.error = errorOf(error);
  if ("begins" in end && (end.begins.length !== 1 || end.begins[0] !== body.id)) entry.begins = end.begins;
  return entry;
}

/** The entry of what was to follow and could not be sent. */
export function unsentEntry(
  { clock }: Engine,
  id: string | undefined,
  task: string,
  rootId: string | undefined,
  error: unknown,
): JournalEntry {
  const entry: Draft = { time: clock.now(), kind: "unsent", task: nameOf(task), state: "FAILURE" };
  if (id !== undefined) entry.id = id;
  if (rootId !== undefined && rootId !== id) entry.root = rootId;
  entry.error = errorOf(error);
  return entry;
}
