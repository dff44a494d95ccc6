/** `lovage control`, `revoke`, `retry` and `forget`: what is done to queues, workers and tasks, in the words of `app.control`. */
import type { Command } from "commander";
import type { Lovage } from "../app.ts";
import { harmlessLine } from "../brief.ts";
import type { ChangedTasks, ChangeTasks, RetriedFailures, RetryFailed, RetryRefusal } from "../control/control.ts";
import { REASONS } from "../control/retry.ts";
import { ImproperlyConfigured, LovageError } from "../errors.ts";
import { ask, declined } from "./ask.ts";
import { EXIT, EXIT_HELP, interruptible } from "./exit.ts";
import { loadSharedApp } from "./load.ts";
import {
  type AppOptions,
  appOption,
  byOption,
  dryRunOption,
  type FilterOptions,
  fromOption,
  given,
  jsonOption,
  limitOption,
  queueOption,
  taskOption,
  textOption,
  toOption,
  yesOption,
} from "./options.ts";
import { complain, print, toJson, withProgress } from "./output.ts";

export function steerCommands(program: Command): void {
  controlCommand(program);
  revokeCommand(program);
  retryCommand(program);
  forgetCommand(program);
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

interface ChangeOptions extends AppOptions {
  readonly dryRun: boolean;
  readonly by?: string;
}

const CHANGED_TASKS = "ChangedTasks";

function sayChanged({ count, failed }: ChangedTasks, what: string, json = false): void {
  if (failed.length > 0) process.exitCode = EXIT.failure;
  if (json) return print(toJson({ count, failed }, 2));
  if (count > 0 || failed.length === 0) print(`${what} ${count} ${count === 1 ? "task" : "tasks"}.`);
  for (const { id, reason } of failed) complain(`lovage: task ${harmlessLine(id)}: ${reason}`);
}

function revokeCommand(program: Command): void {
  program
    .command("revoke")
    .description("keep tasks from starting")
    .argument("<id...>", "ids of tasks")
    .addOption(appOption())
    .option("--terminate", "also abort tasks that run", false)
    .addOption(dryRunOption())
    .addOption(byOption())
    .addOption(jsonOption(CHANGED_TASKS))
    .addHelpText("after", `${EXIT_HELP} If a task has ended already, this is printed, and the code is 1.`)
    .action(async (named: string[], options: ChangeOptions & { readonly terminate: boolean }) => {
      const { app: module, terminate, dryRun, by, json } = options;
      await using app = await loadSharedApp(module);
      const changed = await app.control.revoke(once(named), given({ terminate, dryRun, by }));
      sayChanged(changed, dryRun ? "Would revoke" : "Revoked", json);
    });
}

function forgetCommand(program: Command): void {
  program
    .command("forget")
    .description("hide the results of tasks; the tasks cannot be run again")
    .argument("<id...>", "ids of tasks")
    .addOption(appOption())
    .addOption(dryRunOption())
    .addOption(byOption())
    .addOption(yesOption())
    .addOption(jsonOption(CHANGED_TASKS))
    .addHelpText("after", `${EXIT_HELP} If nothing is stored of a task, this is printed, and the code is 1.`)
    .action(async (named: string[], options: ChangeOptions & { readonly yes: boolean }) => {
      const { app: module, dryRun, by, yes, json } = options;
      const ids = once(named);
      await using app = await loadSharedApp(module);
      const isOne = ids.length === 1;
      if (!dryRun && !isOne && !(await ask(`${ids.length} tasks will be forgotten.`, yes))) return declined();
      sayChanged(await app.control.forget(ids, given({ dryRun, by })), dryRun ? "Would forget" : "Forgot", json);
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
    .addOption(dryRunOption())
    .addOption(yesOption())
    .addOption(byOption())
    .addOption(
      jsonOption(
        "of ids a list of objects with id, sent, and the reason where it was not; with --failed RetriedFailures",
      ),
    )
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
      const filter = given({ task, queue, error, text, from, to, limit });
      const [first] = Object.keys(filter);
      if (!failed && first !== undefined)
        throw new ImproperlyConfigured(`--${first}`, "chooses with --failed; ids say already which tasks are meant");
      await using app = await loadSharedApp(module);
      if (!failed) return await retryEach(app, once(ids), given({ dryRun, by }), json ?? false);
      const counted = await app.control.retryFailed({ ...filter, dryRun: true } as never);
      if (dryRun || counted.count === 0) return sayRetried(counted, json ?? false, "Would run");
      if (!json) sayRetried(counted, false, "Failed and can be run");
      if (!(await ask(`${counted.count} tasks will run again.`, yes))) return declined();
      sayRetried(await retryAll(app, { ...filter, ...given({ by }) }, counted.count), json ?? false, "Sent");
    });
}

interface RetryCommandOptions extends ChangeOptions, FilterOptions {
  readonly failed: boolean;
  readonly error?: string;
  readonly yes: boolean;
}

/** Of what Ctrl-C ends, the number that was sent by then. */
async function retryAll(app: Lovage, filter: RetryFailed, of: number): Promise<RetriedFailures> {
  let count = 0;
  return interruptible("sent again", async (signal) => {
    const progress = (sent: number) => {
      count = sent;
      signal.throwIfAborted();
    };
    const work = app.control.retryFailed({ ...filter, progress });
    try {
      return await withProgress((seconds) => `Sending failed tasks again: ${count} of ${of}, ${seconds} s`, work);
    } catch (error) {
      if (!signal.aborted) throw error;
      return { count, tasks: {}, skipped: {} };
    }
  });
}

async function retryEach(app: Lovage, ids: readonly string[], how: ChangeTasks, json: boolean): Promise<void> {
  const retried: { readonly id: string; readonly sent: boolean; readonly reason?: string }[] = [];
  for (const id of ids) {
    try {
      await app.control.retry(id, how);
      retried.push({ id, sent: !how.dryRun });
      if (!json) print(`${harmlessLine(id)} ${how.dryRun ? "would be" : "was"} sent again.`);
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
  for (const [why, number] of Object.entries(skipped) as [RetryRefusal, number][])
    print(`  ${number} left out (${why}): ${REASONS[why]}`);
}
