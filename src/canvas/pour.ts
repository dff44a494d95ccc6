/** Hands on what comes one by one, in batches: a bounded number is under way, so that neither end outruns the other. */

/** Items of a batch: ten requests of SQS's, one transaction of SQLite's. */
const BATCH = 100;
/** Batches that may be under way at a time. */
const UNDER_WAY = 4;

/**
 * Gives `run` all items in batches, and takes no more from the source than are being worked on. What has come of an async
 * source goes out when nothing more comes in this turn of the event loop. Stops at the first error, of the source or of
 * `run`, and throws it when all that was taken has been through `run`.
 */
export async function pour<T>(
  items: Iterable<T> | AsyncIterable<T>,
  run: (batch: readonly T[]) => Promise<void>,
): Promise<void> {
  const isAsync = Symbol.asyncIterator in items;
  const under = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  let batch: T[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    if (batch.length === 0) return;
    const full = batch;
    batch = [];
    const running: Promise<void> = run(full)
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => under.delete(running));
    under.add(running);
  }

  try {
    for await (const item of items) {
      batch.push(item);
      if (batch.length === BATCH) flush();
      else if (isAsync) timer ??= setTimeout(flush);
      while (under.size >= UNDER_WAY && failure === undefined) await Promise.race(under);
      if (failure !== undefined) break;
    }
  } finally {
    flush();
    await Promise.all(under);
  }
  if (failure !== undefined) throw failure.error;
}
