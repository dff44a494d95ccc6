/// <reference lib="esnext.disposable" preserve="true" />
// Imported: a test may have put fake timers in place of the global ones.
import { performance } from "node:perf_hooks";
import { setImmediate } from "node:timers";
import { loadLimited } from "#on-demand";
import type { Lovage } from "../app.ts";
import { type BeatState, beatState, tick } from "../beat/tick.ts";
import { type Duration, durationSeconds } from "../beat/schedule.ts";
import { slotId } from "../beat/slot-id.ts";
import { brief } from "../brief.ts";
import { type Broker, type Delivery, isDeadLetterQueue, isFifo } from "../brokers/broker.ts";
import type { ConfigInput } from "../config/config.ts";
import { checkApp } from "../check-app.ts";
import { ImproperlyConfigured, OperationalError } from "../errors.ts";
import type { LimitStore } from "../limits/store.ts";
import { peekEnvelope } from "../protocol/envelope.ts";
import { batchOf } from "../tasks/batch.ts";
import { isAnyLimited } from "../tasks/limits.ts";
import { beatEntries, comingEntries, sendSlot } from "../workers/beat.ts";
import { reportFault, watchFaults } from "../workers/faults.ts";
import { beatOnce } from "../workers/holding.ts";
import type { Log, LogLevel } from "../workers/log.ts";
import { createWorker, type Disposition, type Run } from "../workers/worker.ts";
import { type VirtualClock, virtualClock } from "./clock.ts";
import { observedBroker } from "./observed-broker.ts";
import { seededRandom } from "./random.ts";

/** How an app is put under test. */
export interface TestOptions {
  /** Settings for the test, over the app's own. Broker and backend are in memory unless they are said here. */
  readonly config?: ConfigInput | undefined;
  /** Where the clock stands at first. Default: 2026-01-01T00:00:00Z. */
  readonly now?: Date | undefined;
  /** Seed of all that is drawn, such as the jitter of a backoff. Ids begin with it: two apps on one store need two seeds. Default 1. */
  readonly seed?: number | undefined;
  /** Tasks at a time, 1 or more; calls that wait for their batch are not counted. Default 1, so that they run in the order of the queue. */
  readonly concurrency?: number | undefined;
  /** The queues that are worked on. Default: all that there are. */
  readonly queues?: readonly string[] | undefined;
  /** Send the slots of `beatSchedule`, and of entries put at run time, as `advance` passes them. Default false. */
  readonly beat?: boolean | undefined;
  /** Lays something around the broker, such as `hostileBroker`. */
  readonly broker?: ((broker: Broker) => Broker) | undefined;
}

/** A run of a task that has ended. */
export interface EndedRun {
  /** The task's name. */
  readonly task: string;
  /** The task's id. */
  readonly id: string;
  /** The queue that it came from. */
  readonly queue: string;
  /** The arguments that it ran with. */
  readonly args: readonly unknown[];
  /** Retries before this run: 0 in the first. */
  readonly retries: number;
  /** The state that was stored; `IGNORED` where none was. */
  readonly state: string;
  /** What a successful run returned; else `null`. */
  readonly result: unknown;
  /** What a run that failed or asked for a retry threw; else `undefined`. */
  readonly error: unknown;
}

