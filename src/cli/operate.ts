/** An operator's commands: words around `app.control`, `app.journal` and `app.workflow`. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Command, Option } from "commander";
import type { Lovage } from "../app.ts";
import { harmlessLine } from "../brief.ts";
import type { RetriedFailures } from "../control/control.ts";
import type { ByWorker, FunctionState, QueueState, WaitingTask } from "../control/inspect.ts";
import type { TaskInHand } from "../control/rows.ts";
import { ImproperlyConfigured, LovageError } from "../errors.ts";
import type { JournalEntry } from "../journal/entry.ts";
import type { JournalQuery } from "../journal/query.ts";
import type { WorkflowTask } from "../journal/workflow.ts";
import { ask, declined } from "./ask.ts";
import { EXIT, EXIT_HELP } from "./exit.ts";
import { loadSharedApp } from "./load.ts";
import {
  appOption,
  byOption,
  fromOption,
  given,
  jsonOption,
  limitOption,
  listOption,
  queueOption,
  taskOption,
  textOption,
  toOption,
  watchOption,
  yesOption,
} from "./options.ts";
import { ago, complain, pausedText, print, printTable, timeIn, toJson, when } from "./output.ts";

interface AppOptions {
  readonly app: string;
  readonly json?: boolean;
  readonly watch?: boolean;
}

interface FilterOptions {
  readonly state?: readonly string[];
  readonly task?: readonly string[];
  readonly queue?: readonly string[];
  readonly worker?: readonly string[];
  readonly root?: readonly string[];
  readonly text?: string;
  readonly from?: number;
  readonly to?: number;
  readonly limit?: number;
}

function filters(command: Command, most?: number): Command {
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
    .addOption(jsonOption());
}

/** What a person would stare at. */
const watched = (command: Command): Command =>
  command.addOption(appOption()).addOption(jsonOption()).addOption(watchOption()).addHelpText("after", EXIT_HELP);

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

// ── how things are shown ─────────────────────────────────────────────────────────────────────────────────────────────

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

/** Does it once, or again and again. */
async function repeatedly({ watch }: AppOptions, look: () => Promise<void>): Promise<void> {
  do {
    if (watch && process.stdout.isTTY) process.stdout.write("\u001b[H\u001b[2J");
    await look();
    if (watch) await sleep(2000);
  } while (watch);
}

/** For people one thing after the other; what comes again and again is a line each time, for a reader of lines. */
const printJson = (value: unknown, { watch }: AppOptions): void => print(toJson(value, watch ? undefined : 2));

// ── the commands ─────────────────────────────────────────────────────────────────────────────────────────────────────

export function operateCommands(program: Command): void {
  statusCommand(program);
  tasksCommand(program);
  failuresCommand(program);
  workflowCommand(program);
  eventsCommand(program);
  controlCommand(program);
  revokeCommand(program);
  retryCommand(program);
  forgetCommand(program);
}

function showQueues(app: Lovage, queues: readonly QueueState[]): void {
  const rows = queues.map((state) => [
    state.queue,
    state.ready,
    state.delayed,
    state.inFlight,
    state.deadLetters,
    state.oldest === undefined ? "" : ago(state.oldest * 1000),
    pausedText(app, state.paused),
  ]);
  printTable([["queue", "ready", "delayed", "in flight", "dead letters", "oldest", ""], ...rows]);
}

const listed = (functions: readonly FunctionState[] | Error) => (functions instanceof Error ? null : functions);

/** Those of Lambda, or why nothing can be said of them. */
function showFunctions(functions: readonly FunctionState[] | Error): void {
  if (functions instanceof Error) return complain(`lovage: nothing is known of functions: ${functions.message}`);
  if (functions.length === 0) return;
  print("");
  printTable([
    ["function", "queue", "state", "concurrency", "last hour: invocations", "errors", "throttles"],
    ...functions.map(({ name, queue, state, maxConcurrency, lastHour }) => [
      name,
      queue,
      state,
      `${lastHour?.concurrency ?? "?"}/${maxConcurrency ?? "any"}`,
      lastHour?.invocations ?? "?",
      lastHour?.errors ?? "?",
      lastHour?.throttles ?? "?",
    ]),
  ]);
}

