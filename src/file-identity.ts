import { realpathSync, statSync } from "node:fs";
import { fileOf } from "./file-url.ts";

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

/**
 * Watches the files of `sqlite://` URLs, with what stands beside them. What is returned says, once, which of them is another than it was:
 * what is written to one that was removed, nobody else sees.
 */
export function watchRemoved(urls: readonly string[]): () => string | undefined {
  const files = new Map<string, string | undefined>();
  for (const url of urls) {
    const path = fileOf(url);
    for (const one of path === undefined ? [] : [path, ...logAndIndexOf(path)]) files.set(one, undefined);
  }
  return () => {
    for (const [path, before] of files) {
      const now = identityOf(path);
      if (before === undefined) files.set(path, now);
      else if (now !== before) {
        files.clear();
        return path;
      }
    }
    return undefined;
  };
}