/** What the worker logged. */
export interface LogLine {
  /** How important it is. */
  readonly level: LogLevel;
  /** The text. */
  readonly line: string;
  /** The same facts, for machines. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** An app under test, with a worker that runs in this process when it is told to. */
export interface TestApp {
  /** The app under test. */
  readonly app: Lovage;
  /** The time that app, worker and queues go by. */
  readonly clock: VirtualClock;
  /** What the worker logged so far. */
  readonly log: readonly LogLine[];
  /**
   * Runs what is ready, and what becomes ready by that, until nothing is. Returns the runs that ended, in that order.
   * It waits for each task to end; use `advance` where a task waits for the clock, as for a time limit. Calls of a batch task that
   * wait for more begin when nothing else is ready.
   */
  drain(): Promise<readonly EndedRun[]>;
  /**
   * Moves the clock on by `{ minutes: 5 }` or a number of milliseconds, from one instant at which something happens to
   * the next: what is delayed becomes due, sleepers wake, time limits and leases end, and beat's slots are sent. What is
   * ready runs before each step; a task that takes longer than a few real milliseconds counts as one that waits for the
   * clock. Returns the runs that ended. Throws `ImproperlyConfigured` for what is no duration of 0 or more.
   */
  advance(by: Duration | number): Promise<readonly EndedRun[]>;
  /** Puts a text into a queue as it is, as a producer elsewhere would. Default: the app's default queue. */
  put(body: string, queue?: string): Promise<void>;
  /** The dead letters, which stay where they are: of one dead-letter queue, or of all. */
  deadLetters(queue?: string): Promise<readonly Delivery[]>;
  /** The worker dies: what it has in hand is neither finished nor handed back, and another worker takes its place. */
  crash(): void;
  /** Puts the app back to where it was before the test. What was sent in the test is gone. */
  close(): Promise<void>;
  /** The same as `close`: `await using t = testApp(app)`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Tasks that wait for the clock are told from tasks that work by this: so long, in real milliseconds, nothing ends. */
const QUIET_MS = 10;
/** The same for a message that is being read and claimed: it hardly ever waits for the clock, but for a disk it does. */
const ADMISSION_MS = 200;
/** So long, in real milliseconds, a request to a result backend is waited for, wherever that is. */
const REQUEST_MS = 5_000;
/** Turns of the event loop in which what the clock woke comes to do something. */
const QUIET_TURNS = 10;
const HOSTNAME = "celery@test";

let apps = 0;

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/**
 * Puts an app under test: until it is closed, the app and its tasks work on queues and results in memory, by a clock
 * that only moves when it is told to, with ids that are counted and chance that is seeded. Nothing of the app's own
 * broker or backend is touched, and `LOVAGE_…` variables are not read.
 *
 * ```ts
 * await using t = testApp(app);
 * const result = await add.delay(1, 2);
 * await t.drain();
 * expect(await result.get()).toBe(3);
 * ```
 */
export function testApp(app: Lovage, options: TestOptions = {}): TestApp {
  checkApp(app);
  const { engine } = app;
  const concurrency = options.concurrency ?? 1;
  const clock = virtualClock(options.now?.getTime());
  const home = `memory://test-${++apps}`;
  let ids = 0;
  const { seed = 1 } = options;
  const series = ((seed - 1) >>> 0).toString(16).padStart(8, "0");
  /** Requests to the backend that are under way. */
  let requests = 0;
  const counted = <T>(request: Promise<T>): Promise<T> => {
    requests++;
    return request.finally(() => requests--);
  };
  /** When queues may have something new. */
  const instants = new Set<number>();
  const restore = engine.move({
    config: { brokerUrl: home, resultBackend: home, ...options.config },
    platform: {
      clock,
      random: seededRandom(seed),
      uuid: () => `${series}-0000-4000-8000-${String(++ids).padStart(12, "0")}`,
      env: {},
    },
    wrapBackend: (backend) => ({
      ...backend,
      apply: (commands, unit) => counted(backend.apply(commands, unit)),
      read: (keys, how) => counted(backend.read(keys, how)),
    }),
    wrapBroker(broker) {
      const observed = observedBroker(broker, clock.now, (instant) => instants.add(instant));
      return options.broker?.(observed) ?? observed;
    },
  });
  // Rows of limits may be as far away as all others.
  const { limits } = engine;
  const counting = new WeakMap<LimitStore, LimitStore>();
  engine.limits = async () => {
    const store = await counted(limits.call(engine));
    const there = counting.get(store) ?? {
      ...store,
      decide: (key, decision) => counted(store.decide(key, decision)),
    };
    counting.set(store, there);
    return there;
  };
  const { config } = engine;
  const visibility = config.brokerTransportOptions.visibilityTimeout * 1000;

  const log: LogLine[] = [];
  const say: Log = (level, line, fields = {}) => void log.push({ level, line, fields });
  const startWorker = () =>
    createWorker(app, {
      hostname: HOSTNAME,
      log: say,
      lease: () => clock.now() + visibility,
    });
  let worker = startWorker();
  // What a task does to its process fails the task, as it would in a worker of its own.
  const unwatch = watchFaults({
    app,
    ownsProcess: true,
    ofTask: (kind, error, scope) => reportFault(say, kind, error, scope),
  });

  let ended: EndedRun[] = [];
  const errors = new Map<string, unknown>();
  const forget = [
    app.on("taskFailure", ({ taskId, error }) => void errors.set(taskId, error)),
    app.on("taskRetry", ({ taskId, reason }) => void errors.set(taskId, reason)),
    app.on("taskPostrun", ({ task, taskId, request, state, result }) => {
      const { queue, args, retries, isEager } = request;
      // That was its caller's run.
      if (isEager) return void errors.delete(taskId);
      ended.push({ task, id: taskId, queue, args, retries, state, result, error: errors.get(taskId) });
      errors.delete(taskId);
    }),
  ];
  const takeEnded = () => {
    const taken = ended;
    ended = [];
    return taken;
  };

  interface InHand {
    readonly id: number;
    readonly delivery: Delivery;
    /** A call of a batch, which takes no place from what runs. */
    readonly isGathered: boolean;
    run: Run | undefined;
    /** Read and claimed: from then on it is the task that keeps us waiting. */
    admitted: boolean;
    readonly done: Promise<void>;
  }
  const inHand = new Map<number, InHand>();
  let nextId = 0;
  let lastBeat = clock.now();

  async function queues(broker: Broker): Promise<readonly string[]> {
    if (options.queues !== undefined) return options.queues;
    const known = (await broker.queues()).filter((queue) => !isDeadLetterQueue(queue));
    return [...new Set([...Object.keys(config.taskQueues), ...known])];
  }

  /** Takes what is ready into hand, as far as there is room. Returns how many. */
  async function begin(): Promise<number> {
    const broker = await engine.broker();
    // Opened here, lest the first task be told from one that waits for the clock.
    await engine.backend();
    if (isAnyLimited(engine)) {
      await loadLimited();
      // Who asks for a place, or a start, is told of what is wrong with it.
      await engine.limits().catch(() => {});
    }
    let begun = 0;
    for (const queue of await queues(broker)) {
      for (let room = roomLeft(); room > 0; room = roomLeft()) {
        // One at a time keeps the order of a group: while it is in hand, the queue keeps back what is behind it.
        const max = isFifo(queue) ? 1 : room;
        const deliveries = await broker.receive(queue, { max, wait: 0, visibility }).catch(refused);
        if (deliveries.length === 0) break;
        deliveries.forEach(start);
        begun += deliveries.length;
      }
    }
    return begun;
  }

  const roomLeft = () => concurrency - [...inHand.values()].filter(({ isGathered }) => !isGathered).length;

  /** A receive that failed for a passing reason is tried again a second later. */
  function refused(error: unknown): readonly Delivery[] {
    if (!(error instanceof OperationalError && error.retryable)) throw error;
    instants.add(clock.now() + 1000);
    return [];
  }

  function start(delivery: Delivery): void {
    const id = nextId++;
    if (inHand.size === 0) lastBeat = clock.now();
    const { task: name = "" } = peekEnvelope(delivery.body);
    const task = engine.task(name);
    const isGathered = task !== undefined && batchOf(task) !== undefined;
    const held: InHand = { id, delivery, isGathered, run: undefined, admitted: false, done: work() };
    inHand.set(id, held);

    async function work(): Promise<void> {
      const admission = await worker.admit(delivery);
      held.admitted = true;
      // A worker that died begins nothing, and acknowledges nothing.
      if (!inHand.has(id)) return;
      if ("run" in admission) held.run = admission.run;
      const disposition = "run" in admission ? (await admission.run.execute()).disposition : admission.disposition;
      if (!inHand.has(id)) return;
      await dispose(delivery, disposition);
      inHand.delete(id);
    }
  }

  async function dispose(delivery: Delivery, given: Disposition): Promise<void> {
    const broker = await engine.broker();
    const disposition = await worker.handBack(delivery, given);
    switch (disposition.type) {
      case "delete":
        await broker.delete([delivery]);
        break;
      case "handBack":
        await broker.changeVisibility([{ delivery, visibility: disposition.visibility }]);
        break;
      case "leave":
        break;
      default:
        disposition satisfies never;
    }
  }

  const isBusy = () => inHand.size > 0;
  const isAdmitting = () => [...inHand.values()].some(({ admitted }) => !admitted);
  const anyDone = () => Promise.race([...inHand.values()].map(({ done }) => done));

  /** Gives what stirred the time to do something: until a task in hand ends, or for so long that it must wait for the clock. */
  async function progress(): Promise<boolean> {
    let ended = false;
    if (isBusy()) void anyDone().then(() => (ended = true));
    const began = performance.now();
    let quiet = began;
    const isPatient = () => {
      const now = performance.now();
      if (requests > 0 && now - began < REQUEST_MS) quiet = now;
      return isBusy() && now - quiet < (isAdmitting() ? ADMISSION_MS : QUIET_MS);
    };
    for (let turns = 0; !ended && (turns < QUIET_TURNS || isPatient()); turns++) await turn();
    return ended;
  }

  /** Runs what is ready until nothing is, or all that is in hand waits for the clock. `stirred`: something was woken. */
  async function settle(stirred: boolean): Promise<void> {
    for (let active = stirred; (await begin()) > 0 || active; ) active = await progress();
  }

  async function drain(): Promise<readonly EndedRun[]> {
    while ((await begin()) > 0 || isBusy()) {
      if (![...inHand.values()].every(({ isGathered }) => isGathered)) await anyDone();
      else if (!(await progress())) {
        worker.hurry(true);
        worker.hurry(false);
      }
    }
    return takeEnded();
  }

  async function advance(by: Duration | number): Promise<readonly EndedRun[]> {
    const ms = typeof by === "number" ? by : durationSeconds("advance", by) * 1000;
    if (!(ms >= 0 && ms < Number.POSITIVE_INFINITY))
      throw new ImproperlyConfigured(
        "advance",
        `must be a duration of 0 or more, and is ${typeof by === "number" ? by : brief(by, 100)}`,
      );
    const target = clock.now() + ms;
    await settle(true);
    await beat?.update();
    for (let next = nextInstant(); next <= target; next = nextInstant()) {
      const woken = (clock.next() ?? Number.POSITIVE_INFINITY) <= next;
      clock.moveTo(next);
      const happened = await pass();
      await settle(woken || happened);
      await beat?.update();
    }
    clock.moveTo(target);
    return takeEnded();
  }

  /** The next instant at which anything can happen. */
  function nextInstant(): number {
    const now = clock.now();
    let next = Math.min(clock.next() ?? Number.POSITIVE_INFINITY, beat?.next() ?? Number.POSITIVE_INFINITY);
    if (isBusy()) next = Math.min(next, Math.max(now, lastBeat + visibility / 3));
    for (const instant of instants) {
      if (instant <= now) instants.delete(instant);
      else if (instant < next) next = instant;
    }
    return next;
  }

  /** What the clock itself brings about: slots, and the worker's heartbeats. Returns whether a task was told to stop. */
  async function pass(): Promise<boolean> {
    await beat?.send();
    if (!isBusy() || clock.now() < lastBeat + visibility / 3) return false;
    lastBeat = clock.now();
    const holdings = [...inHand.values()].map(({ id, delivery, run }) => ({
      id,
      delivery,
      claim: run?.claim,
      deadline: Number.POSITIVE_INFINITY,
    }));
    await Promise.all([...inHand.values()].map(({ run }) => run?.noteRunning()));
    const findings = await beatOnce(await engine.broker(), await engine.backend(), holdings, lastBeat, visibility);
    const told = findings.filter(({ finding }) => finding === "terminate");
    for (const { id } of told) inHand.get(id)?.run?.terminate();
    return told.length > 0;
  }

  const beat = options.beat === true ? createBeat(app, clock) : undefined;

  async function close(): Promise<void> {
    for (const stop of forget) stop();
    unwatch();
    engine.limits = limits;
    await restore();
  }

  return {
    app,
    clock,
    log,
    drain,
    advance,
    async put(body, queue = config.taskDefaultQueue) {
      const [failed] = await (await engine.broker()).send([{ queue, body }]);
      if (failed !== undefined) throw failed;
    },
    async deadLetters(queue) {
      const broker = await engine.broker();
      const names = queue === undefined ? (await broker.queues()).filter(isDeadLetterQueue) : [queue];
      const letters = names.map((name) => broker.receive(name, { max: 10_000, wait: 0, visibility: 0 }));
      return (await Promise.all(letters)).flat();
    },
    crash() {
      inHand.clear();
      worker = startWorker();
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Beat's slots by a clock that is moved from slot to slot. */
function createBeat(app: Lovage, clock: VirtualClock) {
  const { timezone } = app.config;
  const declared = beatEntries(app);
  let entries = declared;
  let state: BeatState = beatState(entries, timezone, { covered: clock.now() });
  return {
    /** Takes up what was put at run time since the last look. */
    async update(): Promise<void> {
      const coming = await (await comingEntries(app))?.list();
      if (coming === undefined || (coming.length === 0 && entries === declared)) return;
      entries = [...declared, ...coming];
      // An entry counts from its own `since`, and what has been sent is covered.
      state = beatState(entries, timezone, state);
    },
    next: (): number | undefined =>
      state.upcoming.reduce(
        (first, slot) => (first === undefined || (slot !== undefined && slot < first) ? slot : first),
        undefined,
      ),
    async send(): Promise<void> {
      const step = tick(entries, timezone, state, clock.now());
      state = step.state;
      await Promise.all(
        step.due.map(({ entry, slot }) => sendSlot(app, entry, slot, slotId(app.name, entry.name, slot))),
      );
    },
  };
}
