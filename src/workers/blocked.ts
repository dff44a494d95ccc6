/**
 * Names the task that blocks the event loop in which others run too: nothing else turns meanwhile. Who it was is told
 * afterwards, as nobody can look while it lasts.
 */
import type { Log } from "./log.ts";
import { type Named, nameOf } from "./report.ts";

/** It is looked so often, in milliseconds, whether the loop turns … */
const LOOK_MS = 500;
/** … and said where it has not for so long. */
const BLOCKED_MS = 1_000;
/** So many tasks are named where it may have been each of them. */
const MOST_NAMED = 5;

const REMEDY =
  "so no other task, and nothing else, went on. Run tasks that compute by `lovage worker --pool processes`, where each has a process of its own, or have them await now and then";

/** A run that the loop turns for. */
interface Turning extends Named {
  /** How often it had been looked when it began. */
  readonly looks: number;
}

export interface Blocking {
  began(task: Named): Turning;
  ended(run: Turning): void;
  /** Looks whether the loop has turned. To be called every {@link LOOK_MS} from when a run began until it answers `false`: none runs. */
  look(): boolean;
}

export function createBlocking(log: Log, now: () => number): Blocking {
  let last = 0;
  let looks = 0;
  /** Those that run, the oldest first, and those that began or ended since the last look. */
  const running: Turning[] = [];
  let turned: Turning[] = [];
  /** Tasks, by name, that were told of. */
  const told = new Set<string>();

  function look(): boolean {
    const time = now();
    const blocked = time - last - LOOK_MS;
    last = time;
    if (blocked >= BLOCKED_MS) {
      // What began or ended while nothing turned is more likely than what waited through it.
      const found = (turned.length > 0 ? turned : running).filter(({ task }) => !told.has(task));
      if (found.length > 0) tell(found, blocked);
    }
    looks++;
    turned = [];
    return running.length > 0;
  }

  function tell(found: readonly Named[], blocked: number): void {
    for (const { task } of found) told.add(task);
    const names = found.slice(0, MOST_NAMED).map(nameOf);
    const who = found.length === 1 ? `Task ${names[0]}` : `One of ${found.length} tasks (${names.join(", ")})`;
    log("warning", `${who} blocked the event loop for ${(blocked / 1000).toFixed(1)} s, ${REMEDY}`);
  }

  return {
    look,
    // The names alone: the arguments would be held until the next look.
    began({ id, task, shadow }) {
      if (running.length + turned.length === 0) last = now();
      const run = { id, task, shadow, looks };
      running.push(run);
      turned.push(run);
      return run;
    },
    ended(run) {
      running.splice(running.indexOf(run), 1);
      if (run.looks < looks) turned.push(run);
    },
  };
}

/** Looks while something runs, until `stop` is called: an idle worker is not woken for it. */
export function watchBlocking(log: Log): Omit<Blocking, "look"> & { stop(): void } {
  const blocking = createBlocking(log, () => performance.now());
  let timer: NodeJS.Timeout | undefined;
  const stop = () => {
    clearInterval(timer);
    timer = undefined;
  };
  return {
    began(task) {
      timer ??= setInterval(() => blocking.look() || stop(), LOOK_MS).unref();
      return blocking.began(task);
    },
    ended: blocking.ended,
    stop,
  };
}
