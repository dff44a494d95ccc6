/** A place of a pool as a process, and as a thread: what both do at their end of the line. */
import type { Log } from "../workers/log.ts";
import { type PlaceOrder, type PlaceReport, startPlace } from "../workers/place.ts";
import { EXIT, report } from "./exit.ts";
import { loadSharedApp } from "./load.ts";
import { createLog, type LogOptions, redirectPrints } from "./output.ts";

/** What a place has to know. */
export interface PlaceSetup extends Omit<LogOptions, "process"> {
  readonly app: string;
  /** The worker's name. */
  readonly hostname: string;
  /** Whether each end of an attempt is told. */
  readonly isCounted: boolean;
  /** As logs name it. */
  readonly place: string;
}

/** The line to the poller. */
export interface Line {
  say(report: PlaceReport): void;
  /** Must lose nothing that came before it was called. */
  hear(listener: (order: PlaceOrder) => void): void;
}

/** Ends the process, or the thread. */
export async function runPlace(setup: PlaceSetup, line: Line, isProcess: boolean): Promise<void> {
  const log: Log = createLog({ ...setup, process: setup.place });
  if (setup.logFormat === "json") redirectPrints(log);
  try {
    const app = await loadSharedApp(setup.app);
    const { hostname, isCounted } = setup;
    const place = await startPlace(app, { hostname, log, isProcess, isCounted, say: line.say });
    line.hear(place.hear);
    line.say("ready");
    await place.ended;
    await app.close();
    // A task that was given up may still be running.
    process.exit(EXIT.ok);
  } catch (error) {
    process.exit(report(error, setup.loglevel === "debug"));
  }
}
