/** Keeps a process alive, as Celery's main process keeps its pool: what dies is replaced, what is told to stop stops. */
import { type ChildProcess, fork } from "node:child_process";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { systemClock } from "../clock.ts";
import { LovageError } from "../errors.ts";
import type { Delivery } from "../brokers/broker.ts";
import type { Run } from "../workers/worker.ts";
import { listenLastingly } from "../workers/lasting.ts";
import type { Log } from "../workers/log.ts";
import { EXIT, STOP_SIGNALS } from "./exit.ts";
import { marked, reportIn } from "./line.ts";
import type { LoadedFile } from "./modules.ts";

/** What a kept process is told: finish what runs, or give it up. */
export type Order = "warm" | "cold";

/** What it says: that it has begun, and before it ends by itself, how. */
export type Report =
  | "ready"
  | "stopped"
  | "recycle"
  /** Somebody has asked for its end, by `app.control`. */
  | "shutdown"
  /** It has in hand what it was given, or may have what it has fetched … */
  | "taken"
  /** … and has claimed its task: now it runs. */
  | { readonly claim: Run["claim"] }
  /** It has started a process that leads a group of its own, or that has ended. */
  | { readonly group: number; readonly isThere: boolean }
  | Told;

/** What one that `lovage dev` keeps tells: the files that its app is made of, where the board is, that a worker takes nothing more. */
export interface Told {
  readonly modules?: readonly LoadedFile[];
  readonly url?: string;
  readonly takesNothing?: true;
}

/** A process that lives shorter than this, once it was ready, is restarted with a pause … */
const SHORT_LIFE_MS = 1_000;
/** … of this, doubled each time, … */
const FIRST_PAUSE_MS = 1_000;
/** … up to this. */
const LAST_PAUSE_MS = 60_000;

/** The command, to be started anew. */
export const LAUNCHER = fileURLToPath(new URL("../../bin/lovage.js", import.meta.url));

/** Megabytes, and V8's own bound until it was doubled in Node 24. */
const SEMI_SPACE_MB = 16;
const HAS_BOUND = /--max[-_]semi[-_]space[-_]size/;

/**
 * The arguments of Node for a process that the command starts. The young generation of its heap is bounded: a process that is busy grows
 * it to three times that bound whether or not it is of use, and a worker that takes small tasks is no quicker for more. A bound that the
 * user gave, to the command or in `NODE_OPTIONS`, stays.
 */
export function childArgv(): string[] {
  const { execArgv, env, versions } = process;
  const isNode = versions["bun"] === undefined && versions["deno"] === undefined;
  const isBound = [...execArgv, env["NODE_OPTIONS"] ?? ""].some((text) => HAS_BOUND.test(text));
  return isNode && !isBound ? [...execArgv, `--max-semi-space-size=${SEMI_SPACE_MB}`] : execArgv;
}

/** Milliseconds to wait before a process is started anew that was ready for so long, after so many short lives. */
export const pauseAfter = (lived: number, shortLives: number): number =>
  lived < SHORT_LIFE_MS ? Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** shortLives) : 0;

export interface Kept {
  /** Resolves with true when it is ready for the first time, with false when it ended before. */
  readonly ready: Promise<boolean>;
  /** Resolves with an exit code when it has ended and is not to be replaced. */
  readonly ended: Promise<number>;
  order(order: Order): void;
  /** Has one that was started with `waits` go on. */
  begin(): void;
  /** Ends it at once. */
  kill(): void;
}

/** How `lovage dev` keeps a process. */
export interface Keeping {
  /** Its lines, instead of this process's own output and its errors. */
  readonly output: (stream: Readable) => void;
  readonly told: (told: Told) => void;
}

/** One life of the process. */
interface Life {
  readonly wasReady: boolean;
  /** Milliseconds that it was ready. */
  readonly lived: number;
  readonly last: Report | undefined;
  readonly pid: number | undefined;
  readonly code: number | null;
  readonly signal: string | null;
}

/**
 * Starts `lovage child <kind> <options>` and keeps it. A process that ends before it was ready for the first time has
 * said why, and is not started again. `options` gets `first: true` in the first life.
 */
