/** `lovage worker`: a main process that keeps the process which runs the tasks, and with `-B` the one that is beat. */
import { hostname as machineName } from "node:os";
import { type Command, InvalidArgumentError } from "commander";
import type { Lovage } from "../app.ts";
import { maskUrl } from "../brief.ts";
import type { WorkerPool } from "../config/config.ts";
import { workerPool } from "../config/values.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { fileOf } from "../file-url.ts";
import { reasonOf } from "../parse.ts";
import { beatEntries } from "../workers/beat.ts";
import type { Log, LogLevel } from "../workers/log.ts";
import type { PlaceOrder } from "../workers/place.ts";
import { checkConcurrency, concurrencyOf, type PollingWorker, startPoller } from "../workers/poll.ts";
import { type BeatCommandOptions, startBeat } from "./beat.ts";
import { EXIT, report } from "./exit.ts";
import { type HealthAddress, DEFAULT_ADDRESS, parseAddress, startHealth } from "./health.ts";
import { loadAhead, loadSharedApp } from "./load.ts";
import { noteModules } from "./modules.ts";
import { appOption, listOption, logOptions, parseCount, parseSeconds } from "./options.ts";
import { createLog, lineWriter, type LogFormat, print, redirectPrints } from "./output.ts";
import type { Listening } from "./serve-board.ts";
import { cloudWatchLines, watchers } from "./cloudwatch.ts";
import { apartBy } from "./apart.ts";
import { type Line, type PlaceSetup, runPlace } from "./place.ts";
import { startPool } from "./pool.ts";
import { belong, keep, keeper, type Kept, onStop, type Order } from "./supervise.ts";
import { VERSION } from "./version.ts";

