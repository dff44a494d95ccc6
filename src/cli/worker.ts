/** `lovage worker`: a main process that keeps the process which runs the tasks, and with `-B` the one that is beat. */
import { type Command, InvalidArgumentError } from "commander";
import type { WorkerPool } from "../config/config.ts";
import { workerPool } from "../config/values.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { reasonOf } from "../parse.ts";
import type { BeatCommandOptions } from "./beat.ts";
import { EXIT, onStop } from "./exit.ts";
import {
  appOption,
  type HealthAddress,
  listOption,
  logOptions,
  parseAddress,
  parseCount,
  parseSeconds,
} from "./options.ts";
import { createLog, print } from "./output.ts";
import { keep, type Kept, type Order } from "./supervise.ts";

export interface WorkerCommandOptions extends BeatCommandOptions {
  readonly queues?: readonly string[];
  readonly hostname: string;
  readonly concurrency?: number;
  readonly pool?: WorkerPool;
  readonly beat: boolean;
  readonly grace?: number;
  /** `true`: asked for without an address. */
  readonly health?: HealthAddress | true;
  readonly cloudwatchMetrics: boolean;
}

export function workerCommand(program: Command): void {
  const command = program.command("worker").description("run tasks until a signal stops it");
  command.addOption(appOption());
  for (const option of logOptions()) command.addOption(option);
  command
    .addOption(
      listOption("-Q, --queues <names>", "queues to serve, as in -Q media,celery (default: all of taskQueues)"),
    )
    .option(
      "-n, --hostname <name>",
      "name of the worker; %h is the machine, %n its first part, %d its domain",
      "celery",
    )
    .option(
      "-c, --concurrency <n>",
      "tasks at a time (default: workerConcurrency, else the number of CPUs)",
      parseCount,
    )
    .option(
      "-P, --pool <pool>",
      "where tasks run: async, all in one event loop; processes or threads, each task in its own, for tasks that compute; solo, one at a time (default: workerPool, async)",
      parsePool,
    )
    .option(
      "--grace <seconds>",
      "time for running tasks to end when the worker stops; 0: without limit (default: workerSoftShutdownTimeout, 20)",
      parseSeconds,
    )
    .option(
      "--health [address]",
      "answer /healthz, /readyz and /metrics on this port or host:port (default: 127.0.0.1:9808)",
      parseAddress,
    )
    .option(
      "--cloudwatch-metrics",
      "write metrics as lines on standard output, which CloudWatch reads from the log; the setting metrics says for what",
      false,
    )
    .option("-B, --beat", "run beat too, in a process beside the worker", false)
    .addHelpText(
      "after",
      `
Signals:
  SIGTERM, Ctrl-C,  warm shutdown: takes no new messages, hands back those that it has not begun, and lets running tasks end.
  SIGHUP, SIGUSR2   After the grace the tasks' signals abort. Tasks that do not end within 5 s are handed back, and another worker
                    takes them at once
  a second signal   cold shutdown: the same without the grace (the same one twice within half a second counts once)
  a third, SIGQUIT  ends at once; other workers take the running tasks over when their leases end

Health:
  /healthz          200 as long as the event loop goes on: a task that blocks it blocks this answer too
  /readyz           200 while it fetches messages; 503 while it starts or stops, or cannot read a queue
  /metrics          in Prometheus' text form; needs the package prom-client

Exit codes: 0 after a warm shutdown, 1 after a second signal or a fault, 2 wrong usage (option, module, setting or queue).

Examples:
  $ lovage worker -A ./tasks.ts -l info
  $ lovage worker -A ./tasks.ts -n add -Q task_add_queue -c 8
  $ lovage worker -A ./tasks.ts -Q video --pool processes -c 4
  $ lovage worker -A ./tasks.ts:app -B --log-format json`,
    )
    .action(async (options: WorkerCommandOptions) => {
      process.exitCode = await main(options);
    });
}

function parsePool(value: string): WorkerPool {
  try {
    return workerPool(value, "--pool");
  } catch (error) {
    if (!(error instanceof ImproperlyConfigured)) throw error;
    throw new InvalidArgumentError(`It ${reasonOf(error)}.`);
  }
}

/** The main process. It loads nothing of the user's, so nothing of the user's can end it. */
async function main(options: WorkerCommandOptions): Promise<number> {
  const log = createLog({ ...options, process: "MainProcess" });
  const say = (line: string) => (options.logFormat === "json" ? log("info", line) : print(`\n${line}`));
  const kept: Kept[] = [];
  const orders: Order[] = [];
  const order = (next: Order) => {
    orders.push(next);
    for (const one of kept) one.order(next);
  };
  const end = () => {
    for (const one of kept) one.kill();
    process.exit(EXIT.failure);
  };
  process.on("SIGQUIT", end);
  onStop((signal) => {
    if (orders.length === 0) {
      if (signal === "SIGINT") say("worker: Hitting Ctrl+C again will give up all running tasks!");
      say("worker: Warm shutdown (MainProcess)");
      order("warm");
    } else if (orders.length === 1) {
      say("worker: Cold shutdown (MainProcess)");
      order("cold");
    } else end();
  });

  const pool = keep("pool", options, log);
  kept.push(pool);
  if (options.beat && (await pool.ready) && orders.length === 0) {
    kept.push(keep("beat", options, log));
  }
  // One without the other would do half of what was asked for.
  const codes = await Promise.all(kept.map(({ ended }) => ended.finally(() => orders.length === 0 && order("warm"))));
  return orders.includes("cold") ? EXIT.failure : (codes.find((code) => code !== EXIT.ok) ?? EXIT.ok);
}
