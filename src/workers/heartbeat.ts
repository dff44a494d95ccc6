/**
 * Keeps what a worker has in hand: visibility of messages and leases of claims are extended while their tasks run. The
 * long-lived poller does it from a thread of its own, so that a task which never yields cannot lose its claim.
 */
import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
// biome-ignore lint/style/useNodejsImportProtocol: webpack knows a thread by this name of the module, and by no other.
import { isMainThread, Worker as Thread, workerData } from "worker_threads";
import type { Broker } from "../brokers/broker.ts";
import type { Config } from "../config/config.ts";
import type { Backend } from "../results/backend.ts";
import { LovageError } from "../errors.ts";
import { boardMemory, boardWriter } from "./board.ts";
import {
  asBeat,
  beatMemory,
  beatOnce,
  betweenBeats,
  clearBeats,
  type Finding,
  type HeartbeatOrder,
  type HeartbeatReport,
  type HeartbeatSetup,
  type Holding,
  type HoldingText,
  writeHolding,
} from "./holding.ts";

export interface Heartbeat {
  hold(holding: Holding): void;
  drop(id: number): void;
  /** Resolves when what was dropped is in no beat any more: only then may its message be hidden for less. */
  dropped(): Promise<void>;
  /**
   * The process ends now: gives everything back before it returns, or has taken too long. Of `culprits` the process dies.
   * Where what is in hand lives in this process, it ends with that.
   */
  lastWords(culprits: readonly number[]): void;
  stop(): Promise<void>;
  /** Resolves when it beats. Rejects where it cannot. */
  readonly ready: Promise<void>;
}

interface HeartbeatOptions {
  readonly config: Config;
  /** How long a beat keeps things, in milliseconds; a beat comes three times in it. */
  readonly visibility: number;
  /** About how many holdings there are at most. */
  readonly capacity: number;
  readonly broker: () => Promise<Broker>;
  readonly backend: () => Promise<Backend>;
  readonly found: (finding: Finding) => void;
  readonly failed: (error: unknown) => void;
  /** What was committed could not be brought from the log of a SQLite file into the file. */
  readonly logged: (why: string) => void;
  /** {@link PollOptions.ownsProcess} */
  readonly ownsProcess: boolean;
  /** {@link HeartbeatSetup.leadsGroup} */
  readonly leadsGroup: boolean;
  /** It cannot be kept up any more. */
  readonly dead: (error: unknown) => void;
}

/** A board has room for so many holdings at most; those of larger workers go by message. */
const MOST_PLACES = 4096;

/** What lives in one process cannot be reached from a thread, be it the store or what carries requests to it. */
const isShared = (config: Config): boolean =>
  [config.brokerUrl, config.resultBackend].every((url) => /^(sqlite|sqs|dynamodb):/.test(url)) &&
  config.brokerTransportOptions.requestHandler === undefined &&
  config.resultBackendTransportOptions.requestHandler === undefined;

export const startHeartbeat = (options: HeartbeatOptions): Heartbeat =>
  isShared(options.config) ? startThread(options) : startTimer(options);

/** A thread that waits to become the next heartbeat. */
let ahead: Thread | undefined;

/**
 * Gives the next heartbeat of this process a thread that has its code loaded, and becomes one with the first message that it
 * gets, the setup: to load it is half of a worker's start. One that dies before is not missed.
 */
export function prepareHeartbeat(thread: Thread): void {
  ahead = thread;
  const forget = () => {
    if (ahead === thread) ahead = undefined;
  };
  thread.once("error", forget).once("exit", forget);
}

function takeAhead(setup: HeartbeatSetup): Thread | undefined {
  const thread = ahead;
  ahead = undefined;
  thread?.ref();
  thread?.postMessage(setup);
  return thread;
}

function startTimer({ visibility, broker, backend, found, failed }: HeartbeatOptions): Heartbeat {
  const holdings = new Map<number, Holding>();
  const beats = beatMemory();
  const timer = setInterval(async () => {
    try {
      const [messages, rows] = await Promise.all([broker(), backend()]);
      const beat = () => beatOnce(messages, rows, [...holdings.values()], Date.now(), visibility);
      (await asBeat(beats, beat)).forEach(found);
    } catch (error) {
      failed(error);
    }
  }, visibility / 3);
  return {
    hold: (holding) => void holdings.set(holding.id, holding),
    drop: (id) => void holdings.delete(id),
    dropped: () => betweenBeats(beats),
    lastWords: () => {},
    stop: async () => clearInterval(timer),
    ready: Promise.resolve(),
  };
}

/** The end of the process waits so long for its last words, in milliseconds. */
const LAST_WORDS_MS = 3_000;

/** A thread that does not come up is tried so often before it is given up. */
const MOST_STARTS = 3;

