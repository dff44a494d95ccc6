/** What a row says of what follows from it, beside its result: `Row.next`. */
import { parseValue, stringifyValue } from "../protocol/values.ts";
import type { SignatureData } from "../protocol/message.ts";
import type { Row } from "../results/backend.ts";
import type { Source } from "./follow.ts";
import { keepsPlace, type Kept } from "./held-place.ts";
import type { RetryChange } from "./trace.ts";

/**
 * Why a task will not run, where its message is no dead letter: what was to follow from its `own` message could not be sent; or
 * its outcome is `shared`, as it was to follow from another task that failed.
 */
export type Fate = "own" | "shared";

/** What cannot be derived from message and result, kept in the row until the attempt after it has begun. */
export interface Next {
  readonly retry?: RetryChange;
  readonly replace?: SignatureData;
  /** It has no outcome, whatever state the task itself has stored. */
  readonly ignored?: true;
  readonly fate?: Fate;
  /** The attempt is of a message that goes for another, which keeps its place on a FIFO queue. */
  readonly goesFor?: true;
}

export const writeNext = (next: Next): string => stringifyValue(next);

/** Written by {@link writeNext}, and by nobody else. */
export const readNext = (next: string): Next => parseValue(next) as Next;

/** The attempt of a row that waits or runs and needs the place which the first message of the task keeps. */
export function keptPlace(queue: string, { done, next }: Pick<Row, "done" | "next">): Kept | undefined {
  if (done === true || next === undefined) return undefined;
  const { retry, replace, goesFor } = readNext(next);
  if (retry !== undefined) return keepsPlace(queue, retry) ? { eta: retry.eta } : undefined;
  return replace === undefined && goesFor === true ? { eta: null } : undefined;
}

/** Whether a row that will not run belongs to no dead letter. */
export const hasFate = ({ next }: Pick<Row, "next">): boolean =>
  next !== undefined && readNext(next).fate !== undefined;

/** When the retry is due that a row waits for; `null`: it waits for none, or that one is due at once. */
export function retryDue({ done, next }: Pick<Row, "done" | "next">): string | null {
  if (done === true || next === undefined) return null;
  return readNext(next).retry?.eta ?? null;
}

/** `next` of a row: what its follow-ups need, and on a FIFO queue whether the attempt goes for another message. */
export const nextOf = ({ goesFor }: Source, next?: Next): string | undefined =>
  goesFor || next !== undefined ? writeNext({ ...next, ...(goesFor && { goesFor }) }) : undefined;
