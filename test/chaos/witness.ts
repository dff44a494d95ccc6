/** What is known of the runs of the chaos test: who began them, who was killed when, and what the rows and the workers said. */
import { readFileSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";

/** One run of an attempt of a task. */
export interface Run {
  readonly id: string;
  /** Which attempt: the retries before it. */
  readonly retries: number;
  /** When it began, in milliseconds since the epoch. */
  readonly at: number;
  /**
   * The process that runs it, then those that started that, up to the one that the worker's main process started: one that
   * runs a single task dies with the one that gave it the task.
   */
  readonly processes: readonly number[];
}

/** Leaves what {@link readRuns} reads. */
export const runLine = (run: Run): string => `${JSON.stringify(run)}\n`;

/** The runs in the order in which they began, by attempt. */
export function readRuns(file: string): ReadonlyMap<string, readonly Run[]> {
  const runs = readFileSync(file, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Run);
  const byAttempt = new Map<string, Run[]>();
  for (const run of runs.toSorted((a, b) => a.at - b.at)) {
    const attempt = `${run.id} ${run.retries}`;
    byAttempt.set(attempt, [...(byAttempt.get(attempt) ?? []), run]);
  }
  return byAttempt;
}

/** When each process was killed, in milliseconds since the epoch. */
export type Kills = ReadonlyMap<number, number>;

/** Whether a run ended by a kill, which came before the next one of its attempt began. */
const wasKilled = (run: Run, next: Run, kills: Kills): boolean =>
  run.processes.some((pid) => (kills.get(pid) ?? Number.POSITIVE_INFINITY) <= next.at);

/** Whether each run of an attempt but the last was ended by a kill. */
export const isExplained = (runs: readonly Run[], kills: Kills): boolean =>
  runs.every((run, at) => {
    const next = runs[at + 1];
    return next === undefined || wasKilled(run, next, kills);
  });

/** Has the rows keep their history: each claim, each lease and who had it before. */
export function recordRows(database: DatabaseSync): void {
  const now = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";
  const columns = "id, attempt, owner, lease, runs, accounted, settled, done";
  const values = columns.replaceAll(/\w+/g, "NEW.$&");
  database.exec(`
    CREATE TABLE history (n INTEGER PRIMARY KEY, at INTEGER, ${columns}, owner_before, lease_before);
    CREATE TRIGGER history_first AFTER INSERT ON results BEGIN
      INSERT INTO history (at, ${columns}) VALUES (${now}, ${values});
    END;
    CREATE TRIGGER history_next AFTER UPDATE ON results BEGIN
      INSERT INTO history (at, ${columns}, owner_before, lease_before) VALUES (${now}, ${values}, OLD.owner, OLD.lease);
    END`);
}

/** So long before and after an attempt's runs what the workers said belongs to it, in milliseconds. */
const AROUND_MS = 2_000;

/** All that is known of an attempt: its runs, the history of its row, and what the workers said meanwhile. */
export function evidence(
  runs: readonly Run[],
  kills: Kills,
  database: DatabaseSync,
  logs: readonly string[],
): readonly string[] {
  const [first] = runs;
  const last = runs.at(-1);
  if (first === undefined || last === undefined) return [];
  const time = (at: unknown) => (typeof at === "number" ? new Date(at).toISOString().slice(11, -1) : "-");
  const about = database.prepare("SELECT * FROM history WHERE id LIKE ? ORDER BY n").all(`%${first.id}`);
  return [
    `${first.id}, attempt ${first.retries + 1}:`,
    ...runs.map(
      ({ at, processes }) =>
        `  ${time(at)} began in ${processes.map((pid) => `${pid} (killed ${time(kills.get(pid))})`).join(", started by ")}`,
    ),
    ...about.map(({ at, n: _, id: __, lease, lease_before: before, ...row }) => {
      const leases = `lease until ${time(lease)}, before ${time(before)}`;
      return `  ${time(at)} row: ${leases}, ${JSON.stringify(row)}`;
    }),
    ...logs.flatMap((file) =>
      readFileSync(file, "utf8")
        .split("\n")
        .filter((line) => {
          // What is no line of the log is what a process wrote as it died.
          const said = /^\{"timestamp":"([^"]+)"/.exec(line)?.[1];
          if (said === undefined) return line !== "";
          const at = Date.parse(said);
          return at > first.at - AROUND_MS && at < last.at + AROUND_MS;
        })
        .filter((line) => line.includes(first.id) || !line.includes("raised unexpected"))
        .map((line) => `  ${file.slice(file.lastIndexOf("/") + 1)}: ${line}`),
    ),
  ];
}
