/** Watches files by the folders that they are in: editors replace a file as often as they write it, and one that is missing may come. */
import { type FSWatcher, statSync, watch } from "node:fs";
import { dirname } from "node:path";

/** After the first sign of a change, in milliseconds: a save is several events. */
const SETTLE_MS = 25;
/** An empty file is one that is being written, for so long. */
const EMPTY_MS = 150;
/** The clock by which files are dated ticks no less often, in milliseconds: a file may have been written so much later than it says. */
const TICK_MS = 10;
/** Where the system has no more watches to give, files are looked at this often, in milliseconds. */
const LOOK_MS = 400;

export interface FileWatch {
  /**
   * Watches these files too. `since`, in milliseconds since the epoch: one that was written after it, or just before, counts as changed.
   */
  add(files: Iterable<string>, since: number): void;
  close(): void;
}

/** `changed` is told of the files that were written, made or deleted since they were added, or since it was last told. */
export function watchFiles(changed: (files: readonly string[]) => void): FileWatch {
  const stamps = new Map<string, string>();
  const folders = new Map<string, { readonly id: string; readonly watcher: FSWatcher }>();
  let settling: NodeJS.Timeout | undefined;
  let looking: NodeJS.Timeout | undefined;

  function look(isSettled = false): void {
    settling = undefined;
    // What came into a folder before it was watched is seen the next time.
    if (watchFolders(stamps.keys())) lookSoon();
    const found = [...stamps].flatMap(([file, before]) => {
      const now = stampOf(file);
      return now.text === before ? [] : [{ file, ...now }];
    });
    if (found.length === 0) return;
    if (!isSettled && found.some(({ size }) => size === 0)) {
      settling ??= setTimeout(look, EMPTY_MS, true);
      return;
    }
    for (const { file, text } of found) stamps.set(file, text);
    changed(found.map(({ file }) => file));
  }
  const lookSoon = () => {
    settling ??= setTimeout(look, SETTLE_MS);
  };

  /** Watches the folders of these files, of one that is missing the nearest that there is. Says whether one of them was not watched. */
  function watchFolders(files: Iterable<string>): boolean {
    let isNew = false;
    for (const folder of new Set([...files].map(dirname))) isNew = watchFolder(folder) || isNew;
    return isNew;
  }

  function watchFolder(wanted: string): boolean {
    let folder = wanted;
    while (idOf(folder) === undefined && dirname(folder) !== folder) folder = dirname(folder);
    const id = idOf(folder);
    const known = folders.get(folder);
    // Who watches a folder that was deleted, or moved away, learns nothing of the one that has its name now.
    if (id === undefined || id === known?.id) return false;
    known?.watcher.close();
    folders.delete(folder);
    try {
      const watcher = watch(folder, lookSoon);
      folders.set(folder, { id, watcher });
      // The folder is gone, or its system gives no more.
      watcher.on("error", () => {
        watcher.close();
        if (folders.get(folder)?.watcher === watcher) folders.delete(folder);
        looking ??= setInterval(look, LOOK_MS);
      });
      return true;
    } catch {
      looking ??= setInterval(look, LOOK_MS);
      return false;
    }
  }

  return {
    add(files, since) {
      const added = [...files].filter((file) => !stamps.has(file));
      let isLate = false;
      for (const file of added) {
        const { text, written } = stampOf(file);
        const isWrittenSince = written > since - TICK_MS;
        isLate ||= isWrittenSince;
        stamps.set(file, isWrittenSince ? "late" : text);
      }
      watchFolders(added);
      if (isLate) lookSoon();
    },
    close() {
      clearTimeout(settling);
      clearInterval(looking);
      for (const { watcher } of folders.values()) watcher.close();
    },
  };
}

function stampOf(file: string): { readonly text: string; readonly size: number; readonly written: number } {
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined) return { text: "missing", size: -1, written: 0 };
  return { text: `${found.mtimeMs} ${found.size} ${found.ino}`, size: found.size, written: found.mtimeMs };
}

/** Tells a folder from another one of its name; `undefined`: there is none. */
function idOf(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isDirectory() === true ? `${found.dev} ${found.ino} ${found.birthtimeMs}` : undefined;
}
