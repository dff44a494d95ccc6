/**
 * What a long-lived worker has fetched and not begun, and when it begins: as much at a time as there is room for, the messages of
 * a FIFO group one after the other, and what workers have died of when nothing else runs.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Delivery } from "../brokers/broker.ts";
import type { Engine } from "../engine.ts";
import type { Unit } from "../unit.ts";
import type { Acknowledgements } from "./acknowledge.ts";
import { DELETE, type Disposition, HAND_BACK } from "./disposition.ts";
import type { Hand, InHand } from "./in-hand.ts";
import type { Worker } from "./worker.ts";

/** Whose message it is that something is done for: of tasks, of the handlers of signals, and of what was laid around a run. */
const workedFor = new AsyncLocalStorage<Engine>();

/** Whether this is called by what a worker of this engine runs. */
export const isWorkedFor = (engine: Engine): boolean => workedFor.getStore() === engine;

export interface RunQueue {
  /** What is not begun, but for those that wait until they can be alone. */
  readonly waiting: readonly InHand[];
  /** Queues of which nothing is begun. */
  readonly paused: ReadonlySet<string>;
  /** Messages that take no room: of batches that are gathered, so many. */
  readonly gathered: number;
  /** Whether anything of a queue is to be begun now. */
  isWanted(queue: string): boolean;
  /** Takes what was fetched; where it is taken in a unit before that is over. */
  take(deliveries: readonly Delivery[], unit?: Unit): void;
  /** The call of a batch takes no place from what runs, until what this returns is called. */
  gather(): () => void;
  /** What it leaves is being made durable: others are taken in its place, in the same transaction. */
  giveRoom(held: InHand, unit: Unit | undefined): void;
  /** Nothing of these queues is begun, and of all others is. What waits of them goes back. */
  pause(queues: ReadonlySet<string>): void;
  /** Hands back what is not begun, for anybody to take at once. */
  handBack(): Promise<void>;
  /** Resolves when all that was begun has ended; what comes meanwhile is handed back. */
  drained(): Promise<void>;
}

export interface RunQueueOptions {
  readonly engine: Engine;
  readonly worker: Pick<Worker, "hurry">;
  readonly hand: Hand;
  readonly acks: Acknowledgements;
  /** Tasks at a time. */
  readonly concurrency: number;
  /** So many calls that are gathered take no room. */
  readonly mostGathered: number;
  /** What is settling and what begins may overlap. */
  readonly mayOverlap: boolean;
  /** The worker stops: nothing more is begun. */
  readonly stopping: AbortSignal;
  /**
   * Does what is to be done with a message, and says what may then happen to it; `"alone"`: it is to run when nothing else does.
   *
   * @param isAlone Nothing else runs.
   */
  readonly run: (held: InHand, isAlone: boolean) => Promise<Disposition | "alone">;
  /** There may be room again. */
  readonly wake: () => void;
  /** Nothing runs any more. */
  readonly emptied: () => void;
}

