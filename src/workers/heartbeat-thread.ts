/** The thread behind `startHeartbeat`: a broker and a backend of its own, and a beat three times in each lease. */
import { parentPort, workerData } from "node:worker_threads";
import { Engine } from "../engine.ts";
import { boardReader } from "./board.ts";
import { beatOnce, type HeartbeatOrder, type HeartbeatSetup, type Holding, readHolding } from "./heartbeat.ts";

/** A process that is so far past the limit of a task does not enforce it: its event loop is blocked … */
const BLOCKED_MS = 1_000;
/** … which is looked for so often. */
const LOOK_MS = 250;

const setup = workerData as HeartbeatSetup;
const board = boardReader(setup.board);
/** Those that the board has no room for. */
const told = new Map<number, Holding>();

parentPort?.on("message", (order: HeartbeatOrder) => {
  if ("drop" in order) told.delete(order.drop);
  else {
    const holding = readHolding(order.hold);
    told.set(holding.id, holding);
  }
});

/** What the worker has in hand whose deadline is not after this. */
const inHand = (until = Number.POSITIVE_INFINITY): Holding[] => [
  ...[...told.values()].filter(({ deadline }) => deadline <= until),
  ...board.read(until).map(readHolding),
];

// The config is the one in force: the environment has had its say.
const engine = new Engine(setup.config, { env: {} });

/** Does something every so often, and never twice at a time. */
function every(ms: number, job: () => Promise<void>): void {
  let busy = false;
  setInterval(async () => {
    if (busy) return;
    busy = true;
    try {
      await job();
    } catch (error) {
      parentPort?.postMessage({ error: String(error) });
    } finally {
      busy = false;
    }
  }, ms);
}

every(setup.visibility / 3, async () => {
  const holdings = inHand();
  if (holdings.length === 0) return;
  const [broker, backend] = await Promise.all([engine.broker(), engine.backend()]);
  for (const finding of await beatOnce(broker, backend, holdings, Date.now(), setup.visibility)) {
    parentPort?.postMessage(finding);
  }
});

/** What stores that a run has not ended: until now. */
const endingAt = (now: number, { entry, ...overrun }: NonNullable<Holding["overrun"]>) => ({
  ...overrun,
  now,
  ...(entry !== undefined && { entry: { ...entry, time: now } }),
});

// The run cannot be stopped from here; the process can. Its outcome is stored first: the message comes back, and whoever
// gets it sends what follows from the row.
every(LOOK_MS, async () => {
  const now = Date.now();
  const over = inHand(now - BLOCKED_MS);
  if (over.length === 0) return;
  const commands = over.flatMap(({ overrun }) => (overrun === undefined ? [] : [endingAt(now, overrun)]));
  try {
    await (await engine.backend()).apply(commands);
  } finally {
    process.kill(process.pid, "SIGKILL");
  }
});
