/** `lovage status` and `inspect`: what there is now, in the words of `app.control.inspect()`. */
import type { Command } from "commander";
import type { Lovage } from "../app.ts";
import { harmlessLine } from "../brief.ts";
import type { ByWorker, FunctionState, QueueState, WaitingTask } from "../control/inspect.ts";
import type { TaskInHand } from "../control/rows.ts";
import { EXIT_HELP } from "./exit.ts";
import { loadApp, loadSharedApp } from "./load.ts";
import { type AppOptions, appOption, jsonOption, watched } from "./options.ts";
import { ago, complain, pausedText, print, printJson, printTable, repeatedly, timeIn, toJson, when } from "./output.ts";

export function statusCommand(program: Command): void {
  watched(
    program.command("status").description("show workers, queues, and the last hour at a glance"),
    "an object with workers (WorkerInfo), functions (FunctionState; null: not known), queues (QueueState), lastHour (SummaryStep; null without a journal)",
  ).action(async (options: AppOptions) => {
    await using app = await loadSharedApp(options.app);
    await repeatedly(options, async () => {
      const inspect = app.control.inspect();
      const [workers, queues] = [Object.values(await inspect.stats()), await inspect.queues()];
      const functions = await inspect.functions().catch((error: unknown) => error as Error);
      const hour = app.config.journal ? (await app.journal.summary({ step: 3600 }))[0] : undefined;
      if (options.json) {
        sayUnknown(functions);
        return printJson({ workers, functions: listed(functions), queues, lastHour: hour ?? null }, options);
      }
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
  });
}

export function inspectCommand(program: Command): void {
  const inspect = program.command("inspect").description("show an app, its workers and queues");
  questionCommands(inspect);
  inspect
    .command("registered")
    .description("list the tasks of the app, with the options of each")
    .addOption(appOption())
    .addOption(jsonOption("the options of each task, by the task's name"))
    .addHelpText(
      "after",
      `${EXIT_HELP}

Examples:
  $ lovage inspect registered -A ./tasks.ts
  $ lovage inspect registered -A ./tasks.ts --json`,
    )
    .action(async (options: { readonly app: string; readonly json: boolean }) => {
      const app = await loadApp(options.app);
      const names = [...app.tasks.keys()].sort();
      const described = names.map((name) => [name, describeOptions(app, name)] as const);
      if (options.json) return print(toJson(Object.fromEntries(described), 2));
      if (names.length === 0) return print(NO_TASKS);
      for (const [name, facts] of described) {
        const text = Object.entries(facts).map(([option, value]) => `${option}=${toJson(value)}`);
        print(`* ${harmlessLine(name)}${text.length === 0 ? "" : ` [${text.join(" ")}]`}`);
      }
    });
}

const NO_TASKS =
  "The app has no tasks. Tasks in other modules are there when the app's module imports them, or its setting include names them.";

/** The options in force, as data: classes and functions by their names. */
function describeOptions(app: Lovage, name: string): Readonly<Record<string, unknown>> {
  const task = app.tasks.get(name);
  const options = task === undefined ? {} : app.engine.optionsOf(task);
  const named = (value: unknown): unknown => {
    if (typeof value === "function") return value.name;
    if (Array.isArray(value)) return value.map(named);
    return value;
  };
  return Object.fromEntries(
    Object.entries(options).map(([option, value]) => [option, option === "schema" ? true : named(value)]),
  );
}

/** What is asked of running workers, beside `registered`, which the app itself answers. */
function questionCommands(inspect: Command): void {
  const words = {
    active: ["show running tasks, by worker", "lists of TaskInHand by worker"],
    reserved: ["show tasks that long-lived workers have fetched and not begun", "lists of TaskInHand by worker"],
    waiting: ["show tasks that wait for a limit: for which limit, and until when", "a list of WaitingTask"],
    scheduled: ["show how many messages in each queue wait for their time", "the number of messages by queue"],
    stats: ["show the last report of each long-lived worker", "a WorkerInfo by worker"],
    ping: ["list the long-lived workers that run", "an object with ok, and seen (how many seconds ago), by worker"],
    conf: ["show the settings of the app on this machine, without passwords", "the settings by name"],
    functions: ["show the Lambda functions that run the tasks, and their last hour", "a list of FunctionState"],
    queues: [
      "show how many messages are in each queue, how old they are, and whether it is paused",
      "a list of QueueState",
    ],
  } as const;
  for (const [name, [what, shape]] of Object.entries(words) as [keyof typeof words, readonly [string, string]][]) {
    watched(inspect.command(name).description(what), shape).action(async (options: AppOptions) => {
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

const sayUnknown = (functions: readonly FunctionState[] | Error): void => {
  if (functions instanceof Error) complain(`lovage: nothing is known of functions: ${functions.message}`);
};

/** Those of Lambda, or why nothing can be said of them. */
function showFunctions(functions: readonly FunctionState[] | Error): void {
  sayUnknown(functions);
  if (functions instanceof Error || functions.length === 0) return;
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
  for (const { name, queue, losesMessages } of functions)
    if (losesMessages)
      complain(
        `lovage: ${harmlessLine(name)} loses tasks of ${harmlessLine(queue)}: its event source mapping has no ReportBatchItemFailures, so Lambda deletes what the function hands back; set it (docs/how-to/deploy-without-the-cdk.md)`,
      );
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
