/** What a test says of speed where other processes keep the machine busy. */

/**
 * How long something computes, in milliseconds of this process: what other processes take has a share in the time that passes,
 * and none in this.
 */
export async function computing(work: () => unknown): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** The least that a round says of itself, of as many as it takes to be below the limit, or of twenty. */
export async function quickest(limit: number, round: () => Promise<number>): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let rounds = 0; rounds < 20 && least >= limit; rounds++) least = Math.min(least, await round());
  return least;
}
