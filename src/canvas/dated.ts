/**
 * What a caller sends under ids of its own says when: on a row that was forgotten before, it is another task, while a copy of
 * what was sent earlier is not (`Claim.sent`). Ids that are made for a call come once, and so need no date.
 */
import { SENT_HEADER, type SignatureData } from "../protocol/message.ts";
import type { CallOptions } from "../tasks/options.ts";
import { formOf } from "./shape.ts";

/** The options of one call, with its date where it has an id of its own. */
export function dated(options: CallOptions, moment: () => number): CallOptions {
  if (typeof options.taskId !== "string") return options;
  return { ...options, headers: { ...options.headers, [SENT_HEADER]: moment() } };
}

/** A canvas, all of whose tasks have the same date where any of them has an id of its own. */
export const datedCanvas = (signature: SignatureData, moment: () => number): SignatureData =>
  hasId(signature) ? datedAt(signature, moment()) : signature;

/** The same with a date that is known. */
export function datedAt(signature: SignatureData, at: number): SignatureData {
  const date = (part: unknown): unknown => {
    if (Array.isArray(part)) return part.map(date);
    return isSignature(part) ? datedAt(part, at) : part;
  };
  const headers = { ...(signature.options["headers"] as object | null | undefined), [SENT_HEADER]: at };
  return {
    ...signature,
    kwargs: { ...signature.kwargs, ...withEach(signature.kwargs, placesOf(signature), date) },
    options: { ...signature.options, ...withEach(signature.options, LINKED, date), headers },
  };
}

/** Where a task holds others, among its options … */
const LINKED = ["link", "link_error", "chain"] as const;

/** … and where a canvas does, among its arguments. */
function placesOf(signature: SignatureData): readonly string[] {
  const form = formOf(signature);
  return form === "task" ? [] : form === "chord" ? ["header", "body"] : ["tasks"];
}

/** Whether it was given an id, or any of what it holds was. What is no canvas is refused by who sends it. */
function hasId(part: unknown): boolean {
  if (Array.isArray(part)) return part.some(hasId);
  if (!isSignature(part)) return false;
  const { options, kwargs } = part;
  if (typeof options["task_id"] === "string") return true;
  return LINKED.some((place) => hasId(options[place])) || placesOf(part).some((place) => hasId(kwargs[place]));
}

function isSignature(value: unknown): value is SignatureData {
  if (typeof value !== "object" || value === null) return false;
  const { task, kwargs, options } = value as Partial<SignatureData>;
  return typeof task === "string" && typeof kwargs === "object" && kwargs !== null && isObject(options);
}

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null;

const withEach = (
  parts: Readonly<Record<string, unknown>>,
  places: readonly string[],
  change: (part: unknown) => unknown,
): Record<string, unknown> =>
  Object.fromEntries(places.flatMap((place) => (parts[place] === undefined ? [] : [[place, change(parts[place])]])));
