/** The app of `npm run smoke:aws`: a queue of each kind, and a task for each thing that can become of a task. */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { chord, group, Lovage, Reject } from "lovage";

/** Of such a text no compression takes away more than a quarter. */
export const incompressible = (bytes: number): string => randomBytes(bytes).toString("base64").slice(0, bytes);

/** Beyond what SQS's own delay reaches here, so that EventBridge Scheduler keeps what is due then. */
export const LONG_DELAY_S = 80;
/** Workers of the queue `here` keep a message's lease by asking for more time before it is over. */
export const LEASE_S = 12;

export const app = new Lovage("smoke", {
  taskQueues: {
    celery: { timeLimit: 60 },
    // The only queue whose function has the SDK's clients in place of Lovage's own.
    sdk: { timeLimit: 60 },
    "orders.fifo": { timeLimit: 60 },
    pausing: { timeLimit: 60 },
    // A process of this machine works on it.
    here: { worker: "none" },
    // What the functions have sent, which the report counts. No task ever goes there.
    requests: { worker: "none" },
  },
  beatSchedule: { minute: { task: "smoke.add", schedule: 60, args: [20, 22] } },
  brokerTransportOptions: { maxDelay: 60, schedulerMinDelay: 75, waitTimeSeconds: 2, visibilityTimeout: LEASE_S },
});

export const add = app.task("smoke.add", (x: number, y: number) => x + y);
app.task("smoke.sum", (all: readonly number[]) => all.reduce((before, one) => before + one, 0));
export const divide = app.task("smoke.divide", (x: number, y: number) => {
  if (y === 0) throw new RangeError("division by zero");
  return x / y;
});
/** Fails so many times and asks to be run again. */
export const unsteady = app.task("smoke.unsteady", { bind: true }, (self, failures: number) => {
  const { retries } = self.request;
  if (retries < failures) self.retry({ countdown: 1, exc: new Error("found nobody there") });
  return retries + 1;
});
/** A dead letter unless it is told to work. */
export const refuse = app.task("smoke.refuse", (isToWork: boolean) => {
  if (!isToWork) throw new Reject("not today");
  return "worked";
});
export const length = app.task("smoke.length", (text: string) => text.length);
export const grow = app.task("smoke.grow", (bytes: number) => incompressible(bytes));
/** What beat sends by an entry that is put at run time. */
export const tick = app.task("smoke.tick", () => "done");
export const when = app.task("smoke.when", () => Date.now());
export const nap = app.task("smoke.nap", { bind: true }, async (self, ms: number) => {
  await sleep(ms, undefined, { signal: self.signal });
  return ms;
});
export const words = app.task("smoke.words", { bind: true }, async (self, all: readonly string[]) => {
  for (const word of all) await self.write(word);
  return all.length;
});
export const limited = app.task("smoke.limited", { rateLimit: "600/m", concurrency: 2 }, (n: number) => n);
export const single = app.task(
  "smoke.single",
  { unique: { key: (key: string) => key, for: "running" } },
  async (key: string) => {
    await sleep(3000);
    return key;
  },
);
/** What a task sends: a call, a chord, a group, and what is due later than SQS's own delay reaches. */
export const family = app.task("smoke.family", { bind: true }, async (self) => {
  const { routingKey: queue } = self.request.deliveryInfo;
  const one = (n: number) => app.signature("smoke.add", [n, n], { queue });
  const results = await group(Array.from({ length: 30 }, (_, n) => one(n))).delay();
  const total = await chord([one(1), one(2)], app.signature("smoke.sum", [], { queue })).delay();
  const late = await app.sendTask("smoke.when", [], { queue, countdown: LONG_DELAY_S });
  return { members: results.children.map(({ id }) => id), total: total.id, late: late.id };
});
