/** `lovage dev`: worker, beat and board in one terminal, and the worker anew whenever a file of the app is saved. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { basename, join, relative, resolve } from "node:path";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { finished } from "node:stream/promises";
import type { Command } from "commander";
import { noModule, splitApp } from "../app-module.ts";
import { projectFolder } from "../embedded.ts";
import { ImproperlyConfigured } from "../errors.ts";
import type { LogLevel } from "../workers/log.ts";
import { parsePort } from "./board.ts";
import { EXIT, onStop } from "./exit.ts";
import { appFile } from "./load.ts";
import { appOption, listOption, logLevelOption, parseCount, parseSeconds } from "./options.ts";
import { prefixer } from "./output.ts";
import { keep, type Kept, killGroup, type Order, type Told } from "./supervise.ts";
import { watchFiles } from "./watch.ts";

interface DevOptions {
  readonly app: string;
  readonly loglevel: LogLevel;
  readonly queues?: readonly string[];
  readonly concurrency?: number;
  readonly grace?: number;
  readonly port?: number;
  readonly beat: boolean;
  readonly board: boolean;
}

/** A module that has not been loaded after this is spoken of, and after this given up: something at its top waits, or loops. In milliseconds. */
const SLOW_MS = 5_000;
const STUCK_MS = 60_000;
/** A worker that was told to stop, and has neither ended nor given up its tasks so long after its grace, holds its process busy. */
const DEAF_MS = 10_000;
/** A command that was told to stop has so long. */
const COMMAND_MS = 5_000;
/** What `workerSoftShutdownTimeout` is, in seconds, where it is not said; a longer one is the app's, which this process does not load. */
const GRACE_S = 20;

export function devCommand(program: Command): void {
  program
    .command("dev")
    .description("run worker, beat and board in one terminal; reload the worker when you save a file")
    .argument("[command...]", "a command to run beside them, after --, such as your web server")
    .addOption(appOption())
    .addOption(logLevelOption())
    .addOption(listOption("-Q, --queues <names>", "queues to serve (default: all of taskQueues)"))
    .option("-c, --concurrency <n>", "tasks at a time", parseCount)
    .option(
      "--grace <seconds>",
      "time for tasks in the old worker to end when a new one takes over (default: 20)",
      parseSeconds,
    )
    .option("--port <port>", "port of the board (default: 5555, or a free one)", parsePort)
    .option("--no-beat", "without beat")
    .option("--no-board", "without the board")
    .addHelpText(
      "after",
      `
When you save a file, a new worker loads the app. When it is ready, the old worker takes no new messages. Tasks that run in the old
worker end there. After the grace their signals abort, and tasks that do not end are handed back to the new worker.
When a file does not load (a syntax error, a module that throws), the old worker goes on until the next change.
It watches the files of the app, and not those of packages.

Exit codes: 0 after Ctrl-C or SIGTERM, 1 after a second signal or a fault, 2 wrong usage; if the command after -- ends, its exit code.

Examples:
  $ lovage dev -A ./tasks.ts
  $ lovage dev -A ./tasks.ts -- node --watch server.ts`,
    )
    .action(async (command: readonly string[], options: DevOptions) => {
      process.exitCode = await dev(options, command);
    });
}

/** One process that runs tasks, from the load of its modules to its end. */
interface Generation {
  readonly kept: Kept;
  /** Has it load the app. */
  readonly begin: () => void;
  /** When it began to load, on the clock of `performance`. */
  began: number;
  /** It takes nothing more. */
  readonly left: Promise<void>;
  /** Its output is through. */
  readonly quiet: () => Promise<unknown>;
  state: "waits" | "loads" | "works" | "leaves";
}