function startThread(options: HeartbeatOptions): Heartbeat {
  const { config, visibility, capacity, ownsProcess, leadsGroup, found, failed, logged, dead } = options;
  const { brokerUrl, resultBackend, brokerTransportOptions, resultBackendTransportOptions } = config;
  const { journal, journalExpires } = config;
  const board = boardMemory(Math.min(capacity, MOST_PLACES));
  const beats = beatMemory();
  // Not all of the config: routes may be functions, which cannot be sent to a thread.
  const setup: HeartbeatSetup = {
    config: {
      brokerUrl,
      resultBackend,
      brokerTransportOptions,
      resultBackendTransportOptions,
      journal,
      journalExpires,
    },
    visibility,
    board,
    beats,
    ownsProcess,
    leadsGroup,
  };
  const ready = Promise.withResolvers<void>();
  // Whoever starts it waits for it.
  ready.promise.catch(() => {});
  /** Holdings that the board has no room for, which the thread is told of by message. */
  const told = new Map<number, HoldingText>();
  let thread: Thread;
  /** Given to the thread. */
  let orders = 0;
  let starts = 0;
  let isStopped = false;

  function start(): void {
    starts++;
    let why: unknown = new Error("its thread ended");
    const started = takeAhead(setup) ?? startCode(setup, starts > 1);
    thread = started;
    started.on("message", (message: HeartbeatReport) => {
      if ("ready" in message) {
        starts = 0;
        ready.resolve();
        // Until now somebody waits for it.
        started.unref();
      } else if ("gone" in message) dead(new LovageError(message.gone));
      else if ("error" in message) failed(new Error(message.error));
      else if ("logged" in message) logged(message.logged);
      else found(message);
    });
    started.on("error", (error) => {
      why = error;
    });
    started.on("exit", () => {
      // A beat that was under way has ended with it.
      clearBeats(beats);
      orders = 0;
      if (isStopped) return;
      if (starts < MOST_STARTS) {
        failed(why);
        start();
        return;
      }
      const remedy = isFileMissing(why)
        ? '. A bundler names its file by a path that is not there: have it leave lovage out of the bundle, with Next.js by serverExternalPackages: ["lovage"], with others by their externals (docs/how-to/web-frameworks.md)'
        : "";
      const error = new LovageError(`the thread of the heartbeat does not start: ${String(why)}${remedy}`, {
        cause: why,
      });
      ready.reject(error);
      dead(error);
    });
    for (const hold of told.values()) tell({ hold });
  }

  const { put, remove } = boardWriter(board);
  const tell = (order: HeartbeatOrder) => {
    orders++;
    thread.postMessage(order);
  };
  const untell = (id: number) => {
    if (told.delete(id)) tell({ drop: id });
  };
  start();
  return {
    ready: ready.promise,
    hold(holding) {
      const text = writeHolding(holding);
      if (put(holding.id, text, holding.deadline)) return untell(holding.id);
      told.set(holding.id, text);
      tell({ hold: text });
    },
    drop(id) {
      if (!remove(id)) untell(id);
    },
    dropped: () => betweenBeats(beats, orders),
    lastWords(culprits) {
      if (isStopped) return;
      const said = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
      tell({ end: said, culprits });
      // Nothing but this thread of the process can wait, and nothing in it will run any more.
      Atomics.wait(said, 0, 0, LAST_WORDS_MS);
    },
    async stop() {
      isStopped = true;
      // Nobody is to wait for what does not come any more.
      ready.resolve();
      await thread.terminate();
    },
  };
}

/** `plainly`: without what the process was told to load before all else, which may not do for a thread. */
function startCode(setup: HeartbeatSetup, plainly: boolean): Thread {
  const { NODE_OPTIONS: _, ...env } = process.env;
  const options = { workerData: setup, ...(plainly && { execArgv: [], env }) };
  const here = ownFile();
  // A checkout runs the sources, the package what was made of them. What the package has names of its own for is known there
  // by a hook, and each thread has its own hooks.
  if (here.endsWith(".ts")) {
    const execArgv = ["--import", new URL("../../scripts/source.ts", here).href];
    return new Thread(new URL("./heartbeat-thread.ts", here), { ...options, execArgv });
  }
  // Where neither is there, a bundler has put a path of the machine that it ran on in the place of `import.meta.url`.
  const isAlone = isMissing(new URL("./heartbeat-thread.js", here)) && !isMissing(new URL(here));
  const isBundle = import.meta.url === undefined || isAlone;
  if (isBundle) return new Thread(new URL(here), { ...options, workerData: { ...setup, [BUNDLED]: true } });
  // Bundlers that make a file of each thread look for just this expression.
  return new Thread(new URL("./heartbeat-thread.js", import.meta.url), options);
}

const isFileMissing = (error: unknown): boolean =>
  /^(ERR_)?MODULE_NOT_FOUND$/.test(String((error as { readonly code?: unknown }).code));

const isMissing = (file: URL): boolean => file.protocol === "file:" && !existsSync(file);

/** In a bundle that is CommonJS there is no `import.meta.url`. */
const ownFile = (): string =>
  (import.meta.url as string | undefined) ?? pathToFileURL(typeof __filename === "string" ? __filename : "").href;

/** Marks the thread that is a bundle of one file, in which this module stands beside all that the app is. */
const BUNDLED = "lovage:heartbeat";

/**
 * Such a thread is the heartbeat and nothing else: what comes after this module in the bundle, which is the app's own code,
 * is not to run in it. There is no way but a throw to keep it from that.
 */
function beHeartbeat(): never {
  const stop = new Error("the heartbeat begins");
  process.on("uncaughtException", (error) => {
    if (error !== stop) process.exit(1);
  });
  void import("./heartbeat-thread.ts");
  throw stop;
}

if (!isMainThread && (workerData as Record<string, unknown> | null)?.[BUNDLED] === true) beHeartbeat();
