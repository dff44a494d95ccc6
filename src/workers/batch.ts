/**
 * Batches: calls of one task that are handed to one run of its function. Each call is claimed, ends and is followed by itself;
 * only the function is called once for all that are gathered in this worker, in a context of the batch's own.
 */
import { batchSteps, surround } from "../around.ts";
import type { Delivery } from "../brokers/broker.ts";
import { LovageError } from "../errors.ts";
import { createMessage, type Message } from "../protocol/message.ts";
import { type BatchCall, batchFunction, batchOf, entriesOf, waitOf } from "../tasks/batch.ts";
import type { RunningTask, TaskContext } from "../tasks/context.ts";
import { loggerOf } from "../tasks/logger.ts";
import type { Task } from "../tasks/task.ts";
import { Stop } from "./stop.ts";
import { Scope, type ScopeLimits, storage } from "./scope.ts";
import type { Attempt } from "./trace.ts";

/** Where it is known which calls come, what is late is not waited for longer than this, in milliseconds. */
const COMING_WAIT_MS = 200;

/** The batches that a worker gathers. */
export interface Batches {
  readonly open: Map<Task, { full(): void }>;
  /** Nothing more comes, so nothing is waited for. */
  isHurried: boolean;
  /** Calls on their way to a batch, where that is known. */
  coming: Set<Delivery> | undefined;
}

/** Does something in the async context that a message came in: outside of what was laid around the run of its task. */
export type Outside = <T>(work: () => T) => T;

/** Where a call waits for others. */
export interface Gathering {
  readonly batches: Batches;
  readonly outside: Outside;
  /** Says that the call is there. */
  readonly arrived: () => void;
}

interface Gathered {
  readonly call: BatchCall;
  readonly self: RunningTask;
  readonly scope: Scope;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

interface Open {
  readonly calls: Set<Gathered>;
  /** It begins with what there is. */
  full(): void;
}

/** Has a call wait until its batch is full, or its time is over, and gives what the function gave for it. */
export function gather(attempt: Attempt, scope: Scope, args: readonly unknown[]): Promise<unknown> {
  const { task, request, gathering } = attempt;
  return new Promise((resolve, reject) => {
    const { self } = scope;
    const { signal } = self;
    const call: BatchCall = { id: request.id, args, request, signal };
    const gathered: Gathered = { call, self, scope, resolve, reject };
    if (gathering === undefined) return void run(attempt, [gathered]);
    const { batches, outside, arrived } = gathering;
    const batch = (batches.open.get(task) as Open | undefined) ?? open(attempt, batches, outside);
    batch.calls.add(gathered);
    // Who is told to stop while it waits is no part of it.
    const leave = () => {
      if (batch.calls.delete(gathered)) reject(signal.reason);
    };
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
    if (batch.calls.size >= (batchOf(task)?.size ?? 1) || batches.isHurried) batch.full();
    arrived();
  });
}

function open(attempt: Attempt, { open, coming }: Batches, outside: Outside): Open {
  const { task, clock } = attempt;
  const longest = coming === undefined ? Number.POSITIVE_INFINITY : COMING_WAIT_MS;
  const stop = new AbortController();
  const calls = new Set<Gathered>();
  const batch: Open = {
    calls,
    full() {
      if (open.get(task) === batch) open.delete(task);
      stop.abort("full");
    },
  };
  open.set(task, batch);
  void clock.sleep(Math.min(longest, waitOf(task)), stop.signal).then(() => {
    batch.full();
    const gathered = [...calls];
    calls.clear();
    return outside(() => run(attempt, gathered));
  });
  return batch;
}

/** Calls the function once for all of them that have not expired. Never throws. */
async function run(attempt: Attempt, gathered: readonly Gathered[]): Promise<void> {
  const { task } = attempt;
  const calls = gathered.filter(({ scope, reject }) => {
    try {
      scope.begin();
      return true;
    } catch (error) {
      reject(error);
      return false;
    }
  });
  if (calls.length === 0) return;
  const scope = new BatchScope(attempt, calls);
  const { engine } = attempt.sender;
  const steps = batchSteps(
    engine.arounds,
    calls.map(({ call }) => call.request),
  );
  const work = async () => {
    const entries = await storage.run(scope, runFunction, task, calls);
    await scope.drain();
    return entries;
  };
  try {
    const entries = await surround(steps, work, () => {}, engine.reportAround);
    for (const [at, { resolve, reject }] of calls.entries()) {
      const entry = entries[at];
      if (entry !== undefined && "error" in entry) reject(entry.error);
      else resolve(entry?.value);
    }
  } catch (error) {
    await scope.drainAfter(error)?.catch(() => {});
    for (const { reject } of calls) reject(error);
  } finally {
    scope.close(true);
  }
}

const runFunction = async (task: Task, calls: readonly Gathered[]) =>
  entriesOf(task.name, calls.length, await batchFunction(task)?.(calls.map(({ call }) => call)));

/** Is stopped when the last of them is. */
function stopOf(calls: readonly Gathered[]): Stop {
  const all = new Stop();
  let left = calls.length;
  for (const { signal } of calls.map(({ call }) => call)) {
    const one = () => {
      left--;
      if (left === 0) all.stop(signal.reason);
    };
    if (signal.aborted) one();
    else signal.addEventListener("abort", one, { once: true });
  }
  return all;
}

/**
 * The run of a batch. It is open for as long as one of its calls is, so that none of them ends the sends of the others. What it
 * sends is nobody's child.
 */
class BatchScope extends Scope {
  readonly #calls: readonly Gathered[];

  constructor(attempt: Attempt, calls: readonly Gathered[]) {
    const message = createMessage({ id: `a batch of ${calls.length}`, task: attempt.task.name });
    const stop = stopOf(calls);
    super({ ...attempt, message }, { stop, since: 0, restart() {} }, (error) => {
      for (const { scope } of calls) scope.fail(error);
    });
    this.#calls = calls;
  }

  override get isOpen(): boolean {
    return super.isOpen && this.#calls.some(({ scope }) => scope.isOpen);
  }

  override get parent(): Message | undefined {
    return undefined;
  }

  override get fields(): Readonly<Record<string, unknown>> {
    return { task: this.message.task, calls: this.#calls.length };
  }

  override runs(id: string): boolean {
    return this.#calls.some(({ call }) => call.id === id);
  }

  protected override context({ task }: Attempt, { stop }: ScopeLimits): TaskContext {
    const { name, app } = task;
    const calls = this.#calls;
    const refuse = (what: string, instead = `declare ${name} by app.task() if it needs that`) =>
      new LovageError(`${what} is of one call, and ${name} runs here for all calls of a batch; ${instead}`);
    const again =
      "return new Retry(reason, { countdown }) at the place of the call that is to run again, or throw it for all";
    const scope = this;
    return {
      app,
      name,
      get request(): never {
        throw refuse("request", "see the request of each call that the function is given");
      },
      get signal() {
        return stop.signal;
      },
      get log() {
        return loggerOf(scope.say);
      },
      remaining() {
        const open = calls.filter(({ scope }) => scope.isOpen);
        return open.length === 0 ? 0 : Math.min(...open.map(({ self }) => self.remaining()));
      },
      retry() {
        throw refuse("retry()", again);
      },
      rateLimited() {
        throw refuse("rateLimited()", again);
      },
      checkpoint() {
        throw refuse("checkpoint()");
      },
      replace() {
        throw refuse("replace()");
      },
      updateState: async () => {
        throw refuse("updateState()");
      },
      write: async () => {
        throw refuse("write()");
      },
      addToChord: async () => {
        throw refuse("addToChord()");
      },
    };
  }
}
