import { realpathSync, statSync } from "node:fs";

/**
 * What SQLite has beside an open file, and removes with the last connection: the log of what was committed and is not in the file yet,
 * and the log's index, with the locks of those who write. They stand beside the file itself, not beside a link to it.
 */
export function logAndIndexOf(path: string): readonly [log: string, index: string] {
  const file = realOf(path);
  return [`${file}-wal`, `${file}-shm`];
}

/** The path of the file that a link leads to. */
export function realOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    // It is not there yet.
    return path;
  }
}

/** Which file is at a path, whatever its name; `undefined`: none. */
export function identityOf(path: string): string | undefined {
  const { dev, ino } = statSync(path, { throwIfNoEntry: false }) ?? {};
  return ino === undefined ? undefined : `${dev}:${ino}`;
}
