/** When a task is run again: the arithmetic, apart from what waits. Celery's rules and Celery's defaults. */
import { MaxRetriesExceededError, type Retry } from "../errors.ts";
import type { ErrorClass, TaskOptions } from "../tasks/options.ts";

/** Celery's `max_retries`: four runs in all. */
export const DEFAULT_MAX_RETRIES = 3;
/** Celery's `default_retry_delay`: three minutes. */
export const DEFAULT_RETRY_DELAY_S = 180;
/** Celery's `retry_backoff_max`. */
const DEFAULT_BACKOFF_MAX_S = 600;

/** Whether one more attempt is allowed after `retries` (0 in the first attempt). `null`: always. */
export const mayRetry = (retries: number, maxRetries: number | null): boolean =>
  maxRetries === null || retries + 1 <= maxRetries;

/**
 * Seconds until an automatic retry: with a factor of 1, 1, 2, 4, … up to the maximum; with jitter a whole number from 0
 * to that, drawn anew each time. Without backoff: the task's own countdown, or 180.
 *
 * @param retries Attempts so far that asked for another: 0 at the first failure.
 */
export function autoretryCountdown(retries: number, options: TaskOptions, random: () => number): number {
  const { retryBackoff = false, retryBackoffMax = DEFAULT_BACKOFF_MAX_S, retryJitter = true, retryKwargs } = options;
  if (retryBackoff === false) return retryKwargs?.countdown ?? options.defaultRetryDelay ?? DEFAULT_RETRY_DELAY_S;
  const factor = Math.trunc(Math.max(1, retryBackoff === true ? 1 : retryBackoff));
  const countdown = Math.min(retryBackoffMax, factor * 2 ** retries);
  return retryJitter ? Math.floor(random() * (Math.floor(countdown) + 1)) : countdown;
}

/** Whether a thrown value is of one of the classes. */
const isOneOf = (error: unknown, classes: readonly ErrorClass[] | undefined): boolean =>
  classes?.some((Class) => error instanceof Class) ?? false;

/** Whether an error makes the task run again by itself. */
export const isAutoretried = (error: unknown, options: TaskOptions): boolean =>
  isOneOf(error, options.autoretryFor) && !isOneOf(error, options.dontAutoretryFor);

/** What is thrown when no retry is left: the reason of the last one, as in Celery, or an error that says so. */
export function exhausted(task: string, id: string, retries: number, reason: unknown): unknown {
  return (
    reason ??
    new MaxRetriesExceededError(
      `can't retry ${task}[${id}] again: it has had ${retries} ${retries === 1 ? "retry" : "retries"}`,
    )
  );
}

/** The time that a `Retry` asks for, in milliseconds since the epoch. */
export function retryTime(retry: Retry, defaultDelay: number, now: number): number {
  const { eta, countdown } = retry.request;
  return eta === undefined ? now + (countdown ?? defaultDelay) * 1000 : eta.getTime();
}