async function dev(options: DevOptions, command: readonly string[]): Promise<number> {
  const file = appFile(options.app);
  if (file === undefined)
    throw new ImproperlyConfigured(
      "--app",
      noModule(splitApp(options.app).path, "; npx lovage init writes a project that has one"),
    );
  const folder = projectFolder(process.cwd());
  const lock = await onlyOneIn(folder);
  const { line, follow } = prefixer(["dev", "worker", "beat", "board", ...(command.length > 0 ? ["web"] : [])]);
  const say = (words: string) => line("dev", words);
  const log = (level: LogLevel, words: string) => line("dev", `${level.toUpperCase()} ${words}`);
  const childOptions = { app: options.app, loglevel: options.loglevel, logFormat: "text", grace: options.grace };

  let stops = 0;
  let isFirst = true;
  const ended = Promise.withResolvers<number>();
  const generations = new Set<Generation>();
  const named = (files: readonly string[]) => files.map((one) => relative(process.cwd(), one)).join(", ");

  const watcher = watchFiles((files) => {
    if (stops === 0) load(named(files));
  });
  watcher.add(
    ["tsconfig.json", "package.json"].map((name) => resolve(name)),
    Number.POSITIVE_INFINITY,
  );
  watcher.add([file], Number.POSITIVE_INFINITY);

  /** A process that has all loaded but the project: what it needs longest for is behind it when a file is saved. */
  function prepare(): Generation {
    const outputs: Promise<unknown>[] = [];
    const left = Promise.withResolvers<void>();
    const kept = keep(
      "pool",
      {
        ...childOptions,
        queues: options.queues,
        concurrency: options.concurrency,
        hostname: "celery",
        // An app whose schedule is wrong is told so at once.
        beat: options.beat,
        dev: true,
        ...(isFirst ? {} : { first: false }),
      },
      log,
      {
        output(stream) {
          follow("worker", stream);
          outputs.push(finished(stream).catch(() => undefined));
        },
        told({ modules, takesNothing }: Told) {
          for (const [module, at] of modules ?? []) watcher.add([module], at);
          if (takesNothing) left.resolve();
        },
      },
    );
    const generation: Generation = {
      kept,
      begin() {
        generation.began = performance.now();
        kept.begin();
      },
      began: 0,
      left: left.promise,
      quiet: () => within(500, Promise.all(outputs)),
      state: "waits",
    };
    generations.add(generation);
    void kept.ended.then((code) => {
      left.resolve();
      leave(generation, code);
    });
    return generation;
  }

  let spare: Generation | undefined = prepare();
  const of = (state: Generation["state"]) => [...generations].filter((one) => one.state === state);

  /** One that was about to load what is old by now. */
  function drop(loading: Generation): void {
    loading.state = "leaves";
    loading.kept.kill();
  }

  let isGone = false;
  /** Has a new worker load the app. */
  function load(why?: string): void {
    const wasGone = isGone;
    isGone = appFile(options.app) === undefined;
    // A build that empties its folder first, such as `nest start --watch`, writes it anew in a moment.
    if (isGone) {
      if (!wasGone) say(`${options.app} is not there.${staying()} A new one starts when it is there again.`);
      return;
    }
    // The first may be the last that loads: it is the old one then.
    if (of("works").length > 0) for (const one of of("loads")) drop(one);
    const next = spare ?? prepare();
    spare = undefined;
    next.state = "loads";
    next.begin();
    const slow = setTimeout(() => {
      say(
        `${options.app} has not been loaded after ${SLOW_MS / 1000} s: something at its top waits, or never ends.${staying()}`,
      );
    }, SLOW_MS);
    const stuck = setTimeout(() => next.kept.kill(), STUCK_MS);
    void next.kept.ready.then(async (isReady) => {
      clearTimeout(slow);
      clearTimeout(stuck);
      if (next.state !== "loads" || stops > 0) return;
      if (!isReady) {
        next.state = "leaves";
        await next.quiet();
        if (stops > 0) return;
        say(`${why ?? options.app} could not be loaded.${staying()} It is tried again when a file is saved.`);
      } else {
        const olds = of("works");
        for (const old of olds) retire(old);
        for (const old of of("loads")) if (old.began < next.began) drop(old);
        next.state = "works";
        await within(DEAF_MS, Promise.all(olds.map(({ left }) => left)));
        const took = Math.round(performance.now() - next.began);
        if (why !== undefined && !isFirst) say(`${why} saved: a new worker took over after ${took} ms`);
        isFirst = false;
        renewSides();
      }
      // Not before: it would take its time from the one that is waited for.
      spare ??= prepare();
    });
  }

  const staying = () => (of("works").length > 0 ? " The old worker goes on." : "");

  function retire(old: Generation): void {
    old.state = "leaves";
    old.kept.order("warm");
    const deaf = setTimeout(
      () => {
        say(
          "a task of the old worker holds its process busy: it is ended, and the task runs again when its lease ends",
        );
        old.kept.kill();
      },
      (options.grace ?? GRACE_S) * 1000 + DEAF_MS,
    );
    void old.kept.ended.then(() => clearTimeout(deaf));
  }

  function leave(generation: Generation, code: number): void {
    const { state } = generation;
    generations.delete(generation);
    if (spare === generation) spare = undefined;
    if (stops > 0 || state !== "works") return;
    // Somebody has told it so, by app.control.
    if (code === EXIT.ok) stop();
    else say("the worker has ended. A new one starts when a file is saved.");
  }

  /** Beat and board show and send what the app says now: they are started anew after the worker, one after the other. */
  const sides = new Map<"beat" | "board", Kept>();
  let renewing: Promise<void> = Promise.resolve();
  let boardPort = options.port;
  let isShown = false;
  function renewSides(): void {
    renewing = renewing.then(async () => {
      for (const kind of ["beat", "board"] as const) {
        // Where the module is gone, they come with the worker that loads it when it is there again.
        if (!options[kind] || stops > 0 || isGone) continue;
        const old = sides.get(kind);
        old?.order("warm");
        await old?.ended;
        if (stops > 0) return;
        if (kind === "board") boardPort ??= await freePort(5555);
        const kept = keep(kind, { ...childOptions, host: "127.0.0.1", port: boardPort, readOnly: false }, log, {
          output: (stream) => follow(kind, stream),
          told({ url }: Told) {
            if (url === undefined) return;
            boardPort = Number(new URL(url).port);
            if (!isShown) line("board", url);
            isShown = true;
          },
        });
        sides.set(kind, kept);
        await kept.ready;
      }
    });
  }

  const web = command.length === 0 ? undefined : run(command, follow);
  void web?.ended.then((code) => {
    if (stops > 0) return;
    line("web", `${command.join(" ")} has ended with ${code}`);
    stop(code);
  });

  /** The first is warm, the second cold, the third ends all at once: as `lovage worker` has it. */
  function stop(code: number = EXIT.ok): void {
    stops++;
    watcher.close();
    const order: Order | undefined = ([undefined, "warm", "cold"] as const)[stops];
    const all = [...[...generations].map(({ kept }) => kept), ...sides.values()];
    for (const kept of all) order === undefined ? kept.kill() : kept.order(order);
    web?.end(stops > 1);
    if (order === undefined) process.exit(EXIT.failure);
    if (stops > 1) return;
    say("stops: what runs may end. Ctrl-C again gives it up.");
    void Promise.all([...all.map((kept) => kept.ended), web?.ended, renewing]).then(async () => {
      // One that was about to start has heard of it.
      for (const kept of sides.values()) kept.kill();
      await Promise.all([...sides.values()].map((kept) => kept.ended));
      ended.resolve(stops > 1 ? EXIT.failure : code);
    });
  }
  onStop(() => stop());
  process.on("SIGQUIT", () => {
    stops = Math.max(stops, 2);
    stop();
  });

  say(`${options.app} in ${folder}; a saved file reloads the worker`);
  load();
  const code = await ended.promise;
  lock.close();
  return code;
}

