/**
 * Where a message of a long-lived worker is worked on: in the worker's own event loop, in a place of its pool, or, where workers
 * have died of it, in a process of its own, or alone.
 */
import type { Engine } from "../engine.ts";
import { peekEnvelope } from "../protocol/envelope.ts";
import { batchOf } from "../tasks/batch.ts";
import type { Unit } from "../unit.ts";
import type { Blocking } from "./blocked.ts";
import type { Deaths } from "./deaths.ts";
import { type Disposition, HAND_BACK, LEAVE } from "./disposition.ts";
import type { Heartbeat } from "./heartbeat.ts";
import type { Hand, InHand, RunInHand } from "./in-hand.ts";
import type { Log } from "./log.ts";
import { isLarge } from "./place.ts";
import { type Apart, type Batch, type PlaceWatch, type Pool, type RunInPlace, runInPlace } from "./pool.ts";
import { UNCOUNTED_RECEIVES } from "./read.ts";
import { type Named, nameOf } from "./report.ts";
import type { RunQueue } from "./run-queue.ts";
import type { Run, Worker } from "./worker.ts";

export interface Dispatch {
  /** Runs in processes of their own. */
  readonly apart: ReadonlySet<Promise<unknown>>;
  /** See {@link RunQueueOptions.run}. */
  run(held: InHand, isAlone: boolean): Promise<Disposition | "alone">;
}

export interface DispatchOptions {
  readonly engine: Engine;
  readonly worker: Pick<Worker, "admit">;
  readonly log: Log;
  readonly hand: Hand;
  readonly heartbeat: Pick<Heartbeat, "drop">;
  readonly deaths: Deaths;
  /** Where tasks run; `undefined`: here. */
  readonly pool: Pool | undefined;
  /** Where what workers have died of runs; `undefined`: here, alone. */
  readonly apart: Apart | undefined;
  /** This process is there for one message, and may die of it. */
  readonly isForOne: boolean;
  /** Tasks of the app gather calls. */
  readonly hasBatches: boolean;
  readonly gather: RunQueue["gather"];
  readonly giveRoom: RunQueue["giveRoom"];
  /** Is told of what runs here, and of how long it keeps others from running. */
  readonly blocking: Pick<Blocking, "began" | "ended"> | undefined;
  /** Is told of a task that is claimed, before it begins … */
  readonly claimed: ((run: Run) => void) | undefined;
  /** … and when it does, wherever that is. */
  readonly began: ((run: RunInHand) => void) | undefined;
  /** This process should make room for a fresh one. */
  readonly makeRoom: () => void;
  /** The worker stops: nothing more is begun. */
  readonly stopping: AbortSignal;
}

