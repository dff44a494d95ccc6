import { statSync } from "node:fs";

/** What was committed to a SQLite file, and is not in it yet. SQLite removes it with the last connection. */
export const logOf = (path: string): string => `${path}-wal`;

/** Which file is at a path, whatever its name; `undefined`: none. */
export function identityOf(path: string): string | undefined {
  const { dev, ino } = statSync(path, { throwIfNoEntry: false }) ?? {};
  return ino === undefined ? undefined : `${dev}:${ino}`;
}
