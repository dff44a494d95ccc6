/** Word of commits: who waits for a change of the file is woken by one of this process, or of another. */
import { type FSWatcher, rmSync, statSync, utimesSync, watch, writeFileSync } from "node:fs";
import { setImmediate, setInterval, setTimeout } from "node:timers";
import type { Wait } from "../wait.ts";

/** What is waited for: a commit of this process wakes nobody else. Another's that is told of may be about anything. */
export type Subject = "messages" | "rows" | "entries";

/**
 * What a commit is about. `starts`: rows say that their tasks have started, which is told {@link START_MS} later or with the next
 * news: most tasks have ended by then, and none is to wait until that has been told.
 */
export type About = Subject | "starts";

/** See {@link About}. */
const START_MS = 10;
/** Where the file system reports no changes, or a process died between its commit and its word of it, they are noticed this late. */
const POLL_MS = 500;

export interface News {
  /** Tells of what was committed here. */
  committed(subjects: ReadonlySet<About>): void;
  /** {@link Database.changed} */
  changed(about: Subject): Wait;
  /** Ends all waits. */
  close(): void;
  /** The last who had the file open has closed it. Who has come meanwhile makes them anew. */
  removeBells(): void;
}

interface Waiting {
  readonly about: Subject;
  readonly end: () => void;
}

/** @param version Is another after each commit of another process. */
export function createNews(path: string, isOpen: () => boolean, version: () => unknown): News {
  const waiting = new Set<Waiting>();
  let poll: NodeJS.Timeout | undefined;
  let soon: NodeJS.Immediate | undefined;
  /** What this process has committed since its own were last told. */
  const news = new Set<Subject>();
  /**
   * What is touched after a commit, so that who watches it is woken: a worker by messages alone, who waits for results by rows alone,
   * and neither by itself. These are files of their own, and none of SQLite's: what watches a file may open it, as Deno does at each
   * change and macOS for as long as it is watched, and whoever closes a file of SQLite's takes this process's locks on it away. Who
   * listens makes them, and who is the last to close the database removes them.
   */
  const bells: Readonly<Record<Subject, string>> = {
    messages: `${path}-messages`,
    rows: `${path}-rows`,
    entries: `${path}-rows`,
  };
  const watchers = new Map<string, FSWatcher>();
  /** Rung here, and heard by nobody here yet: what is heard next may be that alone. */
  const rung = new Set<string>();
  /** All who wait have been woken for what is up to here. */
  let seen = version();

  /** Wakes who waits where anybody else has committed anything that they were not woken for. */
  function check(): void {
    if (waiting.size === 0) return;
    let now: unknown;
    try {
      now = version();
    } catch {
      // Who waits reads next, and meets the error where it can be told.
      now = undefined;
    }
    if (now === seen && now !== undefined) return;
    seen = now;
    wake(() => true);
  }

  function wake(isMeant: (about: Subject) => boolean): void {
    for (const { about, end } of [...waiting]) if (isMeant(about)) end();
  }

  /** In a turn of its own: who has read within the transaction that brought the news waits by then. */
  function tellOwn(): void {
    soon = undefined;
    wake((about) => news.has(about));
    news.clear();
  }

  /** To look first whether there is anything new would cost as much as what is woken to look for it. */
  function hear(bell: string): void {
    if (rung.delete(bell)) check();
    else wake((about) => bells[about] === bell);
  }

  function listen(bell: string): void {
    try {
      writeFileSync(bell, "", { flag: "a", mode: statSync(path).mode });
      const watcher = watch(bell, { persistent: false }, (event) => {
        if (event === "rename") {
          // Somebody has removed it: who waits looks, and makes it anew.
          watcher.close();
          watchers.delete(bell);
          rung.delete(bell);
        }
        hear(bell);
      });
      watchers.set(bell, watcher);
      watcher.on("error", () => watcher.close());
      // What was committed before it was listened for.
      setImmediate(check);
    } catch {
      // No more watches to be had, or a file system without them: the poll below is what remains.
    }
  }

  function changed(about: Subject): Wait {
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const one: Waiting = {
      about,
      end() {
        // It is kept for the next wait, which mostly comes at once, and ends by itself where none does.
        if (waiting.delete(one) && waiting.size === 0) poll?.unref();
        resolve();
      },
    };
    if (!isOpen()) resolve();
    else {
      waiting.add(one);
      if (!watchers.has(bells[about])) listen(bells[about]);
      poll = poll?.ref() ?? setInterval(look, POLL_MS);
    }
    return { over, end: one.end };
  }

  function look(): void {
    check();
    if (waiting.size > 0) return;
    clearInterval(poll);
    poll = undefined;
  }

  /** Will tell of starts that nobody was told of yet. */
  let late: NodeJS.Timeout | undefined;

  function tell(subjects: Iterable<About>): void {
    const told = new Set<Subject>(late === undefined ? [] : ["rows"]);
    for (const subject of subjects) told.add(subject === "starts" ? "rows" : subject);
    clearTimeout(late);
    late = undefined;
    for (const subject of told) {
      ring(bells[subject]);
      news.add(subject);
    }
    soon ??= setImmediate(tellOwn);
  }

  function ring(bell: string): void {
    const now = Date.now() / 1000;
    if (watchers.has(bell)) rung.add(bell);
    try {
      utimesSync(bell, now, now);
    } catch {
      // Nobody listens; or somebody may not be told, and looks again somewhat later.
    }
  }

  return {
    changed,
    committed(subjects) {
      if (subjects.size === 1 && subjects.has("starts")) late ??= setTimeout(tell, START_MS, subjects).unref();
      else tell(subjects);
    },
    close() {
      clearImmediate(soon);
      clearTimeout(late);
      for (const { end } of [...waiting]) end();
      clearInterval(poll);
      for (const watcher of watchers.values()) watcher.close();
    },
    removeBells() {
      for (const bell of new Set(Object.values(bells))) rmSync(bell, { force: true });
    },
  };
}
