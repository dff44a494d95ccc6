/** All that can be asked and done from outside, once: the API, its OpenAPI document and `lovage mcp` are words around this table. */
import type { RetryFailed } from "../control/control.ts";
import { LovageError } from "../errors.ts";
import type { FailuresQuery } from "../journal/query.ts";
import type { Chosen, ChosenInWorkflow, ChosenLetters, Doing } from "./actions.ts";
import type { BoardData, Part, Span, TasksQuery } from "./data.ts";
import { SPANS } from "./data.ts";
import type { Field, Fields, Input } from "./input.ts";

export interface Operation {
  /** In the words of the command line: `lovage retry` is `retry`, `lovage dlq list` is `dlq_list`, `retry --failed` is `retry_failed`. */
  readonly name: string;
  /** Below `/api`. What stands in braces is a field too. */
  readonly path: string;
  /** It changes something. */
  readonly changes: boolean;
  /** It cannot be taken back. */
  readonly destroys?: boolean;
  /** A sentence or two. */
  readonly is: string;
  readonly input: Fields;
  /** It may be for many: it can be asked for with `background`, and how far it is by its id. */
  readonly long?: boolean;
  run(data: BoardData, input: Input, doing: Doing): Promise<unknown>;
}

const NOW = { wait: Number.POSITIVE_INFINITY, maxAge: 2_000 };

/** What could not be read is an error here. */
function whole<T>(part: Part<T>): T {
  if ("value" in part) return part.value;
  throw new LovageError("problem" in part ? part.problem : "it is not there yet");
}

const texts = (is: string): Field => ({ type: "texts", is });
const SINCE = {
  type: "instant",
  is: "From then on: a time in ISO 8601, milliseconds since the epoch, or so long ago as 30m, 2h, 7d",
} as const;
const WHERE: Fields = {
  task: texts("Tasks' names, or patterns such as media.*"),
  queue: texts("Queues"),
  worker: texts("Workers"),
  root: texts("Ids of the tasks that workflows began with"),
  text: { type: "text", is: "A part of the id, the task's name, the arguments or the error, in upper or lower case" },
  from: SINCE,
  to: { type: "instant", is: "Before then, in the same forms" },
};
const FILTER: Fields = {
  state: texts("States: SUCCESS, FAILURE, RETRY, REVOKED, IGNORED, REPLACED"),
  ...WHERE,
};
const SPAN: Field = { type: "text", is: "How far back. Default: hour", oneOf: Object.keys(SPANS) };
const DRY_RUN: Field = { type: "boolean", is: "Only count what would be done. Default: false" };
const ID: Field = { type: "text", is: "The id of a task", required: true };
const QUEUE: Field = { type: "text", is: "The queue's name", required: true };
const ENTRY: Field = { type: "text", is: "The name under which the entry was put at run time", required: true };
const LETTERS: Fields = {
  queue: texts("Queues that they came from"),
  task: FILTER["task"] as Field,
  error: { type: "text", is: "A part of the reason or of the error's name, in upper or lower case" },
  from: FILTER["from"] as Field,
  to: FILTER["to"] as Field,
};
const CHOSEN_LETTERS: Fields = {
  ids: texts("Ids of tasks, or the broker's of messages. Without them: all that match the filter"),
  ...LETTERS,
  dryRun: DRY_RUN,
};
const WORKFLOW = "The id of any task of a workflow, or of a group";
const CHOSEN: Fields = {
  ids: texts(
    "Ids of tasks. Without them: all whose latest entry in the journal matches the filter, of which something has to be given",
  ),
  ...FILTER,
  dryRun: DRY_RUN,
};

const spanOf = (input: Input): Span => (input["span"] ?? "hour") as Span;

/** Which were checked against the fields. */
const as = <T>(input: Input): T => input as unknown as T;

