/**
 * What a caller sends under ids of its own says when: on a row that was forgotten before, it is another task, while a copy of
 * what was sent earlier is not (`Claim.sent`). Ids that are made for a call come once, and so need no date.
 */
import { SENT_HEADER, type SignatureData } from "../protocol/message.ts";
import type { CallOptions } from "../tasks/options.ts";
import { changed, isSignature, LINKED, placesOf, readSignature } from "./shape.ts";

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
  const { options, ...dated } = changed(signature, (part) => datedAt(part, at));
  const headers = { ...(options["headers"] as object | null | undefined), [SENT_HEADER]: at };
  return { ...dated, options: { ...options, headers } };
}

/** Whether it was given an id, or any of what it holds was. */
function hasId(part: unknown): boolean {
  if (Array.isArray(part)) return part.some(hasId);
  if (!isSignature(part)) return false;
  const signature = readSignature(part);
  const { options, kwargs } = signature;
  if (typeof options["task_id"] === "string") return true;
  return LINKED.some((place) => hasId(options[place])) || placesOf(signature).some((place) => hasId(kwargs[place]));
}
