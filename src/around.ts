/** What an app lets others lay around its work: a trace needs a span that is active while a message is sent, or a task runs. */
import type { Message } from "./protocol/message.ts";
import type { Request } from "./tasks/context.ts";

/** How a run ended. */
export interface RanTask {
  /** The state that was stored, `IGNORED` or `REJECTED` where none was; `undefined`: it was handed back, to be run again. */
  readonly state: string | undefined;
  /** What it failed with, or why it is to be retried. */
  readonly error: unknown;
  /** Whether the error is one of the task's `throws`. */
  readonly expected: boolean;
}

/**
 * Steps around the work of an app. Each calls `next`, which does the work, in whatever async context is to be active
 * then. The work is done once, whatever a step does: where a step throws, or does not call `next`, that is reported, and the work
 * is done all the same. It does not wait for what a step does after `next`.
 */
export interface Around {
  /** Around the sending of a message. What is put into `headers` before `next` travels with it. */
  readonly send?:
    | ((
        facts: { readonly message: Message; readonly queue: string; readonly headers: Record<string, unknown> },
        next: () => Promise<void>,
      ) => Promise<void>)
    | undefined;
  /** Around a run: its code, its outcome's storing, and the sending of what follows from it. Eager runs too. */
  readonly run?: ((facts: { readonly request: Request }, next: () => Promise<RanTask>) => Promise<void>) | undefined;
  /**
   * Around the function of a batch task, which runs once for the calls that these are the requests of, outside of the steps around the
   * run of each.
   */
  readonly batch?:
    | ((facts: { readonly requests: readonly Request[] }, next: () => Promise<void>) => Promise<void>)
    | undefined;
}

type Step<E> = (next: () => Promise<E>) => Promise<void>;

export const sendSteps = (
  arounds: ReadonlySet<Around>,
  facts: Parameters<NonNullable<Around["send"]>>[0],
): readonly Step<void>[] =>
  [...arounds].flatMap(({ send }) => (send === undefined ? [] : [(next: () => Promise<void>) => send(facts, next)]));

export const runSteps = (arounds: ReadonlySet<Around>, request: Request): readonly Step<RanTask>[] =>
  [...arounds].flatMap(({ run }) =>
    run === undefined ? [] : [(next: () => Promise<RanTask>) => run({ request }, next)],
  );

export const batchSteps = (arounds: ReadonlySet<Around>, requests: readonly Request[]): readonly Step<void>[] =>
  [...arounds].flatMap(({ batch }) =>
    batch === undefined ? [] : [(next: () => Promise<void>) => batch({ requests }, next)],
  );

/** Does the work within steps, the first outermost. Throws what the work throws, and nothing else. */
export const surround = <T, E>(
  steps: readonly Step<E>[],
  work: () => Promise<T>,
  tell: (result: T) => E,
  report: (error: unknown) => void,
): Promise<T> => steps.reduceRight((inner, step) => () => surroundBy(step, inner, tell, report), work)();

function surroundBy<T, E>(
  step: Step<E>,
  work: () => Promise<T>,
  tell: (result: T) => E,
  report: (error: unknown) => void,
): Promise<T> {
  const { promise, resolve } = Promise.withResolvers<T>();
  let begun: Promise<T> | undefined;
  let failed: { readonly error: unknown } | undefined;
  const next = async (): Promise<E> => {
    if (begun === undefined) {
      begun = work();
      resolve(begun);
    }
    try {
      return tell(await begun);
    } catch (error) {
      failed = { error };
      throw error;
    }
  };
  void (async () => {
    try {
      await step(next);
    } catch (error) {
      // What the work throws, whoever waits for the work is told.
      if (error !== failed?.error) report(error);
    }
    if (begun === undefined) resolve(work());
  })();
  return promise;
}
