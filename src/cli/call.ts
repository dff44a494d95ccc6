/** `lovage call` and `result`: tasks and their results by hand. */
import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import type { Lovage } from "../app.ts";
import { harmlessJson, harmlessLine } from "../brief.ts";
import { LovageError } from "../errors.ts";
import type { AsyncResult } from "../results/async-result.ts";
import { taskKey } from "../results/backend.ts";
import { FAILURE, holdsException, REVOKED } from "../states.ts";
import type { CallOptions } from "../tasks/options.ts";
import { EXIT, EXIT_HELP } from "./exit.ts";
import { loadSharedApp } from "./load.ts";
import { appOption, jsonParser, parseSeconds, readTime } from "./options.ts";
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
  readonly raw: boolean;
  readonly wait?: number | true;
}

export function resultCommand(program: Command): void {
  program
    .command("result")
    .description("print the state of a task, and its result or error")
    .argument("<id>", "id of the task")
    .addOption(appOption())
    .option("--raw", "print the stored JSON unchanged, and nothing else", false)
    .option("--wait [seconds]", WAIT, parseSeconds)
    .addHelpText(
      "after",
      `${EXIT_HELP}
The code is 1 if the task failed or was revoked, or if --raw finds no row. An unknown id is PENDING.

Examples:
  $ lovage result -A ./tasks.ts 4cf4ab6d-05b4-4ad3-b6a8-ac1ee8f35101
  $ lovage result -A ./tasks.ts 4cf4ab6d-05b4-4ad3-b6a8-ac1ee8f35101 --raw | jq .result`,
    )
    .action(async (id: string, options: ResultCommandOptions) => {
      await using app = await loadSharedApp(options.app);
      const result = app.result(id);
      if (options.wait !== undefined) await waitFor(result, options.wait);
      if (options.raw) await printRaw(app, id);
      else process.exitCode = await printResult(result);
    });
}

async function printResult(result: AsyncResult): Promise<number> {
  const state = await result.state();
  const value = await result.result();
  const [done, traceback] = [await result.dateDone(), await result.traceback()];
  print(`id:     ${harmlessLine(result.id)}`);
  print(`state:  ${harmlessLine(state)}`);
  if (holdsException(state)) print(`error:  ${setIn(errorText(value))}`);
  else print(`result: ${toJson(value)}`);
  if (done !== null) print(`done:   ${done.toISOString()}`);
  if (traceback) print(setIn(`\n${traceback}`).slice(1));
  return state === FAILURE || state === REVOKED ? EXIT.failure : EXIT.ok;
}

async function printRaw(app: Lovage, id: string): Promise<void> {
  const [row] = await (await app.engine.backend()).read([taskKey(id)]);
  if (row === undefined) throw new LovageError(`nothing is stored under ${taskKey(id)}`);
  // To a reader as it is; to a terminal as what it can do no harm as.
  if (typeof row.result === "string" && process.stdout.isTTY) print(harmlessJson(row.result));
  else process.stdout.write(row.result);
}
