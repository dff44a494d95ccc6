/** `app.workflow`: what the journal tells of a workflow, and the rows of what has not run yet. */
import type { Engine } from "../engine.ts";
import { ImproperlyConfigured } from "../errors.ts";
import type { JournalEntry } from "../journal/entry.ts";
import { rootOf } from "../journal/query.ts";
import { isAbout, type Workflow, workflowOf } from "../journal/workflow.ts";
import { decodeGroupMeta, decodeRow, type ResultTuple } from "../protocol/meta.ts";
import { groupKey, taskKey } from "../results/backend.ts";
import { idsOf, leafId } from "./join-rows.ts";

/** So many tasks are looked for at most. */
const MOST_TASKS = 10_000;
/** Each has some entries, of its retries. */
const MOST_ENTRIES = 10 * MOST_TASKS;
/** Rows that are in memory at a time: with its result one has up to 400 KB. */
const BATCH = 200;
/** The clock that an id was made by may have been so far ahead, in milliseconds. */
const SKEW_MS = 300_000;

/** The workflow that a task belongs to, or a group with what comes after it. Throws `ImproperlyConfigured`, and `OperationalError` where it cannot be read. */
export async function readWorkflow(engine: Engine, id: string, signal?: AbortSignal): Promise<Workflow> {
  if (typeof id !== "string" || id === "")
    throw new ImproperlyConfigured(
      "id",
      "must be the id of a task of the workflow, or of a group: a text that is not empty",
    );
  const own = await search(engine, timeOf(id), (entry) => isAbout(id, entry), signal);
  // All of it is told under the task that it began with.
  const roots = new Set(own.map((entry) => rootOf(entry) ?? id).filter((root) => root !== id));
  if (roots.size === 0) return readRows(engine, id, own, signal);
  const from = Math.min(timeOf(id), ...[...roots].map(timeOf));
  return readRows(
    engine,
    id,
    await search(engine, from, (entry) => roots.has(rootOf(entry) ?? "") || isAbout(id, entry), signal),
    signal,
  );
}

async function search(
  engine: Engine,
  from: number,
  matches: (entry: JournalEntry) => boolean,
  signal: AbortSignal | undefined,
): Promise<JournalEntry[]> {
  const journal = await engine.journal();
  const found: JournalEntry[] = [];
  const range = { failures: false, from: from - SKEW_MS, to: Number.POSITIVE_INFINITY };
  for await (const page of journal.read(range)) {
    signal?.throwIfAborted();
    found.push(...page.filter(matches));
    // They are read newest first: the beginning is missing.
    if (found.length > MOST_ENTRIES) break;
  }
  return found;
}

/** When an id was made, where it says so: nothing of its workflow is older. */
function timeOf(id: string): number {
  const [, high = "", low = ""] = /^([0-9a-f]{8})-([0-9a-f]{4})-7/.exec(id) ?? [];
  return high === "" ? 0 : Number.parseInt(high + low, 16);
}

/** The rows of all that is known, and of what these tell of. */
async function readRows(
  engine: Engine,
  id: string,
  entries: readonly JournalEntry[],
  signal: AbortSignal | undefined,
): Promise<Workflow> {
  const backend = await engine.backend();
  const states = new Map<string, string>();
  const children = new Map<string, readonly string[]>();
  const members = new Map<string, readonly string[]>();
  /** A large header has rows of a hundred members each: whose they are. */
  const leaves = new Map<string, string>();
  const tasks = new Set([id]);
  const groups = new Set([id]);
  for (const { id: of, group, chord, chain, kind } of entries) {
    if (of !== undefined && kind !== "control") tasks.add(of);
    if (chord !== undefined) tasks.add(chord);
    if (chain !== undefined) tasks.add(chain);
    if (group !== undefined) groups.add(group);
  }
  let truncated = tasks.size > MOST_TASKS || entries.length > MOST_ENTRIES;
  const [nextTasks, nextGroups] = [[...tasks].slice(0, MOST_TASKS), [...groups].slice(0, MOST_TASKS)];
  const look = (of: string) => {
    if (tasks.has(of)) return;
    truncated ||= tasks.size >= MOST_TASKS;
    if (truncated) return;
    tasks.add(of);
    nextTasks.push(of);
  };
  while (nextTasks.length > 0 || nextGroups.length > 0) {
    signal?.throwIfAborted();
    const [newTasks, newGroups] = [nextTasks.splice(0, BATCH), nextGroups.splice(0, BATCH)];
    const rows = await backend.read([...newTasks.map(taskKey), ...newGroups.map(groupKey)]);
    for (const [index, of] of newTasks.entries()) {
      const row = rows[index];
      if (row === undefined || row.hidden === true || row.result.length === 0) continue;
      // What cannot be read has a state that is not known.
      const meta = await orNothing(async () => decodeRow(row.result, engine.codec));
      if (meta === undefined) continue;
      states.set(of, meta.status);
      const sent = idsOf(tuplesOf(meta.children));
      if (sent.length > 0) children.set(of, sent);
      for (const child of sent) look(child);
    }
    for (const [index, of] of newGroups.entries()) {
      const row = rows[newTasks.length + index];
      if (row === undefined || row.result.length === 0) continue;
      const [, header] = (await orNothing(async () => decodeGroupMeta(row.result, engine.codec))) ?? [];
      const group = leaves.get(of) ?? of;
      for (const [at, [[leaf], inner]] of (header ?? []).entries()) {
        if (inner?.length !== 0 || leaf !== leafId(group, at)) continue;
        leaves.set(leaf, group);
        nextGroups.push(leaf);
      }
      const all = idsOf(header ?? []);
      members.set(group, [...(members.get(group) ?? []), ...all]);
      for (const member of all) look(member);
    }
  }
  return workflowOf(id, entries, { states, children, members }, truncated);
}

/** What is stored in a form that cannot be read has nothing to tell. */
async function orNothing<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch {
    return undefined;
  }
}

/** What a Celery of its own may have written as children is not to end the search. */
const tuplesOf = (children: unknown): readonly ResultTuple[] =>
  Array.isArray(children)
    ? children.filter(
        (child: unknown): child is ResultTuple =>
          Array.isArray(child) && Array.isArray(child[0]) && typeof child[0][0] === "string",
      )
    : [];
