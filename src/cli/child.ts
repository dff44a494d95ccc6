/** The processes that `lovage worker` and `lovage dev` start: not for users. Each loads what its kind needs. */
import type { Command } from "commander";
import { listenLastingly } from "../workers/lasting.ts";
import type { PlaceOrder } from "../workers/place.ts";
import { EXIT, report } from "./exit.ts";
import { loadSharedApp } from "./load.ts";
import { marked } from "./line.ts";
import type { Line, PlaceSetup } from "./place.ts";
import type { Listening } from "./serve-board.ts";
import type { PoolOptions } from "./serve-worker.ts";
import { belong, keeper } from "./supervise.ts";
import type { WorkerCommandOptions } from "./worker.ts";

export function childCommand(program: Command): void {
  program
    .command("child <kind> <options>", { hidden: true })
    .action((kind: keyof typeof CHILDREN, options: string) => CHILDREN[kind](JSON.parse(options)));
}

const CHILDREN = {
  pool: async (options: PoolOptions) => (await import("./serve-worker.ts")).runPool(options),
  suspect: async (options: WorkerCommandOptions) => (await import("./serve-worker.ts")).runSuspect(options),
  place: runPlaceChild,
  beat: runBeatChild,
  board: runBoardChild,
} as const;

/** A process of a pool. */
async function runPlaceChild(setup: PlaceSetup): Promise<void> {
  belong();
  const held: PlaceOrder[] = [];
  let listener = (order: PlaceOrder): void => void held.push(order);
  listenLastingly("message", (order: PlaceOrder) => listener(order));
  const line: Line = {
    say: (report) => void process.send?.(marked(report)),
    hear(next) {
      listener = next;
      for (const order of held.splice(0)) next(order);
    },
  };
  const { runPlace } = await import("./place.ts");
  await runPlace(setup, line, true);
}

/** The process that serves the board, beside a worker. */
async function runBoardChild(options: WorkerCommandOptions & Listening): Promise<void> {
  const parent = keeper();
  try {
    const { serveBoard } = await import("./serve-board.ts");
    await using app = await loadSharedApp(options.app);
    const { url, close } = await serveBoard(app, options);
    await parent.say({ url });
    await parent.say("ready");
    await parent.first;
    await close();
    await parent.say("stopped");
    process.exit(EXIT.ok);
  } catch (error) {
    process.exit(report(error, options.loglevel === "debug"));
  }
}

/** The process that is beat. */
async function runBeatChild(options: WorkerCommandOptions): Promise<void> {
  const parent = keeper();
  const stopping = new AbortController();
  void parent.first.then(() => stopping.abort());
  try {
    const { startBeat } = await import("./beat.ts");
    await startBeat(options, stopping.signal, () => void parent.say("ready"));
    await parent.say("stopped");
    process.exit(EXIT.ok);
  } catch (error) {
    process.exit(report(error, options.loglevel === "debug"));
  }
}
