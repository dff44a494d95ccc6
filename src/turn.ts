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
    if (waiting.length === 0) queueMicrotask(() => queueMicrotask(flush));
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
 */
export function shareTurn<T, R>(
  run: (items: readonly T[]) => Promise<readonly (R | Error)[]>,
): (item: T) => Promise<R> {
  async function answerAll(batch: readonly Waiting<T, R>[]): Promise<void> {
    try {
      const answers = await run(batch.map(({ item }) => item));
      batch.forEach(({ resolve, reject }, index) => {
        const answer = answers[index];
        if (answer instanceof Error) reject(answer);
        else resolve(answer as R);
      });
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }

  const gather = gatherTurn<Waiting<T, R>>((batch) => void answerAll(batch));
  return (item) => new Promise((resolve, reject) => gather({ item, resolve, reject }));
}