export const OPERATIONS: readonly Operation[] = [
  {
    name: "status",
    path: "/status",
    changes: false,
    is: "Queues, long-lived workers, functions of Lambda, what runs, and what was done and failed in the last hour, day or week, step by step.",
    input: { span: SPAN },
    run: async (data, input) => {
      const { queues, workers, functions, active, coming, told } = await data.overview(spanOf(input), NOW);
      return { queues, workers, functions, active, coming, told };
    },
  },
  {
    name: "queues",
    path: "/queues",
    changes: false,
    is: "Every queue: messages that are ready, delayed, in flight and dead, the age of the oldest in seconds where the broker tells it, and who paused it.",
    input: {},
    run: async (data) => whole(await data.queues(NOW)),
  },
  {
    name: "tasks",
    path: "/tasks",
    changes: false,
    is: "Attempts that ended and other entries of the journal, the newest first. Where there are more, `next` is the cursor of the following page.",
    input: {
      ...FILTER,
      id: texts("Ids of tasks"),
      kind: texts("Kinds of entries: task, running, deadLetter, unsent, revoke, slot, join, control"),
      limit: { type: "integer", is: "So many at most. Default: 50", min: 1, max: 1000 },
      cursor: { type: "text", is: "The next of the page before" },
    },
    run: (data, input) => data.tasks(as<TasksQuery>(input)),
  },
  {
    name: "result",
    path: "/tasks/{id}",
    changes: false,
    is: "One task: its state, result or error, arguments, attempts, what it called, its message and row.",
    input: { id: ID },
    run: (data, { id }) => data.task(id as string),
  },
  {
    name: "workflow",
    path: "/workflows/{id}",
    changes: false,
    is: "All tasks of a workflow, or of a group: what each comes after, with states and times.",
    input: { id: { type: "text", is: "The id of any task of the workflow, or of a group", required: true } },
    run: (data, { id }, doing) => data.workflow(id as string, doing),
  },
  {
    name: "failures",
    path: "/failures",
    changes: false,
    is: "What failed, grouped by task and error, the most frequent first, with how often, the first, the last, and an example.",
    input: {
      ...WHERE,
      from: { ...SINCE, is: `${SINCE.is}. Default: 1h` },
      limit: { type: "integer", is: "So many groups at most. Default: 50", min: 1, max: 1000 },
    },
    run: (data, input, doing) => data.failureGroups(as<FailuresQuery>(input), doing),
  },
  {
    name: "dlq_list",
    path: "/dead-letters",
    changes: false,
    is: "Dead letters with their reasons and bodies. Meanwhile they are hidden from others who look.",
    input: {
      ...LETTERS,
      id: texts("Ids of tasks, or the broker's of messages"),
      limit: { type: "integer", is: "So many at most. Default: 100", min: 1, max: 1000 },
    },
    run: (data, input, doing) => data.deadLetters(input, doing),
  },
  {
    name: "beat_plan",
    path: "/beat",
    changes: false,
    is: "The entries of the schedule: next runs, last runs and how they ended, and the next change of the clock; and those put at run time that this version cannot read.",
    input: {},
    run: (data, _, doing) => data.beat(doing),
  },
  {
    name: "inspect_registered",
    path: "/registered",
    changes: false,
    is: "The tasks of the app, with the JSON Schema of their arguments where they have one.",
    input: {},
    run: async (data) => data.registered(),
  },
  ...(
    [
      [
        "active",
        "What runs, by worker: of long-lived ones as they said last, of functions what runs for longer than some seconds.",
      ],
      ["reserved", "What long-lived workers have fetched and not begun."],
      ["waiting", "The tasks that wait for a limit: for which, and until when."],
      ["scheduled", "How many messages wait in each queue for their time."],
      ["stats", "The long-lived workers, as they said last."],
      ["ping", "The long-lived workers that are there, and how long ago each said so, in seconds."],
      ["conf", "The settings of the app, without passwords."],
      ["functions", "The functions of Lambda that run the tasks, and their last hour."],
    ] as const
  ).map(
    ([name, is]): Operation => ({
      name: `inspect_${name}`,
      path: `/inspect/${name}`,
      changes: false,
      is,
      input: {},
      run: (data) => data.inspect(name),
    }),
  ),
  {
    name: "call",
    path: "/tasks",
    changes: true,
    is: "Sends a task. The answer is its id.",
    input: {
      task: { type: "text", is: "The task's name", required: true },
      args: { type: "list", is: "Positional arguments. Default: none" },
      kwargs: { type: "object", is: "Keyword arguments. Default: none" },
      queue: {
        type: "text",
        is: "The queue to send to. Default: by the task's routes; needed for a task that is not registered here",
      },
      countdown: { type: "number", is: "Seconds until it may start. Default: 0", min: 0 },
      eta: { type: "text", is: "When it may start, in ISO 8601" },
      expires: { type: "number", is: "Seconds after which it must not start any more", min: 0 },
      id: { type: "text", is: "Its id. A second task of the same id does not run. Default: a new one" },
    },
    run: (data, { task, args = [], id, ...options }, doing) =>
      data.actions.call(
        task as string,
        args as readonly unknown[],
        { ...options, ...(id !== undefined && { taskId: id }) },
        doing,
      ),
  },
  {
    name: "retry",
    path: "/tasks/retry",
    changes: true,
    long: true,
    is: "Runs failed tasks again, each under its own id. Those that have not failed are left out, and told of in `failed`.",
    input: {
      ids: texts("Ids of tasks"),
      workflow: { type: "text", is: `${WORKFLOW}, in place of ids: all of it that failed` },
      dryRun: DRY_RUN,
    },
    run: (data, input, doing) => data.actions.retry(as<ChosenInWorkflow>(input), doing),
  },
  {
    name: "retry_failed",
    path: "/failures/retry",
    changes: true,
    long: true,
    is: "Runs all failed tasks again that match, and that have not ended otherwise since. The others are counted in `skipped`, and `reasons` says why.",
    input: {
      task: texts("Tasks' names, or patterns such as media.*"),
      error: { type: "text", is: "The name of the error's class, or a part of its message" },
      text: FILTER["text"] as Field,
      queue: texts("Queues"),
      from: FILTER["from"] as Field,
      to: FILTER["to"] as Field,
      limit: { type: "integer", is: "So many at most, the latest first. Default: all", min: 1 },
      dryRun: DRY_RUN,
    },
    run: (data, input, doing) => data.actions.retryFailed(as<RetryFailed>(input), doing),
  },
  {
    name: "revoke",
    path: "/tasks/revoke",
    changes: true,
    destroys: true,
    long: true,
    is: "Keeps tasks from starting. With `terminate` the signal of a run that is under way is aborted, too. Those that have ended stay as they are, and are told of in `failed`.",
    input: {
      ...CHOSEN,
      workflow: { type: "text", is: `${WORKFLOW}, in place of ids and filter: all of it that has not ended` },
      terminate: { type: "boolean", is: "Abort runs that are under way. Default: false" },
    },
    run: (data, { terminate = false, ...chosen }, doing) =>
      data.actions.revoke(as<Chosen>(chosen), terminate as boolean, doing),
  },
  {
    name: "forget",
    path: "/tasks/forget",
    changes: true,
    destroys: true,
    long: true,
    is: "Hides the results of tasks for good. They cannot be run again by their ids. Those of which nothing is stored are told of in `failed`.",
    input: CHOSEN,
    run: (data, chosen, doing) => data.actions.forget(as<Chosen>(chosen), doing),
  },
  {
    name: "control_pause",
    path: "/queues/{queue}/pause",
    changes: true,
    is: "Nothing more of a queue is begun until it is resumed. What runs, runs on.",
    input: { queue: QUEUE },
    run: async (data, { queue }, doing) => void (await data.actions.pause(queue as string, doing)),
  },
  {
    name: "control_resume",
    path: "/queues/{queue}/resume",
    changes: true,
    is: "Ends a pause.",
    input: { queue: QUEUE },
    run: async (data, { queue }, doing) => void (await data.actions.resume(queue as string, doing)),
  },
  {
    name: "purge",
    path: "/queues/{queue}/purge",
    changes: true,
    destroys: true,
    is: "Deletes all messages of a queue, for ever.",
    input: { queue: QUEUE },
    run: async (data, { queue }, doing) => ({ count: (await data.actions.purge(queue as string, doing)) ?? null }),
  },
  {
    name: "control_shutdown",
    path: "/workers/{worker}/shutdown",
    changes: true,
    is: "Stops a long-lived worker as SIGTERM does: it ends what it runs, and takes nothing more.",
    input: { worker: { type: "text", is: "The worker's name", required: true } },
    run: async (data, { worker }, doing) => void (await data.actions.shutdown(worker as string, doing)),
  },
  {
    name: "control_rate_limit",
    path: "/rates/{task}",
    changes: true,
    is: "Changes how often a task that declares a rateLimit may start, over all workers, within seconds.",
    input: {
      task: { type: "text", is: "The task's name", required: true },
      rate: { type: "scalar", is: 'Such as "10/m", a number a second, or "none": as it is declared', required: true },
    },
    run: async (data, { task, rate }, doing) =>
      void (await data.actions.rateLimit(task as string, rate === "none" ? null : (rate as string | number), doing)),
  },
  {
    name: "dlq_redrive",
    path: "/dead-letters/redrive",
    changes: true,
    long: true,
    is: "Sends dead letters back to their queue, with other arguments where some are given.",
    input: {
      ...CHOSEN_LETTERS,
      args: { type: "list", is: "In place of the positional arguments that the message has" },
      kwargs: { type: "object", is: "In place of the keyword arguments that the message has" },
    },
    run: (data, input, doing) => data.actions.redrive(as<ChosenLetters>(input), doing),
  },
  {
    name: "dlq_delete",
    path: "/dead-letters/delete",
    changes: true,
    destroys: true,
    long: true,
    is: "Deletes dead letters, for ever.",
    input: CHOSEN_LETTERS,
    run: (data, input, doing) => data.actions.deleteLetters(as<ChosenLetters>(input), doing),
  },
  {
    name: "beat_run",
    path: "/beat/run",
    changes: true,
    is: "Sends the task of an entry of the schedule now, once, beside its slots. The answer is its id.",
    input: { name: { type: "text", is: "The entry's name, as the plan has it", required: true } },
    run: (data, { name }, doing) => data.actions.runNow(name as string, doing),
  },
  {
    name: "beat_put",
    path: "/beat/put",
    changes: true,
    is: "Puts an entry at run time, over one that was put under the same name.",
    input: {
      name: { type: "text", is: "The entry's name", required: true },
      task: { type: "text", is: "The task's name", required: true },
      schedule: {
        type: "scalar",
        is: 'Seconds, such as 30, or the five fields of crontab, such as "*/15 * * * *"',
        required: true,
      },
      args: { type: "list", is: "Positional arguments. Default: none" },
      kwargs: { type: "object", is: "Keyword arguments. Default: none" },
      queue: { type: "text", is: "The queue to send to. Default: by the task's routes" },
    },
    run: async (data, { name, queue, ...entry }, doing) =>
      void (await data.actions.putEntry(
        name as string,
        {
          ...as<{ readonly task: string; readonly schedule: string | number }>(entry),
          ...(queue !== undefined && { options: { queue: queue as string } }),
        },
        doing,
      )),
  },
  {
    name: "beat_pause",
    path: "/beat/{name}/pause",
    changes: true,
    is: "Keeps an entry that was put at run time, and sends nothing of it until it is resumed.",
    input: { name: ENTRY },
    run: async (data, { name }, doing) => void (await data.actions.pauseEntry(name as string, doing)),
  },
  {
    name: "beat_resume",
    path: "/beat/{name}/resume",
    changes: true,
    is: "Ends the pause of an entry. Its slots count from now on.",
    input: { name: ENTRY },
    run: async (data, { name }, doing) => void (await data.actions.resumeEntry(name as string, doing)),
  },
  {
    name: "beat_remove",
    path: "/beat/{name}/remove",
    changes: true,
    destroys: true,
    is: "Removes an entry that was put at run time.",
    input: { name: ENTRY },
    run: async (data, { name }, doing) => void (await data.actions.removeEntry(name as string, doing)),
  },
];
