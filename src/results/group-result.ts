/** The results of a group. */
import { EncodeError, LovageError } from "../errors.ts";
import type { Meta, ResultTuple } from "../protocol/meta.ts";
import { FAILURE, isPropagated, isReady, SUCCESS } from "../states.ts";
import type { AsyncResult, GetOptions, RevokeOptions } from "./async-result.ts";
import { checkGetOptions, checkRevokeOptions } from "./get-options.ts";
import type { ResultReader, Way } from "./reader.ts";

type Result = AsyncResult | GroupResult;

/** Members of a group, as many as there are: made when they are asked for. */
export interface Members {
  /** How many members it has. */
  readonly length: number;
  at(index: number): Result;
}

/** A step that fails ends all that follow it: looking at the nearest before is a help against a race, no more. */
const ANCESTORS = 3;

/** Of so many ways to queues a timeout speaks at most. */
const MOST_WAYS = 10;

/** What is asked of the store for one member may be asked for so many at a time. */
const AT_A_TIME = 1000;

/**
 * What a group's `delay` gives, and `app.groupResult(id)`: its members' results, in order. What is asked of all of them is
 * asked in one request. It has no `then`: awaiting it does not wait for the tasks.
 */
export class GroupResult<T extends readonly unknown[] = readonly unknown[]> {
  /** The group's id. */
  readonly id: string;
  /** The result of the step before the group, in a chain that was started here. */
  readonly parent: Result | null;
  readonly #reader: ResultReader | undefined;
  readonly #members: Members;

  constructor(reader: ResultReader | undefined, id: string, members: Members, parent: Result | null = null) {
    this.#reader = reader;
    this.id = id;
    this.#members = members;
    this.parent = parent;
  }

  /** Of a group that has no member. */
  static empty(): GroupResult<[]> {
    return new GroupResult<[]>(undefined, crypto.randomUUID(), { length: 0, at: () => unknownApp() });
  }

  /** How many members it has. */
  get length(): number {
    return this.#members.length;
  }

  /** The members' results; one of a group within it is a `GroupResult`. A new list each time. */
  get results(): readonly Result[] {
    return Array.from({ length: this.length }, (_, index) => this.#members.at(index));
  }

  /** Celery's name for {@link results}. */
  get children(): readonly Result[] {
    return this.results;
  }

  /** Ids of all tasks in it, those of groups within it too. */
  get ids(): readonly string[] {
    return Array.from(this.tasks(), ({ id }) => id);
  }

  /** @internal The results of all tasks in it. */
  *tasks(): Generator<AsyncResult, void> {
    for (let index = 0; index < this.length; index++) {
      const result = this.#members.at(index);
      if (result instanceof GroupResult) yield* result.tasks();
      else yield result;
    }
  }

  async #states(): Promise<readonly string[]> {
    if (this.length === 0) return [];
    return (await this.#open().metas(this.ids)).map(({ status }) => status);
  }

  #open(): ResultReader {
    return this.#reader ?? unknownApp();
  }