/** Makes that of one worker. */
export function createRunQueue(options: RunQueueOptions): RunQueue {
  const { engine, worker, hand, acks, concurrency, mostGathered, mayOverlap, stopping, run, wake, emptied } = options;
  const waiting: InHand[] = [];
  /** Each runs when nothing else does. */
  const suspects: InHand[] = [];
  /** A suspect runs. */
  let alone = false;
  let paused: ReadonlySet<string> = new Set();
  /** FIFO groups of which a message is being worked on, or was handed back since its queue was last empty here. */
  const groups = new Set<string>();
  let active = 0;
  /** How many of them are settling. */
  let settling = 0;
  /** How many calls are gathered. */
  let calls = 0;
  /** Is called when nothing runs any more. */
  let idle: (() => void) | undefined;

  const gathered = () => Math.min(calls, mostGathered);
  const isWanted = (queue: string) => suspects.length === 0 && !alone && !paused.has(queue);

  function take(received: readonly Delivery[], unit?: Unit): void {
    const deliveries = received.filter((delivery) => !hand.renew(delivery));
    const [first] = deliveries;
    if (first !== undefined && !isWanted(first.queue)) {
      // It came while a suspect waits, or runs, and others need not wait for that; or its queue was paused meanwhile.
      const giveBack = () => {
        for (const delivery of deliveries) void acks.dispose(delivery, HAND_BACK);
      };
      if (unit === undefined) giveBack();
      else unit.committed.then(giveBack, () => {});
      return;
    }
    const taken = deliveries.map((delivery) => hand.take(delivery, unit));
    waiting.push(...taken);
    if (unit !== undefined) {
      void unit.committed
        .catch(() => {
          // What has begun learns it by itself.
          for (const held of waiting.filter((one) => one.unit === unit)) {
            waiting.splice(waiting.indexOf(held), 1);
            hand.forget(held);
          }
        })
        .then(() => {
          for (const held of taken) held.unit = undefined;
        });
    }
    pump();
  }

  /** Begins as much as there is room for. */
  function pump(): void {
    // Nothing new beside a suspect: it waits until it is alone, and stays so.
    if (alone || stopping.aborted) return;
    if (suspects.length > 0) {
      if (active === 0) void runSuspect();
      return;
    }
    for (let index = 0; active - settling - gathered() < concurrency && index < waiting.length; ) {
      const held = waiting[index] as InHand;
      const { group } = held;
      if (group !== undefined && groups.has(group)) {
        index++;
        continue;
      }
      waiting.splice(index, 1);
      if (group !== undefined) groups.add(group);
      void workedFor.run(engine, work, held);
    }
  }

  async function work(held: InHand): Promise<void> {
    active++;
    const { delivery } = held;
    const disposition = await run(held, alone);
    if (held.isSettling) settling--;
    held.isSettling = false;
    if (disposition === "alone") {
      suspects.push(held);
      await handBackFrom(waiting);
    } else {
      // It has come again meanwhile, and its outcome deleted nothing: by the receipt that it had then.
      const isRenewed = held.delivery !== delivery && disposition.type === "delete";
      await finish(held, isRenewed ? DELETE : disposition);
    }
    active--;
    settleDown();
  }

  async function runSuspect(): Promise<void> {
    const held = suspects.shift();
    if (held === undefined) return;
    alone = true;
    worker.hurry(true);
    await workedFor.run(engine, work, held);
    alone = false;
    worker.hurry(stopping.aborted);
    settleDown();
  }

  async function finish(held: InHand, disposition: Disposition): Promise<void> {
    const { delivery, group } = held;
    if (group === undefined && disposition.type === "delete" && disposition.done) return hand.forget(held);
    while (group === undefined && acks.isCrowded()) await acks.oneLess();
    hand.forget(held);
    if (group === undefined) {
      // The outcome is durable: the next task need not wait until the message is gone.
      acks.disposeBeside(delivery, disposition);
      return;
    }
    await acks.dispose(delivery, disposition);
    groups.delete(group);
    // The order of the group is kept: what was fetched behind a message that is handed back goes back too.
    if (disposition.type !== "delete") await handBackFrom(waiting, (held) => held.group === group);
  }

  function settleDown(): void {
    pump();
    wake();
    if (active > 0) return;
    idle?.();
    emptied();
  }

  async function handBack(): Promise<void> {
    await Promise.all([handBackFrom(waiting), handBackFrom(suspects)]);
  }

  async function handBackFrom(list: InHand[], chosen: (held: InHand) => boolean = () => true): Promise<void> {
    const back = list.filter(chosen);
    list.splice(0, list.length, ...list.filter((held) => !back.includes(held)));
    await Promise.all(
      back.map((held) => {
        hand.forget(held);
        return acks.dispose(held.delivery, HAND_BACK);
      }),
    );
  }

  return {
    waiting,
    get paused() {
      return paused;
    },
    get gathered() {
      return gathered();
    },
    isWanted,
    take,
    gather() {
      let isCall = true;
      calls++;
      pump();
      wake();
      return () => {
        if (isCall) calls--;
        isCall = false;
      };
    },
    giveRoom(held, unit) {
      if (!mayOverlap || alone || stopping.aborted || held.group !== undefined) return;
      held.isSettling = true;
      settling++;
      hand.forget(held);
      wake();
      unit?.committed.catch(() => {
        // It is still there, and its outcome is stored when the store can be written.
        held.isSettling = false;
        settling--;
        hand.hold(held);
      });
    },
    pause(queues) {
      const isResumed = [...paused].some((queue) => !queues.has(queue));
      paused = queues;
      void handBackFrom(waiting, ({ delivery }) => paused.has(delivery.queue));
      if (isResumed) wake();
    },
    handBack,
    async drained() {
      await handBack();
      while (active > 0) {
        await new Promise<void>((resolve) => {
          idle = resolve;
        });
        await handBack();
      }
    },
  };
}
