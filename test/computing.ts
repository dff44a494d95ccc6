/**
 * How long something computes, in milliseconds of this process: what other processes of a busy machine take has a share in the
 * time that passes, and none in this.
 */
export async function computing(work: () => unknown): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
