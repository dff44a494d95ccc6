/**
 * Keeps what a worker has in hand: visibility of messages and leases of claims are extended while their tasks run. The
 * long-lived poller does it from a thread of its own, so that a task which never yields cannot lose its claim.
 */
import { Worker as Thread } from "node:worker_threads";
import type { Broker, Delivery } from "../brokers/broker.ts";
import type { Config } from "../config.ts";
import type { Backend } from "../results/backend.ts";
import type { Final } from "../results/record.ts";
import { LovageError } from "../errors.ts";
import { type BoardMemory, boardMemory, boardWriter } from "./board.ts";

/** What is kept: a delivery, and the claim on its task where one was made. */
export interface Holding {
  readonly id: number;
  readonly delivery: Pick<Delivery, "queue" | "receipt" | "messageId">;
  readonly claim: { readonly key: string; readonly owner: string } | undefined;
  /** When the run must have ended, by {@link monotonic}; `Infinity` without a time limit. */
  readonly deadline: number;
  /** Stores that it had not ended by then, for a run that blocks the event loop and cannot be told. */
  readonly overrun?: Omit<Final, "now" | "ttl"> | undefined;
}

/** What a beat found out about a holding. */
export interface Finding {
  readonly id: number;
  /** `overrun`: it blocks the process beyond its time, and its outcome was stored. */
  readonly finding: "terminate" | "lost" | "overrun";
}

/** Milliseconds that pass whatever the clock is set to, the same in all threads of the process. */
export const monotonic = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;

/** One beat: everything in hand is kept for another `visibility` milliseconds. */
export async function beatOnce(
  broker: Broker,
  backend: Backend,
  holdings: readonly Holding[],
  now: number,
  visibility: number,
): Promise<readonly Finding[]> {
  if (holdings.length === 0) return [];
  const claimed = holdings.filter((holding) => holding.claim !== undefined);
  const [, outcomes] = await Promise.all([
    broker.changeVisibility(holdings.map(({ delivery }) => ({ delivery: delivery as Delivery, visibility }))),
    backend.apply(
      claimed.map(({ claim }) => ({
        type: "extend",
        key: claim?.key ?? "",
        owner: claim?.owner ?? "",
        now,
        lease: now + visibility,
      })),
    ),
  ]);
  return claimed.flatMap(({ id }, index): Finding[] => {
    const outcome = outcomes[index];
    // An extension that failed for a passing reason is made up for by the next: the lease is three beats long.
    if (outcome === undefined || outcome instanceof Error) return [];
    // What it has settled or handed back itself is its own still.
    if (outcome.type === "refused")
      return outcome.row?.owner === claimed[index]?.claim?.owner ? [] : [{ id, finding: "lost" }];
    return outcome.type === "written" && outcome.revoked === "terminate" ? [{ id, finding: "terminate" }] : [];
  });
}

export interface Heartbeat {
  hold(holding: Holding): void;
  drop(id: number): void;
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
  /** {@link PollOptions.ownsProcess} */
  readonly ownsProcess: boolean;
  /** {@link HeartbeatSetup.leadsGroup} */
  readonly leadsGroup: boolean;
  /** It cannot be kept up any more. */
  readonly dead: (error: unknown) => void;
}

/** A holding as JSON: a list, which is written twice for each task. */
type HoldingText = string;

type HoldingList = readonly [
  id: number,
  queue: string,
  receipt: string,
  messageId: string,
  claim: Holding["claim"] | null,
  /** JSON has no infinity: `null` is a deadline that never comes. */
  deadline: number | null,
  overrun?: Holding["overrun"],
];

function writeHolding({ id, delivery: { queue, receipt, messageId }, claim, deadline, overrun }: Holding): HoldingText {
  const owned = claim === undefined ? null : { key: claim.key, owner: claim.owner };
  const end = deadline === Number.POSITIVE_INFINITY ? null : deadline;
  const list: HoldingList = [id, queue, receipt, messageId, owned, end];
  return JSON.stringify(overrun === undefined ? list : [...list, overrun]);
}

/** Written by {@link writeHolding}, and by nobody else. */
export function readHolding(text: HoldingText): Holding {
  const [id, queue, receipt, messageId, claim, deadline, overrun] = JSON.parse(text) as HoldingList;
  return {
    id,
    delivery: { queue, receipt, messageId },
    claim: claim ?? undefined,
    deadline: deadline ?? Number.POSITIVE_INFINITY,
    overrun,
  };
}

/** How the thread is told of a holding for which the board has no room. */
export type HeartbeatOrder = { readonly hold: HoldingText } | { readonly drop: number };

