/**
 * The port of limits: rows that say who may run now, and one operation on them. What becomes of a row is decided by pure
 * functions (`rate.ts`, `places.ts`, `unique.ts`); a store applies such a decision as one atomic step.
 */

export interface LimitRow {
  /** What the decision keeps, as JSON. */
  readonly state: string;
  /** From when on it says nothing any more, in milliseconds since the epoch: the store may delete it then. */
  readonly expires: number;
}

export interface Decided<T> {
  /** What is written in the row's place; `null`: it is removed. Absent: it stays as it is. */
  readonly write?: LimitRow | null;
  readonly answer: T;
}

/** Says what becomes of a row, `undefined` where there is none. It is pure: a store may ask it several times. */
export type Decide<T> = (state: string | undefined) => Decided<T>;

export interface LimitStore {
  /**
   * Applies a decision to the row of a key, as one atomic step among all who share the store, and gives its answer.
   * Throws the `OperationalError` that kept it from that; then it may have been applied, or not.
   */
  decide<T>(key: string, decision: Decide<T>): Promise<T>;
  close(): Promise<void>;
}

export interface LimitStoreContext {
  readonly now: () => number;
  readonly random: () => number;
  /** The setting `resultBackendTransportOptions`. */
  readonly options: Readonly<Record<string, unknown>>;
}

export type OpenLimitStore = (url: string, context: LimitStoreContext) => LimitStore | Promise<LimitStore>;

/** The key of a row of limits. */
export const limitKey = (name: string): string => `lovage-limit-${name}`;

/** The store under a text that is put before every key: apps that share a table or a file keep their rows apart. */
export const withPrefix = (store: LimitStore, prefix: string): LimitStore => ({
  decide: (key, decision) => store.decide(prefix + limitKey(key), decision),
  close: () => store.close(),
});
