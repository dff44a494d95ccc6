/** What an app tells those who listen: Celery's signals, one small typed emitter. Tracing and metrics stand on it. */
import { ImproperlyConfigured } from "./errors.ts";
import { didYouMean } from "./nearest.ts";
import { show } from "./parse.ts";
import type { Message } from "./protocol/message.ts";
import type { Request } from "./tasks/context.ts";

/** What every signal of a task says. */
interface TaskFacts {
  /** The task's name. */
  readonly task: string;
  /** The task's id. */
  readonly taskId: string;
}

/** The signals by name, with what a handler gets. */
export interface Signals {
  /** A message is about to be sent. What a handler puts into `headers` travels with it: the place for a trace's context. */
  beforeTaskPublish: { readonly message: Message; readonly queue: string; readonly headers: Record<string, unknown> };
  /** A message was accepted by the broker. */
  afterTaskPublish: { readonly message: Message; readonly queue: string };
  /** A worker has taken a message from a queue and knows its task. */
  taskReceived: TaskFacts & { readonly request: Request };
  /** A task is about to run. */
  taskPrerun: TaskFacts & { readonly request: Request; readonly args: readonly unknown[] };
  /** A task has run and its outcome is stored. */
  taskPostrun: TaskFacts & {
    readonly request: Request;
    readonly state: string;
    readonly result: unknown;
    readonly runtime: number;
  };
  /** A task has succeeded, and its result is stored. `runtime` is in seconds. */
  taskSuccess: TaskFacts & { readonly request: Request; readonly result: unknown; readonly runtime: number };
  /** A task has failed for good, and its outcome is stored. */
  taskFailure: TaskFacts & { readonly request: Request; readonly error: unknown };
  /** A task asked for another attempt, which is due at `eta`. */
  taskRetry: TaskFacts & { readonly request: Request; readonly reason: unknown; readonly eta: Date };
  /** A task was ended before or while it ran, and why. */
  taskRevoked: TaskFacts & { readonly request: Request; readonly reason: "revoked" | "expired" | "terminated" };
  /** A message became a dead letter. */
  taskRejected: {
    readonly task: string | undefined;
    readonly taskId: string | undefined;
    readonly queue: string;
    readonly reason: string;
  };
  /** A worker begins to fetch. */
  workerReady: { readonly hostname: string; readonly queues: readonly string[] };
  /** A worker has ended. */
  workerShutdown: { readonly hostname: string };
}

/** The name of a signal. */
export type SignalName = keyof Signals;
/** What is called for a signal. What it throws is logged, and changes nothing else. */
export type SignalHandler<N extends SignalName> = (facts: Signals[N]) => void | Promise<void>;

const NAMES: Readonly<Record<SignalName, true>> = {
  beforeTaskPublish: true,
  afterTaskPublish: true,
  taskReceived: true,
  taskPrerun: true,
  taskPostrun: true,
  taskSuccess: true,
  taskFailure: true,
  taskRetry: true,
  taskRevoked: true,
  taskRejected: true,
  workerReady: true,
  workerShutdown: true,
};

/** Handlers by signal. A handler that throws is reported and changes nothing for the task or for other handlers. */
export class Emitter {
  readonly #handlers = new Map<SignalName, Set<(facts: never) => void | Promise<void>>>();
  readonly #report: (signal: SignalName, error: unknown) => void;

  constructor(report: (signal: SignalName, error: unknown) => void) {
    this.#report = report;
  }

  /** Throws `ImproperlyConfigured` for a signal that does not exist, and for a handler that is no function. */
  on<N extends SignalName>(name: N, handler: SignalHandler<N>): () => void {
    const names = Object.keys(NAMES);
    if (!names.includes(name)) {
      throw new ImproperlyConfigured(
        "on",
        `there is no signal ${show(name)}${didYouMean(String(name), names)} (signals: ${names.join(", ")})`,
      );
    }
    if (typeof handler !== "function")
      throw new ImproperlyConfigured("on", `the handler of ${name} must be a function (given: ${show(handler)})`);
    const handlers = this.#handlers.get(name) ?? new Set();
    this.#handlers.set(name, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  /** Whether anybody listens: spares the making of facts that nobody wants. */
  has(name: SignalName): boolean {
    return (this.#handlers.get(name)?.size ?? 0) > 0;
  }

  /** Calls the handlers in the order of their registration, one after the other. Nothing is waited for where nobody listens. */
  emit<N extends SignalName>(name: N, facts: Signals[N]): Promise<void> | undefined {
    const handlers = this.#handlers.get(name);
    return handlers === undefined || handlers.size === 0 ? undefined : this.#call(name, handlers, facts);
  }

  async #call<N extends SignalName>(
    name: N,
    handlers: ReadonlySet<(facts: never) => void | Promise<void>>,
    facts: Signals[N],
  ): Promise<void> {
    for (const handler of handlers) {
      try {
        await (handler as SignalHandler<N>)(facts);
      } catch (error) {
        this.#report(name, error);
      }
    }
  }
}
