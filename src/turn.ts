/** Node's own, where the package was loaded before a test faked it: Jest's fake timers hold it up, also for those who import it later. */
export const nextTick = globalThis.process?.nextTick;

/**
 * Gathers what is given in the same turn of the event loop, and hands it on together. What comes alone waits for nothing
 * but two hops of the microtask queue.
 */
export function gatherTurn<T>(handOn: (items: readonly T[]) => void): (item: T) => void {
  let waiting: T[] = [];

  function flush(): void {
    const gathered = waiting;
    waiting = [];
    handOn(gathered);
  }

  return (item) => {
    // Calls of one turn come in one after the other from microtasks of their own: by the second hop all are here.
    // By promises, which no fake timers of a test hold up.
    if (waiting.length === 0) void Promise.resolve().then().then(flush);
    waiting.push(item);
  };
}

interface Waiting<T, R> {
  readonly item: T;
  readonly resolve: (answer: R) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Makes one request of what is asked for in the same turn of the event loop: every caller gives an item and gets the
 * answer to it, and `run` sees the items of a turn together. An answer that is an error is thrown to its own caller.
 *
 * @param atMost How many requests are under way at a time: while they are, turns gather and go together. Default: any number.
 */
export function shareTurn<T, R>(
  run: (items: readonly T[]) => Promise<readonly (R | Error)[]>,
  atMost = Number.POSITIVE_INFINITY,
): (item: T) => Promise<R> {
  let underWay = 0;
  let held: Waiting<T, R>[] = [];

  async function answerAll(batch: readonly Waiting<T, R>[]): Promise<void> {
    underWay++;
    try {
      const answers = await run(batch.map(({ item }) => item));
      batch.forEach(({ resolve, reject }, index) => {
        const answer = answers[index];
        if (answer instanceof Error) reject(answer);
        else resolve(answer as R);
      });
    } catch (error) {
      for (const { reject } of batch) reject(error);
    } finally {
      underWay--;
      const next = held;
      held = [];
      if (next.length > 0) void answerAll(next);
    }
  }

  const gather = gatherTurn<Waiting<T, R>>((batch) => {
    if (underWay < atMost) void answerAll(batch);
    else held = held.concat(batch);
  });
  return (item) => new Promise((resolve, reject) => gather({ item, resolve, reject }));
}
