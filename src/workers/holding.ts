/** What a worker has in hand, as it and its heartbeat speak of it. */
import type { Broker, Delivery } from "../brokers/broker.ts";
import type { Config } from "../config/config.ts";
import type { Backend } from "../results/backend.ts";
import type { Final } from "../results/record.ts";
import type { BoardMemory } from "./board.ts";

/** What is kept: a delivery, and the claim on its task where one was made. */
export interface Holding {
  readonly id: number;
  /** With {@link NO_RECEIPT}: its message is another's. */
  readonly delivery: Pick<Delivery, "queue" | "receipt" | "messageId">;
  readonly claim: { readonly key: string; readonly owner: string } | undefined;
  /** When the run must have ended, by {@link monotonic}; `Infinity` without a time limit. */
  readonly deadline: number;
  /** Stores that it had not ended by then, for a run that blocks the event loop and cannot be told. */
  readonly overrun?: Omit<Final, "now" | "ttl"> | undefined;
}

/** No message has this one. */
export const NO_RECEIPT = "";

/** The messages that are to be kept, or given back, with what is in hand. */
export const messagesOf = (holdings: readonly Holding[]): Delivery[] =>
  holdings.flatMap(({ delivery }) => (delivery.receipt === NO_RECEIPT ? [] : (delivery as Delivery)));

/** What a beat found out about a holding. */
export interface Finding {
  readonly id: number;
  /** `overrun`: it blocks the process beyond its time, and its outcome was stored. */
  readonly finding: "terminate" | "lost" | "overrun";
}

/** Milliseconds that pass whatever the clock is set to, the same in all threads of the process. */
export const monotonic = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;

/** One beat: everything in hand is kept for another `visibility` milliseconds. */
export async function beatOnce(
  broker: Broker,
  backend: Backend,
  holdings: readonly Holding[],
  now: number,
  visibility: number,
): Promise<readonly Finding[]> {
  if (holdings.length === 0) return [];
  const claimed = holdings.filter((holding) => holding.claim !== undefined);
  const [, outcomes] = await Promise.all([
    broker.changeVisibility(messagesOf(holdings).map((delivery) => ({ delivery, visibility }))),
    backend.apply(
      claimed.map(({ claim }) => ({
        type: "extend",
        key: claim?.key ?? "",
        owner: claim?.owner ?? "",
        now,
        lease: now + visibility,
      })),
    ),
  ]);
  return claimed.flatMap(({ id }, index): Finding[] => {
    const outcome = outcomes[index];
    // An extension that failed for a passing reason is made up for by the next: the lease is three beats long.
    if (outcome === undefined || outcome instanceof Error) return [];
    // What it has settled or handed back itself is its own still.
    if (outcome.type === "refused")
      return outcome.row?.owner === claimed[index]?.claim?.owner ? [] : [{ id, finding: "lost" }];
    return outcome.type === "written" && outcome.revoked === "terminate" ? [{ id, finding: "terminate" }] : [];
  });
}

/** Where {@link beatMemory} has how many beats are under way, and how many orders of the worker the heartbeat has had. */
const BEATS = 0;
const ORDERS = 1;

/**
 * Memory that a heartbeat and its worker share. A message that was dropped may still be in a beat, and would be hidden by it after
 * the worker has handed it back; and what was dropped by an order is in each beat until the heartbeat has had that.
 */
export const beatMemory = (): Int32Array => new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));

/** Says that one more order was had. */
export const hadOrder = (beats: Int32Array): void => void Atomics.add(beats, ORDERS, 1);

/** Nothing is under way, and no order was had: the heartbeat has ended. */
export function clearBeats(beats: Int32Array): void {
  Atomics.store(beats, BEATS, 0);
  Atomics.store(beats, ORDERS, 0);
}

/** Does something as a beat, which is under way from now on until it is done. */
export async function asBeat<T>(beats: Int32Array, beat: () => Promise<T>): Promise<T> {
  Atomics.add(beats, BEATS, 1);
  try {
    return await beat();
  } finally {
    Atomics.sub(beats, BEATS, 1);
  }
}

/** A beat is looked after so often until it is over, in milliseconds … */
const BEAT_LOOK_MS = 5;
/** … and for so long at most: a store that does not answer must not keep what is handed back, too. */
const BEAT_MOST_MS = 1_000;

/** Resolves when no beat has a message any more that was dropped before. `orders`: so many have been given. */
export async function betweenBeats(beats: Int32Array, orders = 0): Promise<void> {
  const isIn = () => Atomics.load(beats, BEATS) > 0 || Atomics.load(beats, ORDERS) < orders;
  for (let waited = 0; isIn() && waited < BEAT_MOST_MS; waited += BEAT_LOOK_MS)
    await new Promise((resolve) => setTimeout(resolve, BEAT_LOOK_MS));
}

/** A holding as JSON: a list, which is written twice for each task. */
export type HoldingText = string;

type HoldingList = readonly [
  id: number,
  queue: string,
  receipt: string,
  messageId: string,
  claim: Holding["claim"] | null,
  /** JSON has no infinity: `null` is a deadline that never comes. */
  deadline: number | null,
  overrun?: Holding["overrun"],
];

export function writeHolding({
  id,
  delivery: { queue, receipt, messageId },
  claim,
  deadline,
  overrun,
}: Holding): HoldingText {
  const owned = claim === undefined ? null : { key: claim.key, owner: claim.owner };
  const end = deadline === Number.POSITIVE_INFINITY ? null : deadline;
  const list: HoldingList = [id, queue, receipt, messageId, owned, end];
  return JSON.stringify(overrun === undefined ? list : [...list, overrun]);
}

/** Written by {@link writeHolding}, and by nobody else. */
export function readHolding(text: HoldingText): Holding {
  const [id, queue, receipt, messageId, claim, deadline, overrun] = JSON.parse(text) as HoldingList;
  return {
    id,
    delivery: { queue, receipt, messageId },
    claim: claim ?? undefined,
    deadline: deadline ?? Number.POSITIVE_INFINITY,
    overrun,
  };
}

/** How the thread is told of a holding for which the board has no room. */
export type HeartbeatOrder =
  | { readonly hold: HoldingText }
  | { readonly drop: number }
  /** All is to be given back, as the process ends of `culprits`; then `end` is 1, which somebody waits for. */
  | { readonly end: Int32Array; readonly culprits: readonly number[] };

export interface HeartbeatSetup {
  readonly config: Pick<
    Config,
    | "brokerUrl"
    | "resultBackend"
    | "brokerTransportOptions"
    | "resultBackendTransportOptions"
    | "journal"
    | "journalExpires"
  >;
  /** Milliseconds. */
  readonly visibility: number;
  /** Where the holdings are: a message for each would wake the thread for every task, however short. */
  readonly board: BoardMemory;
  /** {@link beatMemory} */
  readonly beats: Int32Array;
  /** Whether the process may be ended where a task blocks it. */
  readonly ownsProcess: boolean;
  /** Whether the process leads a group of its own, which ends with it. */
  readonly leadsGroup: boolean;
}

/** What the thread says. `gone`: nothing can be kept any more, and why. */
export type HeartbeatReport =
  | Finding
  | { readonly error: string }
  /** Committed changes stay in the log of a SQLite file: why. */
  | { readonly logged: string }
  | { readonly gone: string }
  | { readonly ready: true };
