/** Celery's own tasks, which Python may put on any queue: every app knows them. */
import type { Lovage } from "../app.ts";
import { chunksOf, formOf, readSignature, withArguments } from "../canvas/shape.ts";
import { ImproperlyConfigured } from "../errors.ts";
import type { SignatureData } from "../protocol/message.ts";
import type { ResultTuple } from "../protocol/meta.ts";
import type { RunningTask } from "../tasks/context.ts";
import { callInPlace } from "../tasks/direct.ts";
import { resolveInput } from "../tasks/schema.ts";
import { Task } from "../tasks/task.ts";
import { joinResults } from "./chord-results.ts";
import { failBody, sendBody } from "./join.ts";
import { silent } from "./log.ts";
import { senderOf } from "./sender.ts";

/** A task of Celery's. It is bound, and takes keyword arguments from its request. */
export class BuiltinTask extends Task {}

type Kwargs = Readonly<Record<string, unknown>>;
type Builtin = (self: RunningTask<Task>, args: readonly unknown[], kwargs: Kwargs) => unknown;

/** Seconds until `celery.chord_unlock` looks again: Celery's `result_chord_retry_interval`. */
const UNLOCK_INTERVAL_S = 1;

const BUILTINS: ReadonlyMap<string, Builtin> = new Map<string, Builtin>([
  ["celery.map", (self, args, kwargs) => eachItem(self, args, kwargs, (item) => [item])],
  [
    "celery.starmap",
    (self, args, kwargs) => eachItem(self, args, kwargs, (item) => listOf(item, "an item of celery.starmap")),
  ],
  [
    "celery.chunks",
    (self, args, kwargs) => becomes(self, chunksOf(canvas("celery.chunks", named(args, kwargs, ["task", "it", "n"])))),
  ],
  ["celery.accumulate", (_, args, { index }) => (typeof index === "number" ? (args[index] ?? null) : args)],
  ["celery.chord_unlock", unlockChord],
  // Python's beat sends it once a day where its own app has no backend, or one whose results do not expire. Ours do.
  ["celery.backend_cleanup", () => null],
  ["celery.chain", (self, args, kwargs) => becomes(self, withArguments(canvas("celery.chain", kwargs), args))],
  ["celery.group", (self, args, kwargs) => becomes(self, canvas("celery.group", named(args, kwargs, ["tasks"])))],
  [
    "celery.chord",
    (self, args, kwargs) => becomes(self, canvas("celery.chord", named(args, kwargs, ["header", "body"]))),
  ],
]);

const made = new WeakMap<Lovage, Map<string, Task>>();

/** The task that Celery has under this name. */
export function builtinTask(app: Lovage, name: string): Task | undefined {
  const run = BUILTINS.get(name);
  if (run === undefined) return undefined;
  const tasks = made.get(app) ?? new Map<string, Task>();
  made.set(app, tasks);
  let task = tasks.get(name);
  if (task === undefined) {
    const fn = (self: RunningTask<Task>, ...args: readonly unknown[]) => run(self, args, self.request.kwargs);
    task = new BuiltinTask(app, name, { bind: true }, fn);
    tasks.set(name, task);
  }
  return task;
}

/** Arguments by their names, whichever way they were given. */
const named = (args: readonly unknown[], kwargs: Kwargs, names: readonly string[]): Kwargs => ({
  ...Object.fromEntries(args.slice(0, names.length).map((arg, index) => [names[index], arg])),
  ...kwargs,
});

const canvas = (task: string, kwargs: Kwargs): SignatureData =>
  readSignature({
    task,
    kwargs,
    subtask_type: formOf({ task, subtask_type: null }) === "task" ? null : task.slice("celery.".length),
  });

/** It is not itself a task that gives anything: what it stands for takes its place, its id and all that follows from it. */
const becomes = (self: RunningTask<Task>, signature: SignatureData): never => self.replace(signature);

async function eachItem(
  self: RunningTask<Task>,
  args: readonly unknown[],
  kwargs: Kwargs,
  argsOf: (item: unknown) => readonly unknown[],
): Promise<readonly unknown[]> {
  const { task: given, it } = named(args, kwargs, ["task", "it"]);
  const { task: name } = readSignature(given);
  const task = self.app.engine.task(name);
  if (task === undefined) throw self.app.notRegistered(name);
  const results: unknown[] = [];
  for (const item of listOf(it, `the items of ${self.name}`)) {
    self.signal.throwIfAborted();
    results.push(await callInPlace(task, await resolveInput(task, argsOf(item), {})));
  }
  return results;
}

function listOf(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new ImproperlyConfigured("it", `${what} must be a list; given: ${typeof value}`);
}

/** How Celery up to 5.3 completes a chord: by looking, until all members have ended. */
async function unlockChord(self: RunningTask<Task>, args: readonly unknown[], kwargs: Kwargs): Promise<null> {
  const given = named(args, kwargs, ["group_id", "callback", "interval", "max_retries", "result"]);
  const group = String(given["group_id"]);
  const body = readSignature(given["callback"]);
  const { interval, max_retries: maxRetries } = given;
  // Result tuples, as Celery writes them.
  const header = listOf(given["result"] ?? [], "result of celery.chord_unlock") as readonly ResultTuple[];
  const sender = senderOf(self.app.engine, silent);
  const joined = await joinResults(sender, header);
  switch (joined.type) {
    case "waiting":
      return self.retry({
        countdown: typeof interval === "number" ? interval : UNLOCK_INTERVAL_S,
        maxRetries: typeof maxRetries === "number" ? maxRetries : null,
      });
    case "failed":
      await failBody(sender, group, body, { id: self.request.id, rootId: self.request.rootId }, joined.error);
      return null;
    case "complete":
      await sendBody(sender, group, body, joined.values, { id: self.request.id, rootId: self.request.rootId });
      return null;
    default:
      return joined satisfies never;
  }
}
