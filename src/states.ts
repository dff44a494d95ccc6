/** The states a task can be in, as Celery names them. A task may also store states of its own. */
export const PENDING = "PENDING";
/** A worker has begun to run the task. */
export const STARTED = "STARTED";
/** The task threw, or asked for it, and waits for its next attempt. */
export const RETRY = "RETRY";
/** The task has a result. */
export const SUCCESS = "SUCCESS";
/** The task failed for good. */
export const FAILURE = "FAILURE";
/** The task was revoked, or had expired before it could start. */
export const REVOKED = "REVOKED";

/** Celery's own states. An id of which nothing is stored has the state PENDING; it is never an outcome. */
export type State =
  | typeof PENDING
  | typeof STARTED
  | typeof RETRY
  | typeof SUCCESS
  | typeof FAILURE
  | typeof REVOKED
  // A state of the user's own, set by `updateState`: any other text.
  | (string & {});

const READY_STATES: ReadonlySet<string> = new Set([SUCCESS, FAILURE, REVOKED]);
const PROPAGATE_STATES: ReadonlySet<string> = new Set([FAILURE, REVOKED]);
const EXCEPTION_STATES: ReadonlySet<string> = new Set([RETRY, FAILURE, REVOKED]);

/** The task has its outcome; nothing will change it. */
export const isReady = (state: string): boolean => READY_STATES.has(state);
/** `get()` throws in this state. */
export const isPropagated = (state: string): boolean => PROPAGATE_STATES.has(state);
/** The stored result is an exception in Celery's form. */
export const holdsException = (state: string): boolean => EXCEPTION_STATES.has(state);
/** Whether an attempt that ended so after so many seconds has run: what is revoked or expires before it starts has not. */
export const hasRun = (state: string, runtime: number): boolean => state !== REVOKED || runtime > 0;