  /** How many have succeeded. */
  async completedCount(): Promise<number> {
    return (await this.#states()).filter((state) => state === SUCCESS).length;
  }

  /** Whether all have their outcome. */
  async ready(): Promise<boolean> {
    return (await this.#states()).every(isReady);
  }

  /** Whether all have succeeded. */
  async successful(): Promise<boolean> {
    return (await this.#states()).every((state) => state === SUCCESS);
  }

  /** Whether any has failed. */
  async failed(): Promise<boolean> {
    return (await this.#states()).some((state) => state === FAILURE);
  }

  /** Whether any has no outcome yet. */
  async waiting(): Promise<boolean> {
    return !(await this.ready());
  }

  /**
   * Waits for all and returns their values in order.
   * @throws what the first task threw that is seen to have failed, at once; `TimeoutError` when `timeout` passes.
   */
  async get(given: GetOptions = {}): Promise<T> {
    const options = checkGetOptions(given);
    if (this.length === 0) {
      // Of none, and yet what comes before it may have failed.
      await this.parent?.get(options);
      return [] as unknown as T;
    }
    const reader = this.#open();
    const metas = await waitForAll(reader, [...this.tasks()], options, this.parent);
    await this.#getEmpty(options);
    let next = 0;
    const valuesOf = (group: GroupResult): unknown[] =>
      group.results.map((result) =>
        result instanceof GroupResult ? valuesOf(result) : reader.value(metas[next++] as Meta),
      );
    // The members are those that the group was made of, and so are the types of their results.
    return valuesOf(this as GroupResult) as unknown as T;
  }

  /** Groups of none within it have no outcome of their own, but what comes before them has. */
  async #getEmpty(options: GetOptions): Promise<void> {
    for (const result of this.results) {
      if (!(result instanceof GroupResult)) continue;
      if (result.length === 0) await result.get(options);
      else await result.#getEmpty(options);
    }
  }

  /** Celery's name for {@link get}. */
  join(options: GetOptions = {}): Promise<T> {
    return this.get(options);
  }

  /**
   * Stores which tasks are in it, so that `app.groupResult(id)` and Python's `GroupResult.restore(id)` find it. A group that
   * was sent without members knows no app, and there is nothing to store of it.
   */
  async save(): Promise<this> {
    if (this.#reader === undefined) return this;
    await this.#open().saveGroup(this.toTuple());
    return this;
  }

  /** Removes for all readers the results of its tasks, the group itself, if it was saved, and the results of the steps before it. */
  async forget(): Promise<void> {
    await this.parent?.forget();
    const reader = this.#reader;
    if (reader === undefined) return;
    await inBatches(this.ids, (id) => reader.forget(id));
    await reader.forgetGroup(this.id);
  }

  /** Keeps its tasks from starting; see `AsyncResult.revoke`. */
  async revoke(options: RevokeOptions = {}): Promise<void> {
    const { terminate = false } = checkRevokeOptions(options);
    await inBatches(this.ids, (id) => this.#open().revoke(id, terminate));
  }

  /** Celery's way of writing it. */
  toTuple(): ResultTuple {
    return [
      [this.id, null],
      this.results.map(
        (result): ResultTuple => (result instanceof GroupResult ? result.toTuple() : [[result.id, null], null]),
      ),
    ];
  }

  /** The id, as Celery's `str(result)`. */
  toString(): string {
    return this.id;
  }

  /** A result is not data: pass its id. */
  toJSON(): never {
    throw new EncodeError(
      "",
      `is the result of group ${this.id}, which cannot be sent itself; save() it and send its id`,
    );
  }
}

/**
 * Waits for tasks, all in one loop. Throws what a task threw as soon as it is seen, and what one of those before them in
 * a chain threw: then they will not run.
 */
export async function waitForAll(
  reader: ResultReader,
  results: readonly AsyncResult[],
  options: GetOptions,
  parent: Result | null,
): Promise<readonly Meta[]> {
  const over = new AbortController();
  const signal = options.signal === undefined ? over.signal : AbortSignal.any([options.signal, over.signal]);
  const propagate = options.propagate !== false;
  // All who time out together are told the same: what is before a group is looked at once.
  let before: readonly Way[] | undefined;
  const waysOf = (result: AsyncResult, after: Result | null): readonly Way[] => {
    if (result.parent !== null || after === null) return [result.way(), ...waysTo(result.parent)];
    before ??= waysTo(after);
    return [result.way(), ...before];
  };
  const wait = async (result: AsyncResult, throws: boolean, after: Result | null): Promise<Meta> => {
    const meta = await reader.wait(result.id, { ...options, signal }, () => waysOf(result, after));
    if (throws && isPropagated(meta.status)) throw reader.value(meta);
    return meta;
  };
  try {
    const all = Promise.all(results.map((result) => wait(result, propagate, parent)));
    if (parent === null || !propagate) return await all;
    const never = new Promise<never>(() => {});
    const ancestors = ancestorsOf(parent).map((result) => wait(result, true, null).then(() => never));
    return await Promise.race([all, ...ancestors]);
  } finally {
    over.abort();
  }
}

function ancestorsOf(parent: Result): AsyncResult[] {
  const found: AsyncResult[] = [];
  for (let result: Result | null = parent; result !== null && found.length < ANCESTORS; result = result.parent) {
    // A chord's body says itself that a member of its header failed.
    if (!(result instanceof GroupResult)) found.push(result);
  }
  return found;
}

/** How what has to end before goes to its queues, the nearest first: each way once, and not more than can be read. */
function waysTo(parent: Result | null): readonly Way[] {
  const ways = new Map<string, Way>();
  for (let result = parent; result !== null; result = result.parent) {
    for (const task of result instanceof GroupResult ? result.tasks() : [result]) {
      const way = task.way();
      ways.set(`${way.task}\n${way.queue}`, way);
      if (ways.size === MOST_WAYS) return [...ways.values()];
    }
  }
  return [...ways.values()];
}

async function inBatches(ids: readonly string[], act: (id: string) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < ids.length; at += AT_A_TIME) await Promise.all(ids.slice(at, at + AT_A_TIME).map(act));
}

function unknownApp(): never {
  throw new LovageError("a group without members belongs to no app: it has nothing to read, to save or to forget");
}