function statusCommand(program: Command): void {
  watched(program.command("status").description("show workers, queues, and the last hour at a glance")).action(
    async (options: AppOptions) => {
      await using app = await loadSharedApp(options.app);
      await repeatedly(options, async () => {
        const inspect = app.control.inspect();
        const [workers, queues] = [Object.values(await inspect.stats()), await inspect.queues()];
        const functions = await inspect.functions().catch((error: unknown) => error as Error);
        const hour = app.config.journal ? (await app.journal.summary({ step: 3600 }))[0] : undefined;
        if (options.json)
          return printJson({ workers, functions: listed(functions), queues, lastHour: hour ?? null }, options);
        print(
          workers.length === 0
            ? "No long-lived worker says that it is there."
            : `${workers.length} ${workers.length === 1 ? "worker" : "workers"} online.`,
        );
        if (workers.length > 0)
          printTable([
            ["worker", "queues", "running", "waiting", "done", "since"],
            ...workers.map(({ name, queues, running, waiting, done, concurrency, since }) => [
              name,
              queues.join(","),
              `${running}/${concurrency}`,
              waiting,
              done,
              when(app, since),
            ]),
          ]);
        showFunctions(functions);
        print("");
        showQueues(app, queues);
        if (hour !== undefined) {
          const { ended, failed, retried } = hour;
          print(
            `\nLast hour: ${ended} ${ended === 1 ? "attempt" : "attempts"} ended, ${failed} failed, ${retried} retried.`,
          );
        }
      });
    },
  );
}

function tasksCommand(program: Command): void {
  filters(
    program
      .command("tasks")
      .description("list attempts that ended, and tasks that run or wait for a limit, the newest first"),
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
      if (entries.length === 0) return print("Nothing that matches is in the journal.");
      printTable([
        ["when", "state", "task", "id", "queue", "runtime", "waited", "error"],
        ...entries.map((entry) => lineOf(app, entry)),
      ]);
    });
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
  filters(program.command("events").description("print everything that happens, until Ctrl-C"))
    .addOption(listOption("--state <states>", "SUCCESS, FAILURE, RETRY, REVOKED …"))
    .addHelpText("after", EXIT_HELP)
    .action(async (options: AppOptions & FilterOptions) => {
      await using app = await loadSharedApp(options.app);
      await follow(app, queryOf(options), options.json ?? false);
    });
}