export function keep(kind: "pool" | "beat" | "board", options: object, log: Log, keeping?: Keeping): Kept {
  const out = keeping === undefined ? "inherit" : "pipe";
  let child: ChildProcess | undefined;
  /** Who leads a group, of those that it has started: a task that blocks one of these would not hear that it is gone. */
  const groups = new Set<number>();
  let ordered: Order | undefined;
  let isReady = false;
  /** It may have something in hand: hooks of `workerReady` run while the first tasks do. */
  let hasTaken = false;
  let isBegun = false;
  const pausing = new AbortController();
  const ready = Promise.withResolvers<boolean>();

  function live(first: boolean): Promise<Life> {
    return new Promise((resolve) => {
      // In a group of its own: Ctrl-C in a terminal is for the one that keeps it.
      const started = fork(LAUNCHER, ["child", kind, JSON.stringify({ first, ...options })], {
        detached: true,
        execArgv: childArgv(),
        stdio: ["ignore", out, out, "ipc"],
      });
      child = started;
      for (const stream of [started.stdout, started.stderr]) if (stream !== null) keeping?.output(stream);
      if (isBegun) started.send("begin");
      isReady = false;
      hasTaken = false;
      let since = 0;
      let last: Report | undefined;
      started.on("message", (message) => {
        const report = reportIn<Report>(message);
        if (report === undefined) return;
        if (typeof report === "object") {
          if (!("group" in report)) return keeping?.told(report as Told);
          if (report.isThere) groups.add(report.group);
          else groups.delete(report.group);
          return;
        }
        last = report;
        if (last === "taken") hasTaken = true;
        if (last !== "ready") return;
        isReady = true;
        since = performance.now();
        ready.resolve(true);
      });
      const end = (code: number | null, signal: string | null) => {
        child = undefined;
        // What its tasks started would go on beside their next attempt.
        if (code !== EXIT.ok) killGroup(started.pid);
        for (const leader of groups) killGroup(leader);
        groups.clear();
        const lived = isReady ? performance.now() - since : 0;
        resolve({ wasReady: isReady, lived, last, pid: started.pid, code, signal });
      };
      started.once("exit", end);
      started.once("error", (error) => {
        log("error", `Process '${kind}' could not be started: ${error.message}`);
        if (started.pid === undefined) end(EXIT.failure, null);
      });
    });
  }

  async function run(): Promise<number> {
    let shortLives = 0;
    for (let first = true; ordered === undefined; first = false) {
      const life = await live(first);
      // What it says last may come after its end.
      if (ordered !== undefined)
        return hasSaid(life) || life.code === EXIT.ok || !life.wasReady ? EXIT.ok : EXIT.failure;
      if (first && !life.wasReady) return life.code || EXIT.failure;
      // It has said why.
      if (life.last === "stopped") return EXIT.failure;
      if (life.last === "shutdown") return EXIT.ok;
      if (life.last === "recycle") {
        shortLives = 0;
        log("info", `Process '${kind}' pid:${life.pid} makes room for a fresh one`);
        continue;
      }
      log("error", `Process '${kind}' pid:${life.pid} exited with '${wayOfEnd(life)}'`, { pid: life.pid });
      const pause = pauseAfter(life.lived, shortLives);
      shortLives = pause === 0 ? 0 : shortLives + 1;
      if (pause === 0) continue;
      log("warning", `Process '${kind}' starts again in ${pause / 1000} s`);
      await systemClock.sleep(pause, pausing.signal);
    }
    return EXIT.ok;
  }

  const ended = run().finally(() => ready.resolve(false));
  return {
    ready: ready.promise,
    ended,
    order(order) {
      ordered = order;
      pausing.abort();
      // What has nothing in hand has nothing to hand back.
      if ((isReady || hasTaken) && child?.connected) child.send(order);
      else child?.kill("SIGKILL");
    },
    begin() {
      isBegun = true;
      if (child?.connected) child.send("begin");
    },
    kill() {
      ordered ??= "cold";
      pausing.abort();
      child?.kill("SIGKILL");
      for (const leader of groups) killGroup(leader);
    },
  };
}

/** It has ended in its own way. */
const hasSaid = ({ last }: Life): boolean => last === "recycle" || last === "stopped" || last === "shutdown";

/** It leads a group of its own, of which nobody else may be left. */
export function killGroup(leader: number | undefined): void {
  try {
    if (leader !== undefined) process.kill(-leader, "SIGKILL");
  } catch {
    // Nobody is left.
  }
}

const wayOfEnd = ({ code, signal }: Life): string => (signal === null ? `exitcode ${code}` : `signal ${signal}`);

/** The other end: what a kept process hears and says. */
export interface Keeper {
  /** Resolves with the first order; `second` with the one after it. */
  readonly first: Promise<Order>;
  readonly second: Promise<Order>;
  /** Resolves with the one delivery that it is to run, where that is all that it is there for. */
  readonly only: Promise<Delivery>;
  /** Resolves when it is to go on, where it was started to wait. */
  readonly begin: Promise<void>;
  /** Resolves when the keeper has heard it. */
  say(report: Report): Promise<void>;
}

/** Must be called at once: a process whose keeper dies ends with it. */
export function belong(): void {
  if (process.send === undefined) throw new LovageError("this command is a part of lovage worker, which starts it");
  listenLastingly("disconnect", () => {
    // What is in hand is given back as the process ends; then all that its tasks have started ends with it.
    process.on("exit", () => killGroup(process.pid));
    process.exit(EXIT.failure);
  });
  // A supervisor of services may signal the whole group. The keeper says what is to be done.
  for (const signal of STOP_SIGNALS) listenLastingly(signal, () => {});
}

/** Must be called at once, as {@link belong}. */
export function keeper(): Keeper {
  belong();
  const first = Promise.withResolvers<Order>();
  const second = Promise.withResolvers<Order>();
  const only = Promise.withResolvers<Delivery>();
  const begin = Promise.withResolvers<void>();
  let orders = 0;
  listenLastingly("message", (order: Order | "begin" | { readonly only: Delivery }) => {
    if (typeof order === "object") return only.resolve(order.only);
    if (order === "begin") return begin.resolve();
    orders++;
    if (orders === 1) first.resolve(order);
    else second.resolve(order);
  });
  return {
    first: first.promise,
    second: second.promise,
    only: only.promise,
    begin: begin.promise,
    say: (report) => new Promise((resolve) => process.send?.(marked(report), () => resolve())),
  };
}
