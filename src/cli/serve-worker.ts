/** The process that runs a worker's tasks, and the one that runs a task which has killed others. */
import { hostname as machineName } from "node:os";
import type { Lovage } from "../app.ts";
import { maskUrl } from "../brief.ts";
import type { WorkerPool } from "../config/config.ts";
import { fileOf } from "../file-url.ts";
import type { Log, LogLevel } from "../workers/log.ts";
import { checkConcurrency, concurrencyOf, type PollingWorker, startPoller } from "../workers/poll.ts";
import { apartBy } from "./apart.ts";
import { cloudWatchLines, watchers } from "./cloudwatch.ts";
import { EXIT, report } from "./exit.ts";
import { startHealth } from "./health.ts";
import { loadAhead, loadSharedApp } from "./load.ts";
import { noteModules } from "./modules.ts";
import { DEFAULT_ADDRESS } from "./options.ts";
import { createLog, lineWriter, type LogFormat, print, redirectPrints } from "./output.ts";
import { startPool } from "./pool.ts";
import { keeper, type Order } from "./supervise.ts";
import { VERSION } from "./version.ts";
import type { WorkerCommandOptions } from "./worker.ts";

export interface PoolOptions extends WorkerCommandOptions {
  readonly first: boolean;
  /** It is kept by `lovage dev`: it waits until it is to load the app, and tells what that is made of. */
  readonly dev?: boolean;
}

/** The process that runs the tasks. */
export async function runPool(options: PoolOptions): Promise<void> {
  const parent = keeper();
  const log = createLog({ ...options, process: "MainProcess" });
  const writeLine = lineWriter();
  if (options.logFormat === "json") redirectPrints(log);
  const { dev } = options;
  let tell: (() => void) | undefined;
  try {
    if (dev) {
      await loadAhead(options.app);
      await parent.begin;
      tell = noteModules((modules) => void parent.say({ modules }));
    }
    const app = await loadSharedApp(options.app);
    tell?.();
    // Before anything runs: beat itself comes later, and would say the same.
    if (options.beat) (await import("../workers/beat.ts")).beatEntries(app);
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

/** The process that runs one task, which has killed others. */
export async function runSuspect(options: WorkerCommandOptions): Promise<void> {
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