function failuresCommand(program: Command): void {
  filters(program.command("failures").description("list failures by task and error, the most frequent first"), 50)
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
  watched(command).action(async (id: string, options: AppOptions) => {
    await using app = await loadSharedApp(options.app);
    await repeatedly(options, async () => {
      const { tasks, ...rest } = await app.workflow(id);
      if (options.json) return printJson({ ...rest, tasks }, options);
      if (tasks.length === 0) throw new LovageError(`nothing is known of ${id}`);
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

/** By worker, what has run for longest first. */
function showInHand(app: Lovage, byWorker: ByWorker<readonly TaskInHand[]>): void {
  const tasks = Object.entries(byWorker).flatMap(([worker, list]) => list.map((task) => ({ worker, ...task })));
  if (tasks.length === 0) return print("Nothing.");
  tasks.sort((a, b) => (a.started ?? Number.POSITIVE_INFINITY) - (b.started ?? Number.POSITIVE_INFINITY));
  printTable([
    ["worker", "task", "id", "queue", "began"],
    ...tasks.map(({ worker, task, id, queue, started }) => [
      worker,
      task,
      id,
      queue,
      started === undefined ? "" : when(app, started),
    ]),
  ]);
}

function showWaiting(app: Lovage, tasks: readonly WaitingTask[]): void {
  if (tasks.length === 0) return print("No task waits for a limit.");
  printTable([
    ["task", "id", "queue", "waits for", "until", "since"],
    ...tasks.map(({ task, id, queue, limit, until, since }) => [
      task,
      id,
      queue,
      limit,
      timeIn(app, until),
      when(app, since),
    ]),
  ]);
}

/** Below `lovage inspect`, beside `registered`. */
export function inspectCommands(inspect: Command): void {
  const words = {
    active: "show running tasks, by worker",
    reserved: "show tasks that long-lived workers have fetched and not begun",
    waiting: "show tasks that wait for a limit: for which limit, and until when",
    scheduled: "show how many messages in each queue wait for their time",
    stats: "show the last report of each long-lived worker",
    ping: "list the long-lived workers that run",
    conf: "show the settings of the app on this machine, without passwords",
    functions: "show the Lambda functions that run the tasks, and their last hour",
    queues: "show how many messages are in each queue, how old they are, and whether it is paused",
  } as const;
  for (const [name, what] of Object.entries(words) as [keyof typeof words, string][]) {
    watched(inspect.command(name).description(what)).action(async (options: AppOptions) => {
      await using app = await loadSharedApp(options.app);
      await repeatedly(options, async () => {
        const found: unknown = await app.control.inspect()[name]();
        if (options.json) return printJson(found, options);
        if (name === "queues") return showQueues(app, found as readonly QueueState[]);
        if (name === "functions") {
          const functions = found as readonly FunctionState[];
          return functions.length === 0 ? print("No function runs the app's tasks.") : showFunctions(functions);
        }
        if (name === "waiting") return showWaiting(app, found as readonly WaitingTask[]);
        if (name === "active" || name === "reserved") return showInHand(app, found as ByWorker<readonly TaskInHand[]>);
        const entries = Object.entries(found as Readonly<Record<string, unknown>>);
        if (entries.length === 0) return print("No long-lived worker says that it is there.");
        for (const [key, value] of entries) print(`${harmlessLine(key)}: ${toJson(value, 2)}`);
      });
    });
  }
}

function controlCommand(program: Command): void {
  const control = program.command("control").description("pause and resume queues, stop workers, change rates");
  rateLimitCommand(control);
  const words = {
    pause: ["<queue>", "begin no more tasks of a queue until it is resumed; running tasks go on"],
    resume: ["<queue>", "begin tasks of a paused queue again"],
    shutdown: ["<worker>", "stop a long-lived worker, as SIGTERM does"],
  } as const;
  for (const [name, [argument, what]] of Object.entries(words) as [keyof typeof words, readonly [string, string]][]) {
    control
      .command(name)
      .description(what)
      .argument(argument)
      .addOption(appOption())
      .addOption(byOption())
      .addHelpText("after", EXIT_HELP)
      .action(async (of: string, options: AppOptions & { readonly by?: string }) => {
        await using app = await loadSharedApp(options.app);
        await app.control[name](of, given({ by: options.by }));
        const done = { pause: "paused", resume: "resumed", shutdown: "told to stop" }[name];
        print(`${harmlessLine(of)} is ${done}.`);
      });
  }
}

/** `10/m`, a number of tasks a second, or `none`. */
function parseRateText(value: string): string | number | null {
  if (value === "none") return null;
  return value.trim() !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
}

function rateLimitCommand(control: Command): void {
  control
    .command("rate-limit")
    .alias("rate_limit")
    .description("change how often a task with a rateLimit may start, in all workers together")
    .argument("<task>", "name of the task")
    .argument("<rate>", "10/s, 10/m, 10/h, a number a second, or none: as declared", parseRateText)
    .addOption(appOption())
    .addOption(byOption())
    .addHelpText("after", EXIT_HELP)
    .action(async (task: string, rate: string | number | null, options: AppOptions & { readonly by?: string }) => {
      await using app = await loadSharedApp(options.app);
      await app.control.rateLimit(task, rate, given({ by: options.by }));
      print(`${harmlessLine(task)} has ${rate === null ? "its declared rate again" : `the rate ${rate}`}.`);
    });
}

/** Who names a task twice means it once, and wants it counted once. */
const once = (ids: readonly string[]): readonly string[] => [...new Set(ids)];

function revokeCommand(program: Command): void {
  program
    .command("revoke")
    .description("keep tasks from starting")
    .argument("<id...>", "ids of tasks")
    .addOption(appOption())
    .option("--terminate", "also abort tasks that run", false)
    .addOption(byOption())
    .addHelpText("after", EXIT_HELP)
    .action(
      async (named: string[], { app: module, terminate, by }: AppOptions & { terminate: boolean; by?: string }) => {
        const ids = once(named);
        await using app = await loadSharedApp(module);
        await app.control.revoke(ids, given({ terminate, by }));
        print(`Revoked ${ids.length} ${ids.length === 1 ? "task" : "tasks"}.`);
      },
    );
}

function forgetCommand(program: Command): void {
  program
    .command("forget")
    .description("hide the results of tasks; the tasks cannot be run again")
    .argument("<id...>", "ids of tasks")
    .addOption(appOption())
    .addOption(byOption())
    .addOption(yesOption())
    .addHelpText("after", EXIT_HELP)
    .action(async (named: string[], { app: module, by, yes }: AppOptions & { by?: string; yes: boolean }) => {
      const ids = once(named);
      await using app = await loadSharedApp(module);
      if (ids.length > 1 && !(await ask(`${ids.length} tasks will be forgotten.`, yes))) return declined();
      await app.control.forget(ids, given({ by }));
      print(`Forgot ${ids.length} ${ids.length === 1 ? "task" : "tasks"}.`);
    });
}

function retryCommand(program: Command): void {
  program
    .command("retry")
    .description("run failed tasks again, under their own ids")
    .argument("[id...]", "ids of tasks")
    .addOption(appOption())
    .option("--failed", "all failures in the journal that match, instead of ids", false)
    .addOption(taskOption())
    .addOption(queueOption())
    .option("--error <text>", "the name of the error's class, or a part of its message")
    .addOption(textOption())
    .addOption(fromOption())
    .addOption(toOption())
    .addOption(limitOption())
    .option("--dry-run", "only count", false)
    .addOption(yesOption())
    .addOption(byOption())
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `${EXIT_HELP} If a task cannot be run again, the reason is printed, and the code is 1.

Examples:
  $ lovage retry -A ./tasks.ts 4cf4ab6d-05b4-4ad3-b6a8-ac1ee8f35101
  $ lovage retry -A ./tasks.ts --failed --task 'media.*' --error Timeout --from 2h --dry-run
  $ lovage retry -A ./tasks.ts --failed --from 2h --yes`,
    )
    .action(async (ids: string[], options: RetryCommandOptions) => {
      const { app: module, failed, task, queue, error, text, from, to, limit, dryRun, yes, by, json } = options;
      if (failed === ids.length > 0)
        throw new ImproperlyConfigured(
          "--failed",
          "or ids must say which tasks are meant: give one of the two, not both",
        );
      await using app = await loadSharedApp(module);
      if (!failed) return await retryEach(app, once(ids), by, json ?? false);
      const filter = given({ task, queue, error, text, from, to, limit });
      const counted = await app.control.retryFailed({ ...filter, dryRun: true } as never);
      if (dryRun || counted.count === 0) return sayRetried(counted, json ?? false, "Would run");
      if (!json) sayRetried(counted, false, "Failed and can be run");
      if (!(await ask(`${counted.count} tasks will run again.`, yes))) return declined();
      const done = await app.control.retryFailed({ ...filter, ...given({ by }) } as never);
      sayRetried(done, json ?? false, "Sent");
    });
}

interface RetryCommandOptions extends AppOptions, FilterOptions {
  readonly failed: boolean;
  readonly error?: string;
  readonly dryRun: boolean;
  readonly yes: boolean;
  readonly by?: string;
}

async function retryEach(app: Lovage, ids: readonly string[], by: string | undefined, json: boolean): Promise<void> {
  const retried: { readonly id: string; readonly sent: boolean; readonly reason?: string }[] = [];
  for (const id of ids) {
    try {
      await app.control.retry(id, given({ by }));
      retried.push({ id, sent: true });
      if (!json) print(`${harmlessLine(id)} was sent again.`);
    } catch (error) {
      if (!(error instanceof LovageError)) throw error;
      retried.push({ id, sent: false, reason: error.message });
      if (!json) complain(`lovage: ${error.message}`);
      process.exitCode = EXIT.failure;
    }
  }
  if (json) print(toJson(retried, 2));
}

function sayRetried({ count, tasks, skipped }: RetriedFailures, json: boolean, what: string): void {
  if (json) return print(toJson({ count, tasks, skipped }, 2));
  print(`${what} again: ${count} ${count === 1 ? "task" : "tasks"}.`);
  for (const [task, number] of Object.entries(tasks)) print(`  ${number}  ${harmlessLine(task)}`);
  for (const [reason, number] of Object.entries(skipped)) print(`  ${number} left out: ${reason}`);
}
