/**
 * Steps on one store that become durable together. A broker and a result backend that are the same store offer it beside
 * their ports, by the same `store`: what is asked of both within a unit is one transaction.
 *
 * A unit does not change what steps mean. They are done in the order in which they are asked for, each must be safe to be
 * the last one, and a caller that has no unit does them one by one. So a store need not keep a transaction open for a step that
 * waits for something else: the unit ends there, and what comes later is durable by itself.
 */
export interface Unit {
  /**
   * Resolves when all is durable that was done within it. Rejects with an `OperationalError` where nothing of it was done,
   * whatever the single steps were answered: those answers come before.
   */
  readonly committed: Promise<void>;
}

/** Who can do steps together. */
export interface Store {
  /** Begins a unit, or joins the one that this turn of the event loop has begun. What is not done in this very turn is not part of it. */
  begin(): Unit | Promise<Unit>;
  /**
   * Does what a commit has left to be done, and would have to do some time while somebody waits for it. It may wait for the disk, so it
   * is for a thread that nobody waits for, now and then. Absent: nothing is left.
   */
  readonly checkpoint?: (() => void) | undefined;
}

const inMemory = new Map<string, Store>();

/** A store inside the process: what is done in one turn, nobody sees half of, and nothing of it can fail to be kept. */
export function memoryStore(name: string): Store {
  let store = inMemory.get(name);
  if (store === undefined) {
    const unit: Unit = { committed: Promise.resolve() };
    store = { begin: () => unit };
    inMemory.set(name, store);
  }
  return store;
}

interface Gathered<T, R> {
  readonly unit: Unit | undefined;
  readonly items: T[];
  answers: Promise<readonly R[]>;
}

/**
 * Makes one job of all that is asked for, within a unit or within none, until that job begins. `run` is given the list while
 * it still grows, and says when it does so no more; its answers are those of the list, in order.
 */
export function shareJob<T, R>(
  run: (items: readonly T[], unit: Unit | undefined, begun: () => void) => Promise<readonly R[]>,
): (items: readonly T[], unit: Unit | undefined) => Promise<readonly R[]> {
  // A list, as they come and go with each transaction (see `runs` in workers/in-hand.ts). It is short.
  const gathered: Gathered<T, R>[] = [];
  const begin = (job: Gathered<T, R>) => {
    const at = gathered.indexOf(job);
    if (at >= 0) gathered.splice(at, 1);
  };
  return (items, unit) => {
    // A job of nothing never begins, and all that is asked for later would wait in it.
    if (items.length === 0) return Promise.resolve([]);
    let job = gathered.find((one) => one.unit === unit);
    const from = job?.items.length ?? 0;
    if (job === undefined) {
      const all = [...items];
      const own: Gathered<T, R> = { unit, items: all, answers: Promise.resolve([]) };
      job = own;
      // Before it runs: it may begin at once, and then takes nothing more.
      gathered.push(own);
      own.answers = run(all, unit, () => begin(own));
    } else for (const item of items) job.items.push(item);
    return job.answers.then((answers) =>
      items.length === answers.length ? answers : answers.slice(from, from + items.length),
    );
  };
}
