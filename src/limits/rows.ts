/** Which row a limit has, and what is said of a rate at run time. */
import { hashOf } from "../hash.ts";
import { parseRate, type Rate } from "./rate.ts";
import type { LimitStore } from "./store.ts";

export type LimitKind = "rate" | "places" | "unique";

/** A hash of this many characters tells keys apart: 128 bits. */
const HASH_LENGTH = 32;

/** Hashes are made on several threads, and given in the order in which they were asked for: who calls first is first. */
let last: Promise<unknown> = Promise.resolve();

/** A key's hash: a key may be of any length, and say what is nobody's business. */
function inOrder(key: string): Promise<string> {
  const made = hashOf(key);
  const hash = last.then(async () => (await made).slice(0, HASH_LENGTH));
  last = hash.catch(() => {});
  return hash;
}

/** The row of a task's limit; with a key, of that key's. */
export const limitRow = async (kind: LimitKind, task: string, key: string | undefined): Promise<string> =>
  key === undefined ? `${kind}-${task}` : `${kind}-${task}-${await inOrder(key)}`;

/** What was said of a task's rate at run time. */
export interface RateOrder {
  /** `null`: what the declaration says holds again. */
  readonly rate: number | string | null;
  readonly by: string;
  /** In milliseconds since the epoch. */
  readonly at: number;
}

const orderRow = (task: string): string => `order-${task}`;

/** For so long an order is kept, in milliseconds: about as long as for ever. */
const ORDER_MS = 10 * 365 * 86_400_000;

export async function writeRateOrder(store: LimitStore, task: string, order: RateOrder): Promise<void> {
  await store.decide(orderRow(task), () => ({
    write: { state: JSON.stringify(order), expires: order.at + ORDER_MS },
    answer: undefined,
  }));
}

export const readRateOrder = (store: LimitStore, task: string): Promise<RateOrder | undefined> =>
  store.decide(orderRow(task), (state) => ({
    answer: state === undefined ? undefined : (JSON.parse(state) as RateOrder),
  }));

/** The rate in force: an order's limit, with the burst that was declared. */
export const rateInForce = (declared: Rate, order: RateOrder | undefined): Rate =>
  order === undefined || order.rate === null ? declared : parseRate(order.rate, "rateLimit", declared.burst);
