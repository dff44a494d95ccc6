/** Sends any number of calls, as they come. */
import { ImproperlyConfigured, SendInterrupted } from "../errors.ts";
import { fail, isPlain, type Parse, shape, show } from "../parse.ts";
import type { HandleOf, Step } from "./fit.ts";
import { pour } from "./pour.ts";
import { type Applied, Signature } from "./signature.ts";

/** How the calls of `app.sendMany` are sent. */
export interface SendManyOptions<S = Step> {
  /** Told of each call that was sent, in no promised order. A promise is awaited, and slows the sending down. What it throws ends it. */
  readonly onSent?: ((result: HandleOf<S>, index: number) => unknown) | undefined;
  /** Told of each call that could not be sent, and then the others go on. Without it the first such call ends the sending. */
  readonly onFailed?: ((failure: UnsentCall<S>) => unknown) | undefined;
}

/** A call that was not sent, as far as is known: where a reply was lost, it may have been. */
export interface UnsentCall<S = unknown> {
  /** Its place among all calls, from 0. */
  readonly index: number;
  /** The call. It has its id, so that sending it again is safe: where it did arrive, the second is a duplicate of it. */
  readonly call: S;
  /** Why it could not be sent. */
  readonly error: unknown;
}

/** What became of the calls. */
export interface SentCalls {
  /** So many were sent. */
  readonly sent: number;
  /** So many could not be sent. */
  readonly failed: number;
}

const callback: Parse<() => unknown> = (value, at) =>
  typeof value === "function" ? (value as () => unknown) : fail(at, "a function", value);

const optionsShape = shape<SendManyOptions>({ onSent: callback, onFailed: callback }, {});

/**
 * Sends each call by `send`. Throws `SendInterrupted`, or `ImproperlyConfigured` where calls or options are none.
 *
 * @param newId Makes the id of a task that has none.
 */
export async function sendMany<S extends Step>(
  calls: Iterable<S> | AsyncIterable<S>,
  given: SendManyOptions<S>,
  send: (call: S) => Promise<Applied>,
  newId: () => string,
): Promise<SentCalls> {
  const { onSent, onFailed } = checkOptions(given) as SendManyOptions<S>;
  if (!isCalls(calls))
    throw new ImproperlyConfigured(
      "sendMany",
      `needs a list or a generator of signatures, sync or async, such as [add.s(1, 2)] (given: ${show(calls)})`,
    );
  const unsent: UnsentCall[] = [];
  let taken = 0;
  let sent = 0;
  let failed = 0;

  async function sendOne(given: S, index: number): Promise<void> {
    let call: S = given;
    let result: Applied;
    try {
      call = named(given, newId);
      result = await send(call);
    } catch (error) {
      failed++;
      const failure = { index, call, error };
      if (onFailed === undefined) {
        unsent.push(failure);
        throw error;
      }
      await onFailed(failure);
      return;
    }
    sent++;
    await onSent?.(result as HandleOf<S>, index);
  }

  try {
    await pour(calls, async (batch) => {
      const from = taken;
      taken += batch.length;
      const ends = await Promise.allSettled(batch.map((call, place) => sendOne(call, from + place)));
      for (const end of ends) if (end.status === "rejected") throw end.reason;
    });
  } catch (error) {
    throw new SendInterrupted({ taken, sent, failed: unsent.sort((a, b) => a.index - b.index) }, error);
  }
  return { sent, failed };
}

/** A task under an id that is known before it is sent. */
function named<S extends Step>(call: S, newId: () => string): S {
  if (!(call instanceof Signature))
    throw new ImproperlyConfigured("sendMany", `takes signatures, such as add.s(1, 2) (given: ${show(call)})`);
  if (call.form !== "task" || call.toJSON().options["task_id"] !== undefined) return call;
  return call.set({ taskId: newId() }) as unknown as S;
}

function checkOptions(options: unknown): SendManyOptions {
  const some = options ?? {};
  if (!isPlain(some)) {
    throw new ImproperlyConfigured("sendMany", `takes an object of options (given: ${show(options)})`);
  }
  return optionsShape(some, "sendMany");
}

const isCalls = (calls: unknown): boolean =>
  typeof calls === "object" && calls !== null && (Symbol.iterator in calls || Symbol.asyncIterator in calls);
