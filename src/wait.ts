/** Waiting for news of a store: begun before a look, so that nothing is missed, and ended by whoever began it. */

/** A wait that has begun. It may keep its process alive: who needs the news no longer ends it. */
export interface Wait {
  /** Resolves when there may be news, or the wait was ended. Never rejects. */
  readonly over: Promise<void>;
  /** Ends it, if that has not come. May be called by itself, and more than once. */
  readonly end: () => void;
}

/** Those who wait for the same. */
export interface WaitList {
  begin(): Wait;
  endAll(): void;
}

export function waitList(): WaitList {
  const ends = new Set<() => void>();
  return {
    begin() {
      const { promise: over, resolve } = Promise.withResolvers<void>();
      const end = () => {
        ends.delete(end);
        resolve();
      };
      ends.add(end);
      return { over, end };
    },
    endAll() {
      for (const end of [...ends]) end();
    },
  };
}

/** Resolves when the wait is over, which a signal ends too. Never rejects. */
export async function overOrAborted({ over, end }: Wait, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted) end();
  signal?.addEventListener("abort", end, { once: true });
  await over;
  signal?.removeEventListener("abort", end);
}
