/** How a function's timeout and the time limits of tasks fit into each other. The deployment and the handler agree here. */

/** AWS's limit of a function's timeout, in seconds. */
export const MAX_FUNCTION_TIMEOUT_S = 900;

/** So much longer than a task may run is its function's timeout, in seconds: to begin, and to store the outcome. */
export const TIMEOUT_MARGIN_S = 10;

/**
 * So much longer than it waits for its batch and its function runs a message is hidden, in seconds: until the claim on its
 * task ends too. Lambda refuses less than the function's timeout. AWS's advice is six timeouts, so that no message comes
 * back while an invocation that was throttled still has it; here the claim turns that one away, and six timeouts are what
 * the neighbours of a dead function would wait.
 */
export const VISIBILITY_MARGIN_S = 5;

/** So long before Lambda would end the function no task may run any more, in milliseconds: outcomes are stored then. */
const SETTLE_MS = 5000;

/** How long tasks may run in an invocation that has so much time left, in milliseconds. A short timeout gives a fifth of itself. */
export function runTime(remaining: number): number {
  return remaining - Math.min(SETTLE_MS, remaining / 5);
}
