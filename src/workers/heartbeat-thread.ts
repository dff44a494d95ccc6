/** The thread behind `startHeartbeat`: a broker and a backend of its own, and a beat three times in each lease. */
import { parentPort, workerData } from "node:worker_threads";
import { Engine } from "../engine.ts";
import { fileOf } from "../file-url.ts";
import type { Command, Release } from "../results/record.ts";
import { watchRemoved } from "../file-identity.ts";
import { boardReader } from "./board.ts";
import {
  asBeat,
  beatOnce,
  betweenBeats,
  hadOrder,
  type HeartbeatOrder,
  type HeartbeatReport,
  type HeartbeatSetup,
  type Holding,
  messagesOf,
  monotonic,
  readHolding,
} from "./holding.ts";

/** A process that is so far past the limit of a task does not enforce it: its event loop is blocked … */
const BLOCKED_MS = 1_000;
/**
 * … which is looked for so often. Each time, what was committed is also brought from the logs of SQLite files into the files: the
 * disk takes some ten milliseconds for that, in which the worker's own thread would start no task.
 */
const LOOK_MS = 500;
/** Before the process is ended, what else it has in hand is given back within this. */
const LAST_WORDS_MS = 3_000;

const setup = workerData as HeartbeatSetup;
const board = boardReader(setup.board);
/** Those that the board has no room for. */
const told = new Map<number, Holding>();
const report = (message: HeartbeatReport) => parentPort?.postMessage(message);

parentPort?.on("message", (order: HeartbeatOrder) => {
  if ("drop" in order) told.delete(order.drop);
  else if ("end" in order) void say(order.end, order.culprits);
  else {
    const holding = readHolding(order.hold);
    told.set(holding.id, holding);
  }
  hadOrder(setup.beats);
});

/** What the worker has in hand whose deadline is not after this. */
const inHand = (until = Number.POSITIVE_INFINITY): Holding[] => [
  ...[...told.values()].filter(({ deadline }) => deadline <= until),
  ...board.read(until).map(readHolding),
];

// The config is the one in force: the environment has had its say.
const engine = new Engine(setup.config, { env: {} });

const urls = [setup.config.brokerUrl, setup.config.resultBackend];
const hasFile = urls.some((url) => fileOf(url) !== undefined);
const removed = watchRemoved(urls);

function checkFiles(): void {
  const path = removed();
  if (path !== undefined) report({ gone: `the file ${path} was removed or replaced while the worker used it` });
}

/** Why the last one failed. That is told once, not with each try. */
let failure: string | undefined;

/** Nothing is lost where it fails: the log has it. */
async function checkpoint(): Promise<void> {
  const before = failure;
  failure = undefined;
  try {
    const [broker, backend] = await Promise.all([engine.broker(), engine.backend()]);
    for (const store of new Set([broker.store, backend.store])) store?.checkpoint?.();
  } catch (error) {
    failure = String(error);
    if (failure !== before) report({ logged: failure });
  }
}

/** One timer for both: what an idle worker costs is how often it wakes. */
async function look(): Promise<void> {
  await endBlocked();
  if (hasFile) await checkpoint();
}

/** Does something every so often, and never twice at a time. */
function every(ms: number, job: () => Promise<void>): void {
  let busy = false;
  setInterval(async () => {
    if (busy) return;
    busy = true;
    try {
      await job();
    } catch (error) {
      report({ error: String(error) });
    } finally {
      busy = false;
    }
  }, ms);
}

async function beat(): Promise<void> {
  checkFiles();
  const [broker, backend] = await Promise.all([engine.broker(), engine.backend()]);
  const findings = await asBeat(setup.beats, () => beatOnce(broker, backend, inHand(), Date.now(), setup.visibility));
  for (const finding of findings) report(finding);
}

/** Runs that blocked the process beyond their time and whose outcome was stored, where that is all that may be done. */
const overrun = new Set<number>();

/** What stores that a run has not ended: until now. */
const endingAt = (now: number, { entry, ...overrun }: NonNullable<Holding["overrun"]>) => ({
  ...overrun,
  now,
  ...(entry !== undefined && { entry: { ...entry, time: now } }),
});

// The run cannot be stopped from here; the process can. Its outcome is stored first: the message comes back, and whoever
// gets it sends what follows from the row. What stands beside it has no part in that, and is anybody's at once.
async function endBlocked(): Promise<void> {
  const over = inHand(monotonic() - BLOCKED_MS).filter(({ id }) => !overrun.has(id));
  if (over.length === 0) return;
  const now = Date.now();
  const finals = over.flatMap(({ overrun: final }) => (final === undefined ? [] : [endingAt(now, final)]));
  if (!setup.ownsProcess) {
    await (await engine.backend()).apply(finals);
    for (const { id } of over) {
      overrun.add(id);
      report({ id, finding: "overrun" });
    }
    return;
  }
  try {
    const beside = inHand().filter(({ id }) => !over.some((run) => run.id === id));
    const back = handBackAll([...finals, ...beside.flatMap((holding) => releaseOf(holding))]);
    await Promise.race([back, new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS))]);
  } finally {
    endProcess();
  }
}

async function handBackAll(commands: readonly Command[]): Promise<void> {
  const [broker, backend] = await Promise.all([engine.broker(), engine.backend()]);
  await backend.apply(commands);
  await betweenBeats(setup.beats);
  await broker.changeVisibility(messagesOf(inHand()).map((delivery) => ({ delivery, visibility: 0 })));
}

const releaseOf = ({ claim }: Holding, died = false): Release[] =>
  claim === undefined ? [] : [{ type: "release", ...claim, now: Date.now(), died }];

async function say(end: Int32Array, culprits: readonly number[]): Promise<void> {
  try {
    await handBackAll(inHand().flatMap((holding) => releaseOf(holding, culprits.includes(holding.id))));
  } finally {
    Atomics.store(end, 0, 1);
    Atomics.notify(end, 0);
  }
}

/** With what its tasks have started: that would go on beside the next attempt. */
function endProcess(): void {
  if (setup.leadsGroup) {
    try {
      process.kill(-process.pid, "SIGKILL");
    } catch {
      // It leads no group after all.
    }
  }
  process.kill(process.pid, "SIGKILL");
}

// Not awaited here: a bundle may be CommonJS. Where the first beat fails the thread ends, and another one is tried.
void beat().then(() => {
  report({ ready: true });
  every(setup.visibility / 3, beat);
  every(LOOK_MS, look);
});
