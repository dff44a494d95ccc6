/**
 * What a caller sends under ids of its own says when: on a row that was forgotten before, it is another task, while a copy of
 * what was sent earlier is not (`Claim.sent`). Ids that are made for a call come once, and so need no date.
 */
import { SENT_HEADER, type SignatureData } from "../protocol/message.ts";
import type { CallOptions } from "../tasks/options.ts";
import { changed, partsOf } from "./shape.ts";

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
const hasId = (canvas: SignatureData): boolean =>
  partsOf(canvas).some(({ options }) => typeof options["task_id"] === "string");
