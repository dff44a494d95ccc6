/**
 * How a long-lived worker ends, as Celery's does. Warm: it takes nothing more, hands back what it has not begun, and lets what runs
 * end. Whoever told it to stop will kill it in the end, so what runs has the grace for that; then its `signal` aborts, and what
 * does not end by itself is handed back. Cold: the same without the grace.
 */
import type { Engine } from "../engine.ts";
import type { Acknowledgements } from "./acknowledge.ts";
import { ABORTED_MS, type Hand } from "./in-hand.ts";
import type { Log } from "./log.ts";
import { nameOf } from "./report.ts";

/** What runs has so long, in milliseconds, to end by itself where it was told to end at once; else {@link ABORTED_MS}. */
export const COLD_MS = 500;

export interface Shutdown {
  /** Takes nothing more, and resolves when all has ended. Nobody hurries it, so what runs has all the time it needs. */
  begin(): Promise<void>;
  /** The same, with the grace. */
  stop(): Promise<void>;
  /** The same, without. */
  abort(): Promise<void>;
}

export interface ShutdownOptions {
  readonly engine: Engine;
  readonly log: Log;
  readonly hand: Hand;
  readonly acks: Acknowledgements;
  /** Runs in processes of their own, which are told to stop by whoever tells this worker. */
  readonly apart: ReadonlySet<Promise<unknown>>;
  /** Milliseconds; 0: without end. */
  readonly grace: number;
  /** How long a claim is kept, in milliseconds. */
  readonly visibility: number;
  /** Is aborted when nothing more is to be taken … */
  readonly stopping: AbortController;
  /** … and this one when all has ended, or was given up. */
  readonly over: AbortController;
  /** Hands back what has not begun. */
  readonly handBackRest: () => Promise<void>;
  /** Resolves when all has ended by itself, and its messages are acknowledged. */
  readonly ending: () => Promise<void>;
  /** What is to be done at last. */
  readonly close: (isCold: boolean) => Promise<void>;
}

/** Makes that of one worker. */
export function createShutdown(options: ShutdownOptions): Shutdown {
  const { engine, log, hand, acks, apart, grace, visibility, stopping, over, handBackRest, ending, close } = options;
  const { clock } = engine;
  /** Aborts where what runs is to have no more time. */
  const hurry = new AbortController();
  /** Resolves when what ran was given up. */
  const gaveUp = Promise.withResolvers<void>();
  let isCold = false;
  let isTold = false;
  let shutdown: Promise<void> | undefined;

  function begin(): Promise<void> {
    shutdown ??= (async () => {
      stopping.abort();
      await Promise.race([ending(), gaveUp.promise]);
      over.abort("ended");
      if (isCold) await acks.ended();
      await close(isCold);
    })();
    return shutdown;
  }

  function stop(): Promise<void> {
    if (!isTold) void limitTime();
    isTold = true;
    return begin();
  }

  async function limitTime(): Promise<void> {
    void excuse();
    await clock.sleep(grace === 0 ? Number.POSITIVE_INFINITY : grace, AbortSignal.any([hurry.signal, over.signal]));
    if (over.signal.aborted) return;
    isCold = hurry.signal.aborted;
    for (const { run } of hand.runs) {
      log("warning", `Task ${nameOf(run.message)} is aborted: the worker stops`);
      run.abort();
    }
    await clock.sleep(
      isCold ? COLD_MS : ABORTED_MS,
      isCold ? over.signal : AbortSignal.any([hurry.signal, over.signal]),
    );
    if (over.signal.aborted) return;
    isCold = true;
    await giveUp();
    gaveUp.resolve();
  }

  /** If the worker is killed before it is done, nobody has died of what runs. */
  async function excuse(): Promise<void> {
    const claims = hand.runs.flatMap(({ run }) => run.claim ?? []);
    if (claims.length === 0) return;
    const now = clock.now();
    try {
      await (await engine.backend()).apply(
        claims.map((claim) => ({ type: "extend", ...claim, now, lease: now + visibility, excused: true })),
      );
    } catch (error) {
      log("warning", `Rows could not be told that the worker stops: ${String(error)}`);
    }
  }

  async function giveUp(): Promise<void> {
    await Promise.all([
      handBackRest(),
      Promise.race([Promise.allSettled(apart), clock.sleep(2 * COLD_MS, over.signal)]),
      ...hand.runs.map(async ({ held, run }) => {
        try {
          const released = await run.release();
          hand.forget(held);
          await acks.dispose(held.delivery, released);
        } catch (error) {
          log("warning", `Task ${nameOf(run.message)} could not be handed back: ${String(error)}`);
        }
      }),
    ]);
  }

  return {
    begin,
    stop,
    async abort() {
      hurry.abort();
      await stop();
    },
  };
}
