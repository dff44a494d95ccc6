/** What the workers of these tests run. `RUNS` names a file that gets a line for everything that happens. */
import { spawn } from "node:child_process";
import { appendFileSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { isMainThread, parentPort } from "node:worker_threads";
import { Lovage, Reject } from "lovage";

const { RUNS = "", VISIBILITY = "1", MAX_TASKS, MAX_MEMORY, READY_MS = "0" } = process.env;
const note = (...words: unknown[]) => appendFileSync(RUNS, `${[process.pid, ...words].join(" ")}\n`);

export const app = new Lovage("cli", {
  taskQueues: { celery: {}, media: { exchange: "files", routingKey: "media" } },
  taskRoutes: { "cli.media": "media" },
  brokerTransportOptions: { visibilityTimeout: Number(VISIBILITY) },
  ...(MAX_TASKS !== undefined && { workerMaxTasksPerChild: Number(MAX_TASKS) }),
  ...(MAX_MEMORY !== undefined && { workerMaxMemoryPerChild: Number(MAX_MEMORY) }),
  beatSchedule: { tick: { task: "cli.note", schedule: 0.5, args: ["tick"] } },
});

// What such a hook does takes time while the first tasks run.
app.on("workerReady", () => sleep(Number(READY_MS)) as Promise<void>);
app.task("cli.add", { params: ["x", "y"] }, (x: number, y: number) => x + y);
app.task("cli.media", { maxRetries: 5, priority: 3 }, (word: string) => note("media", word));
app.task("cli.note", async (word: unknown) => {
  note("note", word);
  process.stdout.write(`printed ${word}\n`);
  await sleep(20);
});
app.task("cli.node", () => process.execArgv);
app.task("cli.fail", () => {
  throw new RangeError("too far");
});
app.task("cli.reject", () => {
  throw new Reject("no room");
});
/** Does what it is asked to when its signal aborts: as `fetch` does, or nothing. */
app.task("cli.heed", { bind: true }, async (self, heeds: boolean) => {
  note("begin", heeds);
  await sleep(self.request.deliveries > 1 ? 10 : 20_000, undefined, heeds ? { signal: self.signal } : {});
  return self.request.retries;
});
app.task("cli.leak", (ms: number) => {
  void sleep(ms).then(() => Promise.reject(new Error("nobody waits for this")));
});
app.task(
  "cli.throw",
  () =>
    new Promise(() =>
      setTimeout(() => {
        throw new RangeError("past everybody");
      }, 10),
    ),
);
/** Says to its parent what is meant for another, as code does that was made to be forked. */
app.task("cli.tellParent", async (messages: readonly unknown[]) => {
  for (const message of messages) isMainThread ? process.send?.(message) : parentPort?.postMessage(message);
  await sleep(300);
  return process.pid;
});
/** Takes from its process all that listens, as libraries do to be rid of what they or others have added. */
app.task("cli.deafen", (oneByOne: boolean) => {
  if (!oneByOne) return void process.removeAllListeners();
  for (const event of ["message", "disconnect", "SIGTERM", "exit", "uncaughtException", "unhandledRejection"])
    for (const listener of process.listeners(event as "exit")) process.off(event as "exit", listener);
});
app.task("cli.poison", () => {
  note("kill");
  process.kill(process.pid, "SIGKILL");
});
app.task("cli.nap", async (seconds: number) => {
  note("begin");
  await sleep(seconds * 1000);
  note("end");
  return "slept";
});
app.task(
  "cli.lateHook",
  {
    timeLimit: 0.2,
    onSuccess: async () => {
      await sleep(2000);
      note("hooked");
    },
  },
  () => "done",
);
class Down extends Error {}
const KINDS = [
  () => new Down("no route to host"),
  () => new RangeError("out of range"),
  () => new TypeError("not a function"),
  () => new SyntaxError("bad input"),
  () => new URIError("malformed"),
];
/** A task of a day: fails in one of five ways, unless that was mended. */
app.task("cli.day", { queue: "media" }, (n: number, kind?: number) => {
  const failure = KINDS[kind ?? -1]?.();
  if (failure !== undefined && !(failure instanceof Down && process.env["MENDED"])) throw failure;
  return n;
});
/** Fails once, and goes on by itself. */
app.task("cli.flaky", { bind: true, maxRetries: 1, defaultRetryDelay: 0 }, (self, n: number) => {
  if (self.request.retries === 0) return self.retry();
  return n;
});
app.task("cli.rated", { rateLimit: "100/s" }, (n: number) => n);
app.task("cli.sum", (members: readonly number[]) => members.reduce((sum, n) => sum + n, 0));
/** Does not let go of its process. */
app.task("cli.block", () => {
  note("begin");
  for (;;);
});
/** Ends its process, at once or when it has ended, and catches what that throws. */
app.task("cli.exit", (how: "now" | "later") => {
  const exit = () => {
    note("exit");
    try {
      process.exit(3);
    } catch {}
  };
  if (how === "later") setTimeout(exit, 100);
  else exit();
  return "survived";
});
/** Starts a process that goes on for a minute, and waits for it. */
app.task("cli.start", async () => {
  const { pid } = spawn("sleep", ["60"]);
  note("begin", pid);
  await sleep(1500);
  return "started";
});
app.task("cli.stuck", { timeLimit: 0.3 }, () => new Promise<void>(() => {}));
/** Blocks its process, without a turn of the event loop, and then ends. It waits: to compute as long takes a core from the other tests. */
app.task("cli.busy", (seconds: number) => {
  note("begin");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1000);
  note("end");
  return "was busy";
});
/** Never lets go of its process, although it has a limit. */
app.task("cli.endless", { timeLimit: 0.2 }, () => {
  note("begin");
  for (;;);
});
/** The same, and has started a process that goes on for a minute. */
app.task("cli.startsEndless", { timeLimit: 0.2 }, () => {
  note("begin", spawn("sleep", ["60"]).pid);
  for (;;);
});
/** Kills its process, so often. */
app.task("cli.kill", (times = Number.POSITIVE_INFINITY) => {
  const before = readFileSync(RUNS, "utf8").split("kill").length - 1;
  if (before >= times) {
    note("lives");
    return "survived";
  }
  note("kill");
  process.kill(process.pid, "SIGKILL");
});
/** Holds a byte for each that it is asked for, for as long as its process or its thread lives. */
const held: Uint8Array[] = [];
app.task("cli.hold", (bytes: number) => {
  held.push(new Uint8Array(bytes).fill(1));
  return note("hold");
});
app.batchTask("cli.patient", { size: 3, wait: 300 }, (calls) => {
  note("patient", calls.length);
  return calls.map(() => calls.length);
});
app.batchTask("cli.together", { size: 3, wait: 5 }, (calls) => {
  note("together", calls.length);
  return calls.map(() => calls.length);
});
