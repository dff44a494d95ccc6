/** Tasks that are called because another has failed, in Celery's new style: with its request, its exception and the traceback. */
import { dataToError } from "../protocol/exceptions.ts";
import type { SignatureData } from "../protocol/message.ts";
import type { Request } from "./context.ts";
import type { Task } from "./task.ts";

/** What an errback gets of the request of the task that failed. */
export type FailedRequest = Pick<
  Request,
  "id" | "task" | "args" | "kwargs" | "retries" | "rootId" | "parentId" | "group" | "headers"
>;

/** Stands among the headers of a message whose arguments are (request, exception, traceback). */
export const ERRBACK_HEADER = "lovage_errback";

/** Whether a task takes (request, exception, traceback), beside the arguments that its signature has. */
export function isErrback({ fn, options }: Task, { args, kwargs }: SignatureData): boolean {
  const { errback, bind, params } = options;
  if (errback !== undefined) return errback;
  if (bind === true) return false;
  if (params?.some((name) => /^(?:\.\.\.|\*)[^*]/.test(name))) return true;
  return (params?.length ?? fn.length) - args.length - Object.keys(kwargs).length > 1;
}

/** The arguments of an errback's message, with the exception as an error again. */
export function errbackArguments(
  headers: Readonly<Record<string, unknown>>,
  args: readonly unknown[],
): readonly unknown[] {
  const [request, exception, traceback, ...own] = args;
  if (headers[ERRBACK_HEADER] !== true || typeof exception !== "object" || exception === null) return args;
  const { id } = (request ?? {}) as Partial<FailedRequest>;
  const text = typeof traceback === "string" ? traceback : null;
  return [request, dataToError(exception, text, typeof id === "string" ? id : ""), text, ...own];
}
