/** The places of a worker's pool, processes or threads: each runs one task, what dies is replaced, what is tired makes room. */
import { type ChildProcess, fork } from "node:child_process";
import { Worker as Thread } from "node:worker_threads";
import { systemClock } from "../clock.ts";
import { LovageError } from "../errors.ts";
import type { Log } from "../workers/log.ts";
import type { PlacedRun, PlaceOrder, PlaceReport, Postrun } from "../workers/place.ts";
import { nameOf } from "../workers/report.ts";
import type { Batch, PlaceWatch, Pool, PoolEnd } from "../workers/pool.ts";
import { reportIn } from "./line.ts";
import type { PlaceSetup } from "./place.ts";
import { childArgv, killGroup, LAUNCHER, pauseAfter } from "./supervise.ts";

/** What is told to end, and has nothing in hand, has so long for it, in milliseconds. */
const LEAVE_MS = 2_000;

export type PoolKind = "processes" | "threads";

export interface PlacePool extends Pool {
  /** Ends all places. To be called when nothing runs any more. */
  close(): Promise<void>;
}

export interface PoolSetup {
  /** What each place has to know, but for its own name. */
  readonly place: Omit<PlaceSetup, "place">;
  readonly kind: PoolKind;
  readonly size: number;
  readonly log: Log;
  /** Is told of each attempt that ended. */
  readonly postrun: ((attempt: Postrun) => void) | undefined;
  /** Is told of processes that lead a group of their own, and of their end. */
  readonly group: (leader: number, isThere: boolean) => void;
}

/** One life of a place: a process, or a thread. */
interface Life {
  /** As the log names it. */
  readonly name: string;
  say(order: PlaceOrder): void;
  kill(): void;
}

interface LifeEvents {
  heard(report: PlaceReport): void;
  /** It has ended, and nothing more comes from it. */
  ended(how: string): void;
  group: PoolSetup["group"];
}

/** A delivery in a place. */
interface Task {
  readonly watch: PlaceWatch;
  readonly end: (end: PoolEnd) => void;
  run: PlacedRun | undefined;
  isKilled: boolean;
}

interface Place {
  readonly name: string;
  /** Resolves when it is ready for the first time. */
  readonly ready: PromiseWithResolvers<void>;
  life: Life | undefined;
  isReady: boolean;
  isTired: boolean;
  readonly tasks: Map<number, Task>;
  /** The batch that is gathered here. */
  batch: { readonly task: string; count: number; readonly until: number } | undefined;
}

interface Waiting {
  readonly batch: Batch | undefined;
  begin(place: Place): void;
}

