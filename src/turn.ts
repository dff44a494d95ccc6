/**
 * Makes one request of what is asked for in the same turn of the event loop: every caller gives an item and gets the
 * answer to it, and `run` sees the items of a turn together. An answer that is an error is thrown to its own caller. A
 * lone call waits for nothing but two hops of the microtask queue.
 */
export function shareTurn<T, R>(
  run: (items: readonly T[]) => Promise<readonly (R | Error)[]>,
): (item: T) => Promise<R> {
  let waiting: {
    readonly item: T;
    readonly resolve: (answer: R) => void;
    readonly reject: (error: unknown) => void;
  }[] = [];

  async function flush(): Promise<void> {
    const batch = waiting;
    waiting = [];
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

  return (item) =>
    new Promise((resolve, reject) => {
      // Calls of one turn come in one after the other from microtasks of their own: by the second hop all are here.
      if (waiting.length === 0) queueMicrotask(() => queueMicrotask(() => void flush()));
      waiting.push({ item, resolve, reject });
    });
}