/** Two would share the queues, and each would run what the other was to run. A socket is let go of by whoever dies. */
async function onlyOneIn(folder: string): Promise<Server> {
  const name = `lovage-dev-${createHash("sha256").update(folder).digest("hex").slice(0, 16)}`;
  const path = process.platform === "win32" ? `\\\\.\\pipe\\${name}` : join(tmpdir(), `${name}.sock`);
  for (let isSecond = false; ; isSecond = true) {
    const server = createServer((socket) => socket.on("error", () => {}).end(String(process.pid)));
    try {
      server.listen(path);
      await once(server, "listening");
      return server.unref();
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "EADDRINUSE")
        throw new ImproperlyConfigured(
          "TMPDIR",
          `lovage dev cannot make its socket ${path} (${(cause as Error).message}): name a folder with a short path, in which you may write`,
          { cause },
        );
      const other = connect(path);
      const pid = await text(other).catch(() => undefined);
      if (pid !== undefined || isSecond)
        throw new ImproperlyConfigured(
          "dev",
          `another lovage dev runs in ${folder} already${pid ? ` (process ${pid})` : ""}: end that one first; two would share queues and results`,
          { cause },
        );
      // It was left behind by one that died.
      rmSync(path, { force: true });
    }
  }
}

/** A port if it is free, else 0, which is any. */
async function freePort(port: number): Promise<number> {
  const server = createServer();
  try {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return port;
  } catch {
    return 0;
  } finally {
    server.close();
  }
}

/** The user's own command. It is in a group of its own, so that all that it starts ends with it. */
function run(
  [program = "", ...args]: readonly string[],
  follow: (name: string, stream: Readable) => void,
): { readonly ended: Promise<number>; end(isHurried: boolean): void } {
  const isWindows = process.platform === "win32";
  const child: ChildProcess = spawn(program, args, {
    detached: !isWindows,
    shell: isWindows,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...(process.stdout.isTTY && !process.env["NO_COLOR"] && { FORCE_COLOR: process.env["FORCE_COLOR"] ?? "1" }),
      ...process.env,
    },
  });
  for (const stream of [child.stdout, child.stderr]) if (stream !== null) follow("web", stream);
  const end = Promise.withResolvers<number>();
  child.once("exit", (code) => {
    killGroup(child.pid);
    end.resolve(code ?? EXIT.failure);
  });
  child.once("error", (error) => {
    if (child.pid !== undefined) return;
    process.stderr.write(`${basename(program)} could not be started: ${error.message}\n`);
    end.resolve(EXIT.usage);
  });
  return {
    ended: end.promise,
    end(isHurried) {
      if (isHurried || child.pid === undefined) return killGroup(child.pid);
      try {
        process.kill(isWindows ? child.pid : -child.pid, "SIGTERM");
      } catch {
        // It has ended.
      }
      setTimeout(() => killGroup(child.pid), COMMAND_MS).unref();
    },
  };
}

const within = (ms: number, work: Promise<unknown>): Promise<unknown> =>
  Promise.race([work, new Promise((resolve) => setTimeout(resolve, ms).unref())]);