/** Starts the places. Resolves when all are ready; throws where one is not, having said why. */
export async function startPool(setup: PoolSetup): Promise<PlacePool> {
  const { kind, size, log, postrun, group } = setup;
  const places: Place[] = [];
  const waiting: Waiting[] = [];
  const closing = new AbortController();

  const isFree = ({ isReady, isTired, tasks }: Place) => isReady && !isTired && tasks.size === 0;

  /** Where a delivery may begin now. */
  function placeFor(batch: Batch | undefined): Place | undefined {
    const now = performance.now();
    const gathering = places.find(
      ({ batch: open, isReady, isTired }) =>
        batch !== undefined &&
        isReady &&
        !isTired &&
        open?.task === batch.task &&
        open.count < batch.size &&
        now < open.until,
    );
    const place = gathering ?? places.find(isFree);
    if (place === undefined || batch === undefined) return place;
    if (gathering === undefined) place.batch = { task: batch.task, count: 0, until: now + batch.wait * 1000 };
    if (place.batch !== undefined) place.batch.count++;
    return place;
  }

  /** Begins what waits for a place. */
  function serve(): void {
    for (let at = 0; at < waiting.length; ) {
      const next = waiting[at] as Waiting;
      const place = placeFor(next.batch);
      if (place === undefined) at++;
      else {
        waiting.splice(at, 1);
        next.begin(place);
      }
    }
  }

  function rest(place: Place): void {
    if (place.tasks.size > 0) return;
    place.batch = undefined;
    if (place.isTired) leave(place);
    else serve();
  }

  function leave(place: Place): void {
    const { life } = place;
    if (life === undefined) return;
    place.isReady = false;
    life.say("leave");
    setTimeout(() => life.kill(), LEAVE_MS).unref();
  }

  function live(
    place: Place,
  ): Promise<{ readonly wasReady: boolean; readonly lived: number; readonly isMeant: boolean }> {
    return new Promise((resolve) => {
      place.isTired = false;
      let since: number | undefined;
      const life = (kind === "processes" ? startProcess : startThread)(
        { ...setup.place, place: place.name },
        {
          heard(report) {
            if (report === "ready") {
              since = performance.now();
              place.isReady = true;
              place.ready.resolve();
              serve();
            } else if (report === "tired") {
              place.isTired = true;
              rest(place);
            } else if ("postrun" in report) postrun?.(report.postrun);
            else if ("began" in report) {
              const task = place.tasks.get(report.began);
              if (task === undefined) return;
              task.run = report.run;
              task.watch.began(report.run);
            } else if ("held" in report) place.tasks.get(report.held)?.watch.held(report.deadline, report.overrun);
            else {
              const task = place.tasks.get(report.ended);
              place.tasks.delete(report.ended);
              task?.end(report.end);
              rest(place);
            }
          },
          ended(how) {
            place.life = undefined;
            place.isReady = false;
            place.batch = undefined;
            const tasks = [...place.tasks.values()];
            place.tasks.clear();
            const isKilled = tasks.some((task) => task.isKilled);
            const makesRoom = place.isTired && tasks.length === 0;
            const isMeant = closing.signal.aborted || isKilled || makesRoom;
            if (makesRoom && !closing.signal.aborted) log("info", `${life.name} makes room for a fresh one`);
            else if (!isMeant) {
              const running = tasks.flatMap(({ run }) => (run === undefined ? [] : nameOf(run.message)));
              const what = running.length === 0 ? "" : ` while it ran ${running.join(", ")}`;
              log("error", `${life.name} exited with '${how}'${what}`);
            }
            for (const { end, run } of tasks) end({ type: isKilled ? "killed" : "died", claim: run?.claim });
            resolve({
              wasReady: since !== undefined,
              lived: since === undefined ? 0 : performance.now() - since,
              isMeant,
            });
          },
          group,
        },
      );
      place.life = life;
    });
  }

  /** Keeps a place for as long as the pool is open. */
  async function keepPlace(place: Place): Promise<void> {
    let shortLives = 0;
    for (let isFirst = true; !closing.signal.aborted; isFirst = false) {
      const { wasReady, lived, isMeant } = await live(place);
      if (isFirst && !wasReady) {
        place.ready.reject(new LovageError(`${place.name}, a ${NOUNS[kind]} of the pool, did not start`));
        return;
      }
      const pause = isMeant ? 0 : pauseAfter(lived, shortLives);
      shortLives = pause === 0 ? 0 : shortLives + 1;
      if (pause === 0 || closing.signal.aborted) continue;
      log("warning", `${place.name} starts again in ${pause / 1000} s`);
      await systemClock.sleep(pause, closing.signal);
    }
  }

  for (let number = 1; number <= size; number++) {
    places.push({
      name: `PoolWorker-${number}`,
      ready: Promise.withResolvers(),
      life: undefined,
      isReady: false,
      isTired: false,
      tasks: new Map(),
      batch: undefined,
    });
  }
  const kept = places.map(keepPlace);
  // One that a task blocks does not hear that nobody is there any more.
  const killAll = () => {
    for (const { life } of places) life?.kill();
  };
  process.on("exit", killAll);

  const of = (id: number) => places.find(({ tasks }) => tasks.has(id));
  const pool: PlacePool = {
    kind: NOUNS[kind],
    run: (id, delivery, watch, batch) =>
      new Promise((end) => {
        waiting.push({
          batch,
          begin(place) {
            place.tasks.set(id, { watch, end, run: undefined, isKilled: false });
            place.life?.say({ run: id, delivery });
          },
        });
        serve();
      }),
    tell: (id, what) => of(id)?.life?.say(what === "abort" ? { abort: id } : { terminate: id }),
    hurry() {
      for (const { life } of places) life?.say("hurry");
    },
    kill(id) {
      const place = of(id);
      // Who shares it has no part in that.
      for (const task of place?.tasks.values() ?? []) task.isKilled = true;
      place?.life?.kill();
    },
    async close() {
      closing.abort();
      for (const place of places) {
        if (place.isReady && place.tasks.size === 0) leave(place);
        else place.life?.kill();
      }
      await Promise.all(kept);
      process.off("exit", killAll);
    },
  };
  try {
    await Promise.all(places.map(({ ready }) => ready.promise));
    return pool;
  } catch (error) {
    await pool.close();
    throw error;
  }
}

const NOUNS: Readonly<Record<PoolKind, string>> = { processes: "process", threads: "thread" };

const hearing =
  (heard: LifeEvents["heard"]) =>
  (message: unknown): void => {
    const report = reportIn<PlaceReport>(message);
    if (report !== undefined) heard(report);
  };

function startProcess(setup: PlaceSetup, { heard, ended, group }: LifeEvents): Life {
  // In a group of its own: what its tasks have started ends with it, and nothing else.
  const child: ChildProcess = fork(LAUNCHER, ["child", "place", JSON.stringify(setup)], {
    detached: true,
    execArgv: childArgv(),
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    serialization: "advanced",
  });
  const { pid } = child;
  let how = "";
  let open = 2;
  // What it has said last may come after its end.
  const close = () => {
    open--;
    if (open > 0) return;
    killGroup(pid);
    if (pid !== undefined) group(pid, false);
    ended(how);
  };
  child.on("message", hearing(heard));
  child.once("disconnect", close);
  child.once("exit", (code, signal) => {
    how = signal === null ? `exitcode ${code}` : `signal ${signal}`;
    close();
  });
  child.once("error", (error) => {
    if (pid === undefined) ended(error.message);
  });
  if (pid !== undefined) group(pid, true);
  return {
    name: `Process '${setup.place}' pid:${pid}`,
    say: (order) => {
      if (child.connected) child.send(order);
    },
    kill() {
      // Its number may be another's by then.
      if (child.exitCode === null && child.signalCode === null) killGroup(pid);
    },
  };
}

function startThread(workerData: PlaceSetup, { heard, ended }: LifeEvents): Life {
  const here = import.meta.url;
  // A checkout runs the sources, whose names of their own are known by a hook, and each thread has its own hooks.
  const thread = here.endsWith(".ts")
    ? new Thread(new URL("./place-thread.ts", here), {
        workerData,
        execArgv: ["--import", new URL("../../scripts/source.ts", here).href],
      })
    : new Thread(new URL("./place-thread.js", here), { workerData });
  let why: unknown;
  thread.on("message", hearing(heard));
  thread.on("error", (error) => {
    why = error;
  });
  thread.once("exit", (code) => ended(why === undefined ? `exitcode ${code}` : String(why)));
  return {
    name: `Thread '${workerData.place}'`,
    say: (order) => thread.postMessage(order),
    kill: () => void thread.terminate(),
  };
}
