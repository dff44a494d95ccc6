/**
 * How a long-lived worker fetches: from each of its queues by one request at a time that waits for messages, and by more beside it
 * where a queue has more than one request brings. What fails for a passing reason is tried again.
 */
import type { Broker, Delivery } from "../brokers/broker.ts";
import type { Clock } from "../clock.ts";
import { OperationalError } from "../errors.ts";
import type { Unit } from "../unit.ts";
import type { Log } from "./log.ts";

/** A queue that has more than one request brings is asked by so many more at the same time, where there is room for what they bring. */
const MOST_MORE = 10;

/** After a fetch that failed, the next comes after this, doubled each time up to a minute. */
const RETRY_MS = 500;
const RETRY_MAX_MS = 60_000;

/**
 * Where broker and backend are in memory, and tasks wait for nothing, all goes on in one turn of the event loop. After so many
 * milliseconds it turns all the same: timers, sockets and signals are not to wait until the queue is empty.
 */
const TURN_MS = 10;

export interface Fetches {
  /** Fetches until the worker stops. Rejects where a queue cannot be read, and trying again would not help. */
  start(): Promise<unknown>;
  /** There may be room again, or a queue from which to fetch. */
  wake(): void;
  /** To be asked when the worker stops. Resolves when nothing more comes. */
  ended(): Promise<void>;
  /** Queues whose last fetch failed, and why. */
  readonly failing: ReadonlyMap<string, string>;
}

export interface FetchesOptions {
  readonly broker: Broker;
  readonly queues: readonly string[];
  /** How long a request waits for messages, in milliseconds. */
  readonly wait: number;
  /** For how long nobody else is given what is fetched, in milliseconds. */
  readonly visibility: number;
  /** So many messages may be in hand. */
  readonly prefetch: number;
  /** Nothing is fetched while so many are. */
  readonly enough: number;
  /** Broker and result backend are one store: messages are taken in a unit. */
  readonly isOneStore: boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** The worker stops. */
  readonly stopping: AbortSignal;
  /** How many messages take up room. */
  readonly inHand: () => number;
  /** Whether anything of a queue is to be begun now. */
  readonly isWanted: (queue: string) => boolean;
  /** Is given what was fetched; where it is taken in a unit before that is over. */
  readonly take: (deliveries: readonly Delivery[], unit?: Unit) => void;
  /** Is told how many messages of a queue were fetched, where there were any. */
  readonly received: ((queue: string, count: number) => void) | undefined;
}

/** Makes those of one worker. */
export function createFetches(options: FetchesOptions): Fetches {
  const { broker, queues, wait, visibility, prefetch, enough, isOneStore, clock, log, stopping } = options;
  const { inHand, isWanted, take, received } = options;
  const failing = new Map<string, string>();
  /** What those of {@link fetchMore} may still bring. */
  let expected = 0;
  /** Fetches beside those that wait for messages. */
  const more = new Set<Promise<void>>();
  /** Those that wait for room. */
  let blocked: (() => void)[] = [];
  let fetching: Promise<unknown> = Promise.resolve();

  /** Since when the event loop has not turned, as far as anybody has looked. */
  let unturned: number | undefined;

  function isToTurn(): boolean {
    const now = performance.now();
    if (unturned === undefined) {
      unturned = now;
      setImmediate(() => {
        unturned = undefined;
      });
    }
    return now - unturned > TURN_MS;
  }

  const mayFetch = (queue: string) => isWanted(queue) && inHand() + expected < enough;
  const room = () => Math.max(1, Math.floor((prefetch - inHand() - expected) / queues.length));

  function wake(): void {
    const ready = blocked;
    blocked = [];
    for (const resolve of ready) resolve();
  }

  /** Takes from a queue once, and says whether there may be more than one request brings. */
  async function fetchOnce(queue: string, max: number, wait: number): Promise<boolean> {
    let isTold = false;
    const taken = (deliveries: readonly Delivery[], unit: Unit) => {
      isTold = true;
      take(deliveries, unit);
    };
    const asked = { max, wait, visibility, signal: stopping };
    const deliveries = await broker.receive(queue, isOneStore ? { ...asked, taken } : asked);
    if (deliveries.length > 0) received?.(queue, deliveries.length);
    if (!isTold) take(deliveries);
    return deliveries.length === broker.limits.maxReceive;
  }

  /** Takes, beside {@link fetch}, what one request at a time would not bring fast enough: until the queue is empty or there is no room. */
  async function fetchMore(queue: string): Promise<void> {
    const { maxReceive = 1 } = broker.limits;
    for (let hasMore = true; hasMore && mayFetch(queue) && !stopping.aborted; ) {
      // Those that wait for messages may bring as many at any time.
      const max = Math.min(maxReceive, room() - maxReceive);
      if (max < 1) break;
      expected += max;
      // Where it fails, the one that goes on fetching meets that too, and says so.
      hasMore = await fetchOnce(queue, max, 0).catch(() => false);
      expected -= max;
    }
    wake();
  }

  /** Fetches from one queue until the worker stops. */
  async function fetch(queue: string): Promise<void> {
    let failures = 0;
    while (!stopping.aborted) {
      // Many at a time, not one for each that ends: a fetch is a request, or a transaction.
      if (!mayFetch(queue)) {
        await new Promise<void>((resolve) => blocked.push(resolve));
        continue;
      }
      if (isToTurn()) {
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      try {
        const hasMore = await fetchOnce(queue, room(), wait);
        failures = 0;
        failing.delete(queue);
        while (hasMore && more.size < MOST_MORE && mayFetch(queue)) {
          const fetching = fetchMore(queue).finally(() => more.delete(fetching));
          more.add(fetching);
        }
      } catch (error) {
        const delay = Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** failures++);
        failing.set(queue, String(error));
        log("error", `Queue ${queue} could not be read: ${String(error)}; next try in ${delay / 1000} s`, { queue });
        if (!(error instanceof OperationalError)) throw error;
        await clock.sleep(delay, stopping);
      }
    }
  }

  return {
    failing,
    wake,
    start() {
      fetching = Promise.all(queues.map(fetch));
      return fetching;
    },
    async ended() {
      wake();
      // A queue that cannot be read was told of by then.
      await fetching.catch(() => {});
      await Promise.all(more);
    },
  };
}
