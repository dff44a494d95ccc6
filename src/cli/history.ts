/** `lovage tasks`, `failures`, `workflow` and `events`: what has happened, in the words of `app.journal` and `app.workflow`. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Command, Option } from "commander";
import type { Lovage } from "../app.ts";
import { harmlessLine } from "../brief.ts";
import { ImproperlyConfigured, LovageError } from "../errors.ts";
import type { JournalEntry } from "../journal/entry.ts";
import type { JournalQuery } from "../journal/query.ts";
import type { WorkflowTask } from "../journal/workflow.ts";
import { FAILURE, RETRY, REVOKED, SUCCESS } from "../states.ts";
import { EXIT_HELP } from "./exit.ts";
import { loadSharedApp } from "./load.ts";
import {
  type AppOptions,
  appOption,
  type FilterOptions,
  fromOption,
  given,
  jsonOption,
  limitOption,
  listOption,
  queueOption,
  taskOption,
  textOption,
  toOption,
  watched,
  watchOption,
} from "./options.ts";
import { complain, print, printJson, printTable, repeatedly, timeIn, toJson, when } from "./output.ts";

export function historyCommands(program: Command): void {
  tasksCommand(program);
  failuresCommand(program);
  workflowCommand(program);
  eventsCommand(program);
}

function filters(command: Command, shape: string, most?: number): Command {
  return command
    .addOption(appOption())
    .addOption(taskOption())
    .addOption(queueOption())
    .addOption(listOption("--worker <names>", "workers"))
    .addOption(listOption("--root <ids>", "ids of the first tasks of workflows"))
    .addOption(textOption())
    .addOption(fromOption())
    .addOption(toOption())
    .addOption(limitOption(most))
    .addOption(jsonOption(shape));
}

const queryOf = ({ state, task, queue, worker, root, text, from, to, limit }: FilterOptions): JournalQuery =>
  given({
    state: state?.map((one) => one.toUpperCase()),
    task,
    queue,
    worker,
    root,
    text,
    from,
    to,
    limit,
  }) as JournalQuery;

const span = (seconds: number | undefined): string => (seconds === undefined ? "" : `${seconds.toFixed(2)} s`);

const errorOf = ({ error }: Pick<JournalEntry, "error">): string =>
  error === undefined ? "" : `${error.type}: ${error.message}`;

const waitOf = (app: Lovage, { kind, limit, until }: JournalEntry): string =>
  kind === "waiting" && until !== undefined ? `waits for its ${limit} until ${timeIn(app, until)}` : "";

const lineOf = (app: Lovage, entry: JournalEntry): readonly string[] => [
  when(app, entry.time),
  entry.state ?? entry.action ?? entry.kind,
  entry.task ?? entry.entry ?? "",
  entry.id ?? "",
  entry.queue ?? "",
  span(entry.runtime),
  span(entry.waited),
  errorOf(entry) || waitOf(app, entry) || (entry.by === undefined ? "" : `by ${entry.by}`),
];

function tasksCommand(program: Command): void {
  filters(
    program
      .command("tasks")
      .description("list attempts that ended, and tasks that run or wait for a limit, the newest first"),
    "a list of JournalEntry",
    50,
  )
    .addOption(listOption("--state <states>", "SUCCESS, FAILURE, RETRY, REVOKED …"))
    .addOption(
      new Option("--sort <by>", "the longest runtime, or the longest wait, first").choices(["runtime", "waited"]),
    )
    .option("-f, --follow", "go on with new entries until Ctrl-C; with --json one object a line", false)
    .addHelpText(
      "after",
      `${EXIT_HELP}

Examples:
  $ lovage tasks -A ./tasks.ts --state FAILURE --from 2h --task 'media.*'
  $ lovage tasks -A ./tasks.ts --follow --json`,
    )
    .action(async (options: TasksOptions, command: Command) => {
      await using app = await loadSharedApp(options.app);
      const query: JournalQuery = { ...queryOf(options), kind: ["task", "deadLetter", "unsent", "running", "waiting"] };
      if (options.follow && options.sort !== undefined)
        throw new ImproperlyConfigured(
          "--sort",
          "needs the whole list, and with --follow the list does not end: give one of the two",
        );
      if (options.follow) {
        // As long as a list is by itself: what is followed has no end of its own.
        const { limit: _, ...endless } = query;
        const isGiven = command.getOptionValueSource("limit") !== "default";
        return await follow(app, isGiven ? query : endless, options.json ?? false);
      }
      const entries = options.sort === undefined ? await all(app, query) : await longest(app, query, options.sort);
      if (options.json) return print(toJson(entries, 2));
      if (entries.length === 0) return print(`Nothing that matches is in the journal.${hintOf(query)}`);
      printTable([
        ["when", "state", "task", "id", "queue", "runtime", "waited", "error"],
        ...entries.map((entry) => lineOf(app, entry)),
      ]);
    });
}

/** How attempts end. A task may store a state of its own, so that another one is none that is wrong. */
const STATES: readonly string[] = [SUCCESS, FAILURE, RETRY, REVOKED, "IGNORED", "REPLACED"];

function hintOf({ state = [] }: JournalQuery): string {
  const unusual = [state].flat().filter((one) => !STATES.includes(one));
  if (unusual.length === 0) return "";
  return ` No attempt ends as ${unusual.join(", ")}, unless a task stores such a state itself: the states are ${STATES.join(", ")}.`;
}

interface TasksOptions extends AppOptions, FilterOptions {
  readonly follow: boolean;
  readonly sort?: "runtime" | "waited";
}

