/**
 * What the workers of the chaos test run. Every run of a task leaves a line when it begins in the file that `CHAOS_RUNS`
 * names; its effect is counted in the database that `CHAOS_LEDGER` names, by the pattern of
 * docs/how-to/idempotency.md.
 */
import { appendFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { currentTask, Lovage, OperationalError } from "lovage";
import { runLine } from "./witness.ts";

const { CHAOS_RUNS = "", CHAOS_LEDGER = ":memory:", CHAOS_PROCESSES = "[]" } = process.env;

/** By what it has inherited: the number of its parent is another's once that is dead. */
const processes = [process.pid, ...(JSON.parse(CHAOS_PROCESSES) as number[])];
process.env["CHAOS_PROCESSES"] = JSON.stringify(processes);

/** Of so many answers to claims one is lost. */
const LOST = 0.01;
/** How long a run takes, about. */
const NAP_MS = Number(process.env["CHAOS_NAP_MS"] ?? 20);

export const app = new Lovage("chaos", {
  brokerTransportOptions: { visibilityTimeout: 1.5 },
  maxDeliveries: Number(process.env["CHAOS_MAX_DELIVERIES"] ?? 50),
});

const ledger = new DatabaseSync(CHAOS_LEDGER, { timeout: 10_000 });
const award = ledger.prepare("INSERT OR IGNORE INTO effects (task, what) VALUES (?, ?)");

async function work(what: string): Promise<void> {
  const { id, retries } = currentTask()?.request ?? { id: "", retries: 0 };
  appendFileSync(CHAOS_RUNS, runLine({ id, retries, at: Date.now(), processes }));
  await sleep(Math.random() * 1.8 * NAP_MS);
  award.run(id, what);
  await sleep(Math.random() * 0.2 * NAP_MS);
}

/** Hooks run between what follows from a task and its acknowledgement: workers are to die there as well. */
const linger = () => sleep(Math.random() * NAP_MS) as Promise<void>;
const hooks = { afterReturn: linger, onRetry: linger };

/** Leaves a promise that rejects when it has long ended. */
app.task("chaos.leak", async () => {
  void sleep(Math.random() * 500).then(() => Promise.reject(new Error("nobody waits for this")));
});

// One answer in a hundred to a claim is lost on its way: it was applied.
const backend = await app.engine.backend();
const { apply } = backend;
Object.assign(backend, {
  apply: async (...[commands, unit]: Parameters<typeof apply>) =>
    (await apply(commands, unit)).map((outcome, at) =>
      commands[at]?.type === "claim" && Math.random() < LOST
        ? new OperationalError("no answer in time", { retryable: true })
        : outcome,
    ),
});

app.task("chaos.plain", hooks, async (n: number) => {
  await work(`plain ${n}`);
  return n;
});
app.task("chaos.step", hooks, async (n: number) => {
  await work(`step ${n}`);
  return n;
});
app.task("chaos.follow", hooks, (n: number) => work(`follow ${n}`));
app.task("chaos.body", hooks, ([n]: readonly number[]) => work(`follow ${n}`));
app.task("chaos.errback", hooks, (id: string) => work(`errback ${id.slice(id.lastIndexOf("-") + 1)}`));
app.task("chaos.fail", hooks, async (n: number) => {
  await work(`fail ${n}`);
  throw new RangeError("no");
});
app.task("chaos.retry", { bind: true, ...hooks }, async (self, n: number) => {
  if (self.request.retries < 2) self.retry({ countdown: Math.random() });
  await work(`retry ${n}`);
  return n;
});
