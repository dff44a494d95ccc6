/** What is told of a run: a line in Celery's words, and the signals. */
import { brief, clip } from "../brief.ts";
import { errorLine } from "../protocol/exceptions.ts";
import type { Message } from "../protocol/message.ts";
import { parseTime } from "../protocol/time.ts";
import { FAILURE } from "../states.ts";
import type { Conclusion } from "./conclude.ts";
import type { Job, WorkerContext } from "./context.ts";
import { silent } from "./log.ts";
import type { Traced } from "./trace.ts";

/** Celery shows as many characters of a result. */
const REPR_LENGTH = 1024;
/** A foreign id, or the name that a caller gives a call, has any length. */
const NAME_LENGTH = 255;

/** What a message is called in the log by. */
export type Named = Pick<Message, "id" | "task" | "shadow">;

/** `tasks.add[id]`, or the name that the caller gave it to be logged by. */
export const nameOf = (message: Named): string =>
  `${clip(message.shadow ?? message.task, NAME_LENGTH)}[${clip(message.id, NAME_LENGTH)}]`;

/** Facts that every line about a task carries. */
export const fieldsOf = (message: Message, queue: string): Record<string, unknown> => ({
  task: message.task,
  id: message.id,
  queue,
  retries: message.retries,
});

export function reportReceived({ log }: WorkerContext, { message, delivery }: Job): void {
  if (log === silent) return;
  log("info", `Received task: ${nameOf(message)}`, fieldsOf(message, delivery.queue));
}

/** Names the task that a worker was running when it died, which that worker could not. */
export function reportDeaths({ log, engine }: WorkerContext, { message, delivery }: Job, deaths: number): void {
  const { maxDeliveries } = engine.config;
  log(
    "warning",
    `Task ${nameOf(message)} is taken over: ${deaths === 1 ? "a worker" : `${deaths} workers`} died while it ran (maxDeliveries is ${maxDeliveries})`,
    { ...fieldsOf(message, delivery.queue), deaths },
  );
}

/** The line about how a run ended. */
export function reportEnd(
  { log, engine }: WorkerContext,
  { message, delivery }: Job,
  { outcome, runtime }: Traced,
  conclusion: Conclusion,
): void {
  if (log === silent) return;
  const name = nameOf(message);
  const fields = { ...fieldsOf(message, delivery.queue), state: conclusion.status, runtime };
  if (outcome.type === "success" && conclusion.status !== FAILURE) {
    log("info", `Task ${name} succeeded in ${runtime.toFixed(3)}s: ${repr(outcome.value)}`, fields);
    return;
  }
  switch (outcome.type) {
    // A result that could not be stored has become a failure.
    case "success":
    case "failure": {
      const { error, traceback } = conclusion;
      const facts = { ...fields, error: errorLine(error), traceback };
      if (outcome.type === "failure" && outcome.expected)
        log("info", `Task ${name} raised expected: ${errorLine(error)}`, facts);
      else
        log(
          "error",
          `Task ${name} raised unexpected: ${errorLine(error)}${traceback === null ? "" : `\n${traceback}`}`,
          facts,
        );
      return;
    }
    case "retry": {
      const { eta } = outcome.change;
      const seconds = eta === null ? 0 : Math.max(0, (parseTime(eta) - engine.clock.now()) / 1000);
      log("info", `Task ${name} retry: Retry in ${Number(seconds.toFixed(1))}s: ${errorLine(outcome.reason)}`, {
        ...fields,
        eta,
      });
      return;
    }
    case "revoked":
      log("info", `Discarding revoked task: ${name} (${outcome.reason})`, fields);
      return;
    case "checkpoint":
      log("info", `Task ${name} goes on from its checkpoint ${outcome.change.checkpoint.count}`, fields);
      return;
    case "ignore":
      log("info", `Task ${name} ignored`, fields);
      return;
    case "replace":
      log("info", `Task ${name} replaced by ${outcome.signature.task}`, fields);
      return;
    case "reject":
      log("error", `Task ${name} rejected its message: ${outcome.error.reason}`, fields);
      return;
    default:
      outcome satisfies never;
  }
}

const END_SIGNALS = ["taskSuccess", "taskFailure", "taskRetry", "taskRevoked", "taskPostrun"] as const;

/** Whether anybody listens to {@link signalEnd}. */
export const hasEndSignals = ({ emitter }: WorkerContext["engine"]): boolean =>
  END_SIGNALS.some((signal) => emitter.has(signal));

/** The signals about how a run ended. */
export async function signalEnd(
  engine: WorkerContext["engine"],
  { message, request }: Pick<Job, "message" | "request">,
  { outcome, runtime }: Traced,
  { status, error }: Conclusion,
): Promise<void> {
  const { emitter } = engine;
  const facts = { task: message.task, taskId: message.id, request };
  if (status === FAILURE) await emitter.emit("taskFailure", { ...facts, error });
  else if (outcome.type === "success") await emitter.emit("taskSuccess", { ...facts, result: outcome.value, runtime });
  else if (outcome.type === "retry") {
    const { eta } = outcome.change;
    await emitter.emit("taskRetry", {
      ...facts,
      reason: outcome.reason,
      eta: new Date(eta === null ? engine.clock.now() : parseTime(eta)),
    });
  } else if (outcome.type === "revoked") await emitter.emit("taskRevoked", { ...facts, reason: outcome.reason });
  const result = outcome.type === "success" ? outcome.value : null;
  await emitter.emit("taskPostrun", { ...facts, state: status ?? "IGNORED", result, runtime });
}

const repr = (value: unknown): string => brief(value, REPR_LENGTH);

export { errorMessage as messageOf, errorStack as stackOf } from "../protocol/exceptions.ts";