async function all(app: Lovage, query: JournalQuery): Promise<readonly JournalEntry[]> {
  const entries: JournalEntry[] = [];
  for await (const entry of app.journal.find(query)) entries.push(entry);
  return entries;
}

/** So many with the largest numbers, of all that matches: no more are kept meanwhile than twice as many. */
async function longest(
  app: Lovage,
  { limit = 50, ...query }: JournalQuery,
  by: "runtime" | "waited",
): Promise<readonly JournalEntry[]> {
  let most: JournalEntry[] = [];
  const cut = () => {
    most = most.sort((a, b) => (b[by] ?? 0) - (a[by] ?? 0)).slice(0, limit);
  };
  for await (const entry of app.journal.find(query)) {
    if (most.push(entry) >= 2 * limit) cut();
  }
  cut();
  return most;
}

/** Entries may come late: each look goes back so far, in milliseconds. */
const OVERLAP_MS = 10_000;

/** Ends by itself after `limit` entries, and when all from before `to` must be there. */
async function follow(app: Lovage, given: JournalQuery, json: boolean): Promise<void> {
  const { limit = Number.POSITIVE_INFINITY, from, ...query } = given;
  const end = query.to === undefined ? Number.POSITIVE_INFINITY : Number(query.to) + OVERLAP_MS;
  let left = limit;
  let last = from === undefined ? Date.now() : Number(from);
  let seen = new Set<string>();
  for (;;) {
    const fresh: JournalEntry[] = [];
    const now = new Set<string>();
    for await (const entry of app.journal.find({ ...query, from: last })) {
      const key = JSON.stringify(entry);
      now.add(key);
      if (!seen.has(key)) fresh.push(entry);
    }
    seen = now;
    for (const entry of fresh.reverse()) {
      if (left-- <= 0) return;
      print(
        json
          ? toJson(entry)
          : lineOf(app, entry)
              .map((cell) => harmlessLine(cell))
              .filter(Boolean)
              .join("  "),
      );
    }
    if (left <= 0 || Date.now() >= end) return;
    last = Math.max(last, Date.now() - OVERLAP_MS);
    await sleep(1000);
  }
}

function eventsCommand(program: Command): void {
  filters(program.command("events").description("print everything that happens, until Ctrl-C"), "a JournalEntry a line")
    .addOption(listOption("--state <states>", "SUCCESS, FAILURE, RETRY, REVOKED …"))
    .addHelpText("after", EXIT_HELP)
    .action(async (options: AppOptions & FilterOptions) => {
      await using app = await loadSharedApp(options.app);
      await follow(app, queryOf(options), options.json ?? false);
    });
}

function failuresCommand(program: Command): void {
  filters(
    program.command("failures").description("list failures by task and error, the most frequent first"),
    "a list of FailureGroup",
    50,
  )
    .addOption(watchOption())
    .addHelpText(
      "after",
      `${EXIT_HELP}

Examples:
  $ lovage failures -A ./tasks.ts --from 1h`,
    )
    .action(async (options: AppOptions & FilterOptions) => {
      await using app = await loadSharedApp(options.app);
      await repeatedly(options, async () => {
        const groups = await app.journal.failures(queryOf(options));
        if (options.json) return printJson(groups, options);
        if (groups.length === 0) return print("No failures.");
        printTable([
          ["task", "count", "first", "last", "example", "error"],
          ...groups.map(({ task = "", error, count, first, last, example }) => [
            task,
            count,
            when(app, first),
            when(app, last),
            example.id ?? "",
            errorOf(error === undefined ? {} : { error }),
          ]),
        ]);
      });
    });
}

function workflowCommand(program: Command): void {
  const command = program
    .command("workflow")
    .description("show all tasks of a workflow, or of a group, as a tree with states and times")
    .argument("<id>", "id of any of its tasks, such as the one that a chain returns, or of a group");
  watched(command, "a Workflow").action(async (id: string, options: AppOptions) => {
    await using app = await loadSharedApp(options.app);
    await repeatedly(options, async () => {
      const { tasks, ...rest } = await app.workflow(id);
      if (options.json) printJson({ ...rest, tasks }, options);
      if (tasks.length === 0) throw new LovageError(`nothing is known of ${id}`);
      if (options.json) return;
      for (const line of treeOf(tasks)) print(harmlessLine(line));
      if (rest.truncated) complain("lovage: there are more tasks than are shown here");
    });
  });
}

/** Who comes after several stands once, below the last of them. */
function treeOf(tasks: readonly WorkflowTask[]): readonly string[] {
  const depths = new Map<string, number>();
  const below = new Map<string | undefined, WorkflowTask[]>();
  for (const task of tasks) {
    const parent = task.after.filter((id) => depths.has(id)).at(-1);
    depths.set(task.id, parent === undefined ? 0 : (depths.get(parent) ?? 0) + 1);
    below.set(parent, [...(below.get(parent) ?? []), task]);
  }
  const lines: string[] = [];
  const stack = [...(below.get(undefined) ?? [])].reverse();
  for (let task = stack.pop(); task !== undefined; task = stack.pop()) {
    const facts = [
      task.state,
      task.task ?? "?",
      task.id,
      span(task.runtime),
      errorOf(task.error ? { error: task.error } : {}),
    ];
    lines.push(`${"  ".repeat(depths.get(task.id) ?? 0)}${facts.filter(Boolean).join("  ")}`);
    stack.push(...[...(below.get(task.id) ?? [])].reverse());
  }
  return lines;
}
