/** What every step of a delivery's way needs: the app and its engine, and who this worker is. */
import type { Lovage } from "../app.ts";
import { type Delivery, isFifo } from "../brokers/broker.ts";
import { attemptOf, type Message, sentAgain, sentOf } from "../protocol/message.ts";
import { type MaybePromise, whenReady } from "../protocol/serializers.ts";
import type { Again, Claim, Outcome as Recorded } from "../results/record.ts";
import type { Request } from "../tasks/context.ts";
import type { TaskOptions } from "../tasks/options.ts";
import { taskKey } from "../results/backend.ts";
import { createRequest, optionsInForce } from "../tasks/request.ts";
import type { Task } from "../tasks/task.ts";
import { redriveOf } from "./dead-letter.ts";
import type { Source } from "./follow.ts";
import { carriedPlace } from "./held-place.ts";
import type { Log } from "./log.ts";
import { type Sender, senderOf } from "./sender.ts";
import type { Batches } from "./batch.ts";
import type { Unit } from "../unit.ts";

/** What a worker needs of its host. */
export interface WorkerOptions {
  /** The worker's name, `celery@host` by default in the poller. */
  readonly hostname: string;
  /** Where its lines go. */
  readonly log: Log;
  /** Until when a claim made now holds, in milliseconds since the epoch. */
  readonly lease: () => number;
  /** When every run must have ended, in milliseconds since the epoch; default: a worker that lives on. */
  readonly deadline?: () => number;
  /** @internal The batches that what is done now may be gathered in; default: one worker gathers all that it has. */
  readonly batches?: () => Batches;
  /** The process, as Celery's STARTED tells it. */
  readonly pid?: number;
}

export interface WorkerContext extends WorkerOptions, Sender {
  /** As {@link WorkerOptions.deadline}; `Infinity` where there is none. */
  readonly deadline: () => number;
  readonly app: Lovage;
  /**
   * Who could not give a claim up, by the row's key, and what does so: whoever takes that message here next is the same owner, so
   * that nobody is taken to have died.
   */
  readonly unreleased: Map<string, { readonly owner: string; readonly free: () => Promise<void> }>;
  /** As {@link WorkerOptions.batches}. */
  readonly batches: () => Batches;
  /** The unit that all of this is asked for in; `undefined`: each step is durable when it is answered. */
  readonly unit: Unit | undefined;
  /** The same for steps of a unit; without one, for steps that are durable by themselves. */
  within(unit: Unit | undefined): WorkerContext;
}

export function createContext(app: Lovage, options: WorkerOptions): WorkerContext {
  const { engine } = app;
  engine.warn = (message) => options.log("warning", message);
  const own: Batches = { open: new Map(), isHurried: false, coming: undefined };
  /** Many steps are of one unit, one after the other. */
  let last: WorkerContext | undefined;
  const alone: WorkerContext = {
    ...options,
    deadline: options.deadline ?? (() => Number.POSITIVE_INFINITY),
    app,
    unreleased: new Map(),
    batches: options.batches ?? (() => own),
    ...senderOf(engine, options.log),
    unit: undefined,
    within(unit) {
      if (unit === undefined) return alone;
      if (last?.unit !== unit) last = { ...alone, ...senderOf(engine, options.log, unit), unit };
      return last;
    },
  };
  return alone;
}

/** A call has come to its batch, or comes to none. When it was the last one, all batches begin. */
export function comesNoMore({ open, coming }: Batches, delivery: Delivery): void {
  coming?.delete(delivery);
  if (coming?.size === 0) for (const { full } of open.values()) full();
}

/** The same for steps that become durable together, where broker and backend are one store. */
export const together = (context: WorkerContext): MaybePromise<WorkerContext> =>
  whenReady(context.engine.begin(), context.within);

/** A delivery that was read: its message, its task, and the options in force. */
export interface Job {
  readonly delivery: Delivery;
  readonly message: Message;
  /** Of its row. */
  readonly key: string;
  readonly task: Task;
  readonly options: TaskOptions;
  readonly request: Request;
  /** Made once for each delivery, but where one before it is still held for the owner: who claims. */
  readonly owner: string;
  readonly source: Source;
  /** What its claim said; absent: it is not claimed yet, or its task does not claim. */
  readonly claimed?: Pick<Extract<Recorded, { readonly type: "claimed" }>, "runs" | "revoked">;
}

export function createJob(context: WorkerContext, delivery: Delivery, message: Message, task: Task): Job {
  const { engine, hostname, unreleased } = context;
  const key = taskKey(message.id);
  const owner = unreleased.get(key)?.owner ?? engine.platform.uuid();
  unreleased.delete(key);
  const options = engine.optionsOf(task);
  const request = createRequest(message, {
    queue: delivery.queue,
    hostname,
    deliveries: delivery.receiveCount,
    ...optionsInForce(engine.config, options, message, delivery.queue),
  });
  return { delivery, message, key, task, options, request, owner, source: sourceOf(delivery) };
}

/** What a job says of itself where it asks for its row. */
export const claimOf = (
  { engine, lease }: WorkerContext,
  { key, message, owner, source }: Job,
): Omit<Claim, "hidden" | "result" | "next"> => ({
  type: "claim",
  key,
  owner,
  now: engine.clock.now(),
  ttl: engine.ttl(),
  attempt: attemptOf(message),
  lease: lease(),
  redrive: source.redrive,
  sent: sentOf(message),
});

/** A job whose row says which time it is that its task was sent. */
export const jobAgain = (job: Job, { again, redrive }: Again): Job =>
  (again ?? redrive ?? job.source.redrive) === undefined
    ? job
    : { ...job, message: sentAgain(job.message, again), source: { ...job.source, again, redrive } };

function sourceOf(delivery: Delivery): Source {
  const { queue, receipt, groupId: group = "default" } = delivery;
  const carried = carriedPlace(delivery);
  const place = carried ?? (isFifo(queue) ? { receipt, group } : undefined);
  return { queue, redrive: redriveOf(delivery), place, goesFor: carried !== undefined };
}