/** Makes that of one worker. */
export function createDispatch(options: DispatchOptions): Dispatch {
  const { engine, worker, log, hand, heartbeat, deaths, pool, apart, isForOne, hasBatches } = options;
  const { gather, giveRoom, blocking, claimed, began, makeRoom, stopping } = options;
  const runningApart = new Set<Promise<unknown>>();

  async function run(held: InHand, isAlone: boolean): Promise<Disposition | "alone"> {
    const { delivery, unit } = held;
    // What workers may have died of before they could claim it is read where it can take nothing along.
    const isApart = apart !== undefined && delivery.receiveCount > UNCOUNTED_RECEIVES;
    if (isApart || pool !== undefined) {
      if (unit !== undefined && !(await isCommitted(unit))) return LEAVE;
      return isApart ? runApart(apart, held) : runPlaced(pool as Pool, held);
    }
    const admission = await worker.admit(delivery, unit);
    if (!("run" in admission)) return admission.disposition;
    const { run } = admission;
    claimed?.(run);
    // Told to stop meanwhile: it has not begun.
    if (stopping.aborted && !isForOne) return giveBack(run);
    if (!run.suspect || run.decided || isForOne || isAlone) return runHere(held, run);
    // If this process dies, it did not die of this one.
    return setApart(held, run, await giveBack(run));
  }

  async function runHere(held: InHand, run: Run): Promise<Disposition> {
    const ungather = batchIn(run.message.task) === undefined ? undefined : gather();
    hand.begin(held, run);
    const turning = blocking?.began(run.message);
    began?.(run);
    const { claim, timeLimit: limit } = run;
    const overrun = limit === null ? undefined : await run.overrun(limit);
    let end = Number.POSITIVE_INFINITY;
    hand.keep(held, claim, end);
    const { disposition, abandoned } = await run.execute(
      (deadline) => {
        // Without a limit it is told the same each time.
        if (deadline !== end) hand.keep(held, claim, deadline, overrun);
        end = deadline;
      },
      (unit) => {
        ungather?.();
        giveRoom(held, unit);
      },
    );
    ungather?.();
    if (turning !== undefined) blocking?.ended(turning);
    hand.end(held);
    const { workerMaxTasksPerChild: mostTasks, workerMaxMemoryPerChild: mostMemory } = engine.config;
    if (abandoned || (mostTasks !== undefined && hand.done >= mostTasks) || isLarge(mostMemory)) makeRoom();
    return disposition;
  }

  async function runPlaced(pool: Pool, held: InHand): Promise<Disposition | "alone"> {
    if (stopping.aborted) return HAND_BACK;
    const { id, delivery } = held;
    const batch = hasBatches ? batchIn(peekEnvelope(delivery.body).task) : undefined;
    const ungather = batch && gather();
    let run: RunInPlace | undefined;
    const watch: PlaceWatch = {
      began(placed) {
        run = runInPlace(engine, pool, held, placed);
        hand.begin(held, run);
        began?.(run);
        hand.keep(held, run.claim, Number.POSITIVE_INFINITY);
      },
      held(deadline, overrun) {
        if (run !== undefined) hand.keep(held, run.claim, deadline, overrun);
      },
    };
    const end = await pool.run(id, delivery, watch, batch);
    ungather?.();
    hand.end(held);
    switch (end.type) {
      case "ended":
        deaths.survived(delivery);
        return end.disposition;
      case "suspect":
        return setApart(held, end, HAND_BACK);
      case "died":
        return deaths.died(delivery, end.claim);
      case "killed":
        return run === undefined || run.isReleased ? LEAVE : run.release();
      default:
        return end satisfies never;
    }
  }

  /**
   * What workers have died of.
   *
   * @param back What may happen to its message where there is no time for that any more.
   */
  async function setApart(
    held: InHand,
    { message, deaths }: { readonly message: Named; readonly deaths: number },
    back: Disposition,
  ): Promise<Disposition | "alone"> {
    const how = apart === undefined ? "alone, when nothing else runs here" : "in a process of its own";
    log("warning", `Task ${nameOf(message)} is to run ${how}: ${deaths} of its workers died while they ran it`);
    if (apart !== undefined) return runApart(apart, held);
    return stopping.aborted ? back : "alone";
  }

  async function runApart(apart: Apart, { id, delivery }: InHand): Promise<Disposition> {
    const running = apart.run(delivery, () => heartbeat.drop(id));
    runningApart.add(running);
    const end = await running.finally(() => runningApart.delete(running));
    if (end.type === "ended") {
      deaths.survived(delivery);
      return LEAVE;
    }
    return end.type === "stopped" ? HAND_BACK : deaths.died(delivery, end.claim);
  }

  async function giveBack(run: Run): Promise<Disposition> {
    try {
      return await run.release();
    } catch (error) {
      log("warning", `The claim of ${nameOf(run.message)} could not be given up: ${String(error)}`);
      return HAND_BACK;
    }
  }

  /** The batch that a call of a task belongs to. */
  function batchIn(name: string | undefined): Batch | undefined {
    const task = hasBatches && name !== undefined ? engine.task(name) : undefined;
    const batch = task && batchOf(task);
    return batch && { ...batch, task: name as string };
  }

  return { apart: runningApart, run };
}

const isCommitted = (unit: Unit): Promise<boolean> =>
  unit.committed.then(
    () => true,
    () => false,
  );