interface WorkerCommandOptions extends BeatCommandOptions {
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

interface PoolOptions extends WorkerCommandOptions {
  readonly first: boolean;
  /** It is kept by `lovage dev`: it waits until it is to load the app, and tells what that is made of. */
  readonly dev?: boolean;
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
  a second signal   cold shutdown: the same without the grace (Ctrl-C twice within half a second counts once)
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

/** The processes that `lovage worker` starts: not for users. */
export function childCommand(program: Command): void {
  program
    .command("child <kind> <options>", { hidden: true })
    .action((kind: keyof typeof CHILDREN, options: string) => CHILDREN[kind](JSON.parse(options)));
}

const CHILDREN = {
  pool: runPool,
  place: runPlaceChild,
  beat: runBeatChild,
  board: runBoardChild,
  suspect: runSuspect,
} as const;

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

/** The process that runs the tasks. */
async function runPool(options: PoolOptions): Promise<void> {
  const parent = keeper();
  const log = createLog({ ...options, process: "MainProcess" });
  const writeLine = lineWriter();
  if (options.logFormat === "json") redirectPrints(log);
  const { dev } = options;
  let tell: (() => void) | undefined;
  try {
    if (dev) {
      await loadAhead(options.app);
      tell = noteModules((modules) => void parent.say({ modules }));
      await parent.begin;
    }
    const app = await loadSharedApp(options.app);
    tell?.();
    // Before anything runs: beat itself comes later, and would say the same.
    if (options.beat) beatEntries(app);
    const lines = holdBack(log);
    const { health: address } = options;
    const health =
      address === undefined
        ? undefined
        : await startHealth(app, address === true ? DEFAULT_ADDRESS : address, lines.log);
    const counted = options.cloudwatchMetrics ? cloudWatchLines(app, writeLine) : undefined;
    const watch = watchers(health?.metrics, counted);
    const apart = apartBy(options, log);
    const hostname = nodeName(options.hostname, machineName());
    const kind = options.pool ?? app.config.workerPool;
    const concurrency = options.concurrency ?? concurrencyOf({ ...app.config, workerPool: kind });
    checkConcurrency(concurrency);
    const pool =
      kind === "async" || kind === "solo"
        ? undefined
        : await startPool({
            place: {
              app: options.app,
              loglevel: options.loglevel,
              logFormat: options.logFormat,
              hostname,
              isCounted: watch !== undefined,
            },
            kind,
            size: concurrency,
            log: lines.log,
            postrun: watch?.ended,
            group: (group, isThere) => void parent.say({ group, isThere }),
          });
    const worker = await startPoller(app, {
      queues: options.queues,
      concurrency,
      grace: options.grace,
      hostname,
      log: lines.log,
      ownsProcess: true,
      leadsGroup: true,
      apart,
      pool,
      watch,
      taking: () => void parent.say("taken"),
    });
    health?.watch(worker);
    if (options.first) banner(app, worker, { ...options, pool: kind }, log);
    log("info", `${worker.hostname} ready.`);
    lines.release();
    const obey = (order: Order) => {
      apart.order(order);
      void (order === "warm" ? worker.stop() : worker.abort());
      if (dev) void parent.say({ takesNothing: true });
    };
    void parent.first.then(obey);
    void parent.second.then(() => obey("cold"));
    await parent.say("ready");
    const how = await worker.ended;
    counted?.end();
    await pool?.close();
    await app.close();
    await parent.say(how);
    // A task that was given up may still be running.
    process.exit(EXIT.ok);
  } catch (error) {
    tell?.();
    const code = report(error, options.loglevel === "debug");
    // What is on its way to the keeper arrives first.
    if (dev) await parent.say({});
    process.exit(code);
  }
}

/** A process of a pool. */
async function runPlaceChild(setup: PlaceSetup): Promise<void> {
  belong();
  const held: PlaceOrder[] = [];
  let listener = (order: PlaceOrder): void => void held.push(order);
  process.on("message", (order: PlaceOrder) => listener(order));
  const line: Line = {
    say: (report) => void process.send?.(report),
    hear(next) {
      listener = next;
      for (const order of held.splice(0)) next(order);
    },
  };
  await runPlace(setup, line, true);
}

/** The process that runs one task, which has killed others. */
async function runSuspect(options: WorkerCommandOptions): Promise<void> {
  const parent = keeper();
  const log = createLog({ ...options, process: "MainProcess" });
  if (options.logFormat === "json") redirectPrints(log);
  try {
    const app = await loadSharedApp(options.app);
    await parent.say("ready");
    const only = await parent.only;
    const worker = await startPoller(app, {
      queues: [only.queue],
      concurrency: 1,
      grace: options.grace,
      hostname: nodeName(options.hostname, machineName()),
      log,
      ownsProcess: true,
      leadsGroup: true,
      only,
      claimed: ({ claim }) => void parent.say({ claim }),
      taking: () => void parent.say("taken"),
    });
    void parent.first.then((order) => (order === "warm" ? worker.stop() : worker.abort()));
    void parent.second.then(() => worker.abort());
    await worker.ended;
    await app.close();
    await parent.say("stopped");
    process.exit(EXIT.ok);
  } catch (error) {
    process.exit(report(error, options.loglevel === "debug"));
  }
}

/** The process that serves the board, beside a worker. */
async function runBoardChild(options: WorkerCommandOptions & Listening): Promise<void> {
  const parent = keeper();
  try {
    const { serveBoard } = await import("./serve-board.ts");
    await using app = await loadSharedApp(options.app);
    const { url, close } = await serveBoard(app, options);
    await parent.say({ url });
    await parent.say("ready");
    await parent.first;
    await close();
    await parent.say("stopped");
    process.exit(EXIT.ok);
  } catch (error) {
    process.exit(report(error, options.loglevel === "debug"));
  }
}

/** The process that is beat. */
async function runBeatChild(options: WorkerCommandOptions): Promise<void> {
  const parent = keeper();
  const stopping = new AbortController();
  void parent.first.then(() => stopping.abort());
  try {
    await startBeat(options, stopping.signal, () => void parent.say("ready"));
    await parent.say("stopped");
    process.exit(EXIT.ok);
  } catch (error) {
    process.exit(report(error, options.loglevel === "debug"));
  }
}

/** Lines that come before the banner wait for it. */
function holdBack(log: Log): { readonly log: Log; release(): void } {
  let held: Parameters<Log>[] | undefined = [];
  return {
    log(...line) {
      if (held === undefined) log(...line);
      else held.push(line);
    },
    release() {
      const lines = held ?? [];
      held = undefined;
      for (const line of lines) log(...line);
    },
  };
}

/** `add` → `add@machine`; in `add@%h`, `%h` is the machine's name, `%n` its first part and `%d` the rest, as in Celery. */
export function nodeName(given: string, machine: string): string {
  const [first = machine, ...domain] = machine.split(".");
  const parts: Readonly<Record<string, string>> = { "%h": machine, "%n": first, "%d": domain.join("."), "%%": "%" };
  const name = given.replace(/%[hnd%]/g, (part) => parts[part] ?? part);
  return name.includes("@") ? name : `${name}@${machine}`;
}

interface BannerFacts {
  readonly logFormat: LogFormat;
  readonly loglevel: LogLevel;
  readonly app: string;
  readonly pool: WorkerPool;
}

function banner(app: Lovage, worker: PollingWorker, options: BannerFacts, log: Log): void {
  const { config } = app;
  const { urls } = app.engine;
  const broker = showUrl(config.brokerUrl, urls.brokerUrl);
  const results = showUrl(config.resultBackend, urls.resultBackend);
  const queues = worker.queues.map((name) => config.taskQueues[name] ?? { name, exchange: "", routingKey: name });
  const tasks = [...app.tasks.keys()].sort();
  if (options.logFormat === "json") {
    log("info", `${worker.hostname} starts`, {
      version: VERSION,
      app: app.name,
      broker,
      results,
      concurrency: worker.concurrency,
      pool: options.pool,
      queues: queues.map(({ name, exchange, routingKey }) => ({ name, exchange, routingKey })),
      tasks,
    });
    return;
  }
  const width = Math.max(...queues.map(({ name }) => name.length));
  const left = " ".repeat(16);
  print(
    [
      "",
      ` -------------- ${worker.hostname} v${VERSION}`,
      " -------------- [config]",
      `${left}.> app:         ${app.name} (${options.app})`,
      `${left}.> broker:      ${broker}`,
      `${left}.> results:     ${results}`,
      `${left}.> concurrency: ${worker.concurrency} (${options.pool})`,
      " -------------- [queues]",
      ...queues.map(
        ({ name, exchange, routingKey }) =>
          `${left}.> ${name.padEnd(width)}  exchange=${exchange || '""'}(direct) key=${routingKey}`,
      ),
      "",
      "[tasks]",
      ...tasks.map((name) => `  . ${name}`),
      "",
    ].join("\n"),
  );
}

/** A URL as others may see it: a password masked, the file named that it means. */
export const showUrl = (url: string, absolute = url): string =>
  url.startsWith("sqlite:") ? `${maskUrl(url)} (${fileOf(absolute)})` : maskUrl(url);