export interface HeartbeatSetup {
  readonly config: Pick<
    Config,
    | "brokerUrl"
    | "resultBackend"
    | "brokerTransportOptions"
    | "resultBackendTransportOptions"
    | "journal"
    | "journalExpires"
  >;
  /** Milliseconds. */
  readonly visibility: number;
  /** Where the holdings are: a message for each would wake the thread for every task, however short. */
  readonly board: BoardMemory;
  /** Whether the process may be ended where a task blocks it. */
  readonly ownsProcess: boolean;
  /** Whether the process leads a group of its own, which ends with it. */
  readonly leadsGroup: boolean;
}

/** What the thread says. `gone`: nothing can be kept any more, and why. */
export type HeartbeatReport =
  | Finding
  | { readonly error: string }
  | { readonly gone: string }
  | { readonly ready: true };

/** A board has room for so many holdings at most; those of larger workers go by message. */
const MOST_PLACES = 4096;

/** What lives in one process cannot be reached from a thread. */
const isShared = ({ brokerUrl, resultBackend }: Config): boolean =>
  [brokerUrl, resultBackend].every((url) => /^(sqlite|sqs|dynamodb):/.test(url));

export const startHeartbeat = (options: HeartbeatOptions): Heartbeat =>
  isShared(options.config) ? startThread(options) : startTimer(options);

function startTimer({ visibility, broker, backend, found, failed }: HeartbeatOptions): Heartbeat {
  const holdings = new Map<number, Holding>();
  const timer = setInterval(async () => {
    try {
      const findings = await beatOnce(await broker(), await backend(), [...holdings.values()], Date.now(), visibility);
      findings.forEach(found);
    } catch (error) {
      failed(error);
    }
  }, visibility / 3);
  return {
    hold: (holding) => void holdings.set(holding.id, holding),
    drop: (id) => void holdings.delete(id),
    stop: async () => clearInterval(timer),
    ready: Promise.resolve(),
  };
}

/** A thread that does not come up is tried so often before it is given up. */
const MOST_STARTS = 3;

function startThread(options: HeartbeatOptions): Heartbeat {
  const { config, visibility, capacity, ownsProcess, leadsGroup, found, failed, dead } = options;
  const { brokerUrl, resultBackend, brokerTransportOptions, resultBackendTransportOptions } = config;
  const { journal, journalExpires } = config;
  const board = boardMemory(Math.min(capacity, MOST_PLACES));
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
    ownsProcess,
    leadsGroup,
  };
  const ready = Promise.withResolvers<void>();
  // Whoever starts it waits for it.
  ready.promise.catch(() => {});
  /** Holdings that the board has no room for, which the thread is told of by message. */
  const told = new Map<number, HoldingText>();
  let thread: Thread;
  let starts = 0;
  let isStopped = false;

  function start(): void {
    starts++;
    let why: unknown = new Error("its thread ended");
    const started = startCode(setup, starts > 1);
    thread = started;
    started.on("message", (message: HeartbeatReport) => {
      if ("ready" in message) {
        starts = 0;
        ready.resolve();
        // Until now somebody waits for it.
        started.unref();
      } else if ("gone" in message) dead(new LovageError(message.gone));
      else if ("error" in message) failed(new Error(message.error));
      else found(message);
    });
    started.on("error", (error) => {
      why = error;
    });
    started.on("exit", () => {
      if (isStopped) return;
      if (starts < MOST_STARTS) {
        failed(why);
        start();
        return;
      }
      const error = new LovageError(`the thread of the heartbeat does not start: ${String(why)}`, { cause: why });
      ready.reject(error);
      dead(error);
    });
    for (const hold of told.values()) tell({ hold });
  }

  const { put, remove } = boardWriter(board);
  const tell = (order: HeartbeatOrder) => thread.postMessage(order);
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
    async stop() {
      isStopped = true;
      await thread.terminate();
    },
  };
}

/** `plainly`: without what the process was told to load before all else, which may not do for a thread. */
function startCode(setup: HeartbeatSetup, plainly: boolean): Thread {
  const { NODE_OPTIONS: _, ...env } = process.env;
  const options = { workerData: setup, ...(plainly && { execArgv: [], env }) };
  // A checkout runs the sources, the package what was made of them. Bundlers look for just this expression.
  return import.meta.url.endsWith(".ts")
    ? new Thread(new URL("./heartbeat-thread.ts", import.meta.url), options)
    : new Thread(new URL("./heartbeat-thread.js", import.meta.url), options);
}
