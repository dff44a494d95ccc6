/** `lovage call` and `result`: tasks and their results by hand. */
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import type { Lovage } from "../app.ts";
import { harmlessJson, harmlessLine } from "../brief.ts";
import { LovageError } from "../errors.ts";
import type { AsyncResult } from "../results/async-result.ts";
import { taskKey } from "../results/backend.ts";
import { decodeStatus, type Meta } from "../protocol/meta.ts";
import { holdsException, isPropagated } from "../states.ts";
import type { CallOptions } from "../tasks/options.ts";
import { EXIT, EXIT_HELP } from "./exit.ts";
import { loadSharedApp } from "./load.ts";
import { appOption, jsonOption, jsonParser, parseSeconds, readTime } from "./options.ts";
import { toJson, withProgress, complain, print, setIn } from "./output.ts";

interface CallCommandOptions {
  readonly app: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly countdown?: number;
  readonly eta?: string;
  readonly expires?: number | string;
  readonly queue?: string;
  readonly id?: string;
  readonly wait?: number | true;
}

const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value);
const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const WAIT = "wait for the outcome, at most so many seconds (default: without end)";

export function callCommand(program: Command): void {
  program
    .command("call")
    .description("send a task and print its id")
    .argument("<task>", "name of the task, such as tasks.add")
    .addOption(appOption())
    .option("-a, --args <json>", "arguments, a list in JSON", jsonParser("a list", isList), [])
    .option("-k, --kwargs <json>", "keyword arguments, an object in JSON", jsonParser("an object", isRecord), {})
    .option("--countdown <seconds>", "seconds until it may start", parseSeconds)
    .option("--eta <time>", "when it may start, in ISO 8601")
    .option("--expires <seconds|time>", "it does not start after so many seconds, or from this time on", parseExpires)
    .option(
      "-q, --queue <name>",
      "send to this queue, and not by the routes; needed for a task that only other workers know",
    )
    .option("--id <id>", "id of the task (default: a new one)")
    .option("--wait [seconds]", `${WAIT}, and print the result instead of the id`, parseSeconds)
    .addHelpText(
      "after",
      `${EXIT_HELP} With --wait the code is 1 if the task failed.

Examples:
  $ lovage call -A ./tasks.ts tasks.add --args '[1, 2]'
  $ lovage call -A ./tasks.ts tasks.add --args '[1, 2]' --wait 10
  $ lovage call -A ./tasks.ts tasks.add --args '[1, 2]' --countdown 5 --queue math`,
    )
    .action(async (task: string, options: CallCommandOptions) => {
      await using app = await loadSharedApp(options.app);
      const { args, kwargs, countdown, eta, expires, queue, id, wait } = options;
      if (app.engine.declared(task) === undefined && queue === undefined) throw app.notRegistered(task);
      const call: CallOptions = {
        kwargs,
        ...(countdown !== undefined && { countdown }),
        ...(eta !== undefined && { eta }),
        ...(expires !== undefined && { expires }),
        ...(queue !== undefined && { queue }),
        ...(id !== undefined && { taskId: id }),
      };
      const result = await app.sendTask(task, args, call);
      if (wait === undefined) print(result.id);
      else process.exitCode = await printOutcome(result, wait);
    });
}

/** Prints the value, or on standard error what the task threw. */
async function printOutcome(result: AsyncResult, wait: number | true): Promise<number> {
  await waitFor(result, wait);
  const value = await result.result();
  if (!holdsException(await result.state())) {
    print(toJson(value));
    return EXIT.ok;
  }
  complain(`lovage: task ${harmlessLine(result.id)} ended as ${await result.state()}: ${errorText(value)}`);
  return EXIT.failure;
}

async function waitFor(result: AsyncResult, wait: number | true): Promise<void> {
  const timeout = wait === true ? {} : { timeout: wait };
  await withProgress(
    (seconds) => `Waiting for task ${result.id}: ${seconds} s`,
    result.get({ ...timeout, propagate: false }),
  );
}

function parseExpires(value: string): number | string {
  if (Number.isFinite(Number(value))) return parseSeconds(value);
  if (readTime(value) === undefined) throw new InvalidArgumentError("It must be seconds, or a time in ISO 8601.");
  return value;
}

const errorText = (value: unknown): string =>
  value instanceof Error ? `${value.name}: ${value.message}` : toJson(value);

interface ResultCommandOptions {
  readonly app: string;
  readonly json: boolean;
  readonly raw: boolean;
  readonly wait?: number | true;
}

export function resultCommand(program: Command): void {
  program
    .command("result")
    .description("print the state of a task, and its result or error")
    .argument("<id>", "id of the task")
    .addOption(appOption())
    .addOption(jsonOption("an object with id, state, result, error (type and message), traceback, dateDone"))
    .addOption(
      new Option("--raw", "print the stored JSON unchanged, and nothing else").default(false).conflicts("json"),
    )
    .option("--wait [seconds]", WAIT, parseSeconds)
    .addHelpText(
      "after",
      `${EXIT_HELP}
The code is 1 if the task failed or was revoked, however it is printed. An id of which nothing is stored is PENDING, with the code 0: the
task may wait in its queue. --raw has nothing to print then, and the code is 1.

Examples:
  $ lovage result -A ./tasks.ts 4cf4ab6d-05b4-4ad3-b6a8-ac1ee8f35101
  $ lovage result -A ./tasks.ts 4cf4ab6d-05b4-4ad3-b6a8-ac1ee8f35101 --raw | jq .result`,
    )
    .action(async (id: string, options: ResultCommandOptions) => {
      await using app = await loadSharedApp(options.app);
      if (options.wait !== undefined) await waitFor(app.result(id), options.wait);
      const state = options.raw ? await printRaw(app, id) : await printResult(app, id, options.json);
      if (isPropagated(state)) process.exitCode = EXIT.failure;
    });
}

/** Prints what one read says, as the task may go on meanwhile. Returns its state. */
async function printResult(app: Lovage, id: string, json: boolean): Promise<string> {
  const { reader } = app.engine;
  const meta: Meta = await reader.whole(await reader.meta(id));
  const { status: state, traceback } = meta;
  const [value, done] = [reader.value(meta), reader.dateDone(meta)];
  const isError = holdsException(state);
  if (json) {
    const error = !isError ? null : value instanceof Error ? { type: value.name, message: value.message } : value;
    print(toJson({ id, state, result: isError ? null : value, error, traceback, dateDone: done }, 2));
    return state;
  }
  print(`id:     ${harmlessLine(id)}`);
  print(`state:  ${harmlessLine(state)}`);
  if (isError) print(`error:  ${setIn(errorText(value))}`);
  else print(`result: ${toJson(value)}`);
  if (done !== null) print(`done:   ${done.toISOString()}`);
  if (traceback) print(setIn(`\n${traceback}`).slice(1));
  return state;
}

async function printRaw(app: Lovage, id: string): Promise<string> {
  const [row] = await (await app.engine.backend()).read([taskKey(id)]);
  if (row === undefined) throw new LovageError(`nothing is stored under ${taskKey(id)}`);
  // To a reader as it is; to a terminal as what it can do no harm as.
  if (typeof row.result === "string" && process.stdout.isTTY) print(harmlessJson(row.result));
  else process.stdout.write(row.result);
  return decodeStatus(row.result, app.engine.codec);
}
