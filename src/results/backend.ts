/**
 * The result backend's port. A backend keeps rows and applies commands to them, each atomically on its one row. What a
 * command does to a row is decided in `record.ts`, which is pure; memory and SQLite run that code in a transaction,
 * DynamoDB says the same as a condition on the write. `testing/backend-contract.ts` holds all of them to one suite.
 */
import { LovageError } from "../errors.ts";
import type { JournalOptions, JournalStore } from "../journal/store.ts";
import type { Payload } from "../protocol/meta.ts";
import { type MaybePromise, whenReady } from "../protocol/serializers.ts";
import type { Store, Unit } from "../unit.ts";
import type { Wait } from "../wait.ts";
import type { Command, Outcome } from "./record.ts";

export type { Payload };

/** A row as it is stored. A row that Python wrote has only `result`, `timestamp` and `ttl`. */
export interface Row {
  /** Celery's meta of the task (or of a group). */
  readonly result: Payload;
  /** When its state was last stored, in seconds since the epoch, with a fraction. Marks, leases and forgetting leave it. */
  readonly timestamp: number;
  /** From when on it counts as absent, in whole seconds since the epoch; none: kept for ever. */
  readonly ttl?: number;

  /** Which of the task's messages it speaks of (`attemptOf`). Absent: Python wrote it, or it was ended without a run (`revoke`, `bury`): with `done`, then, it speaks of all of them. */
  readonly attempt?: number;
  /** Who ran that attempt: made once for each delivery. Stays when the attempt is settled. */
  readonly owner?: string;
  /** Until when the owner may be believed alive, in milliseconds since the epoch. Only a running attempt has one: settling drops it, and so does `release`. */
  readonly lease?: number;
  /** How often the attempt was begun: 1, and one more for each owner that died. Absent where the task does not claim. */
  readonly runs?: number;
  /**
   * The owner whose death is accounted for. Another than {@link owner}: the one that was counted last in `runs`, and may yet
   * say that it lives. {@link owner} itself: it was told to stop, and its end will not be counted.
   */
  readonly accounted?: string;
  /** The attempt's outcome is stored here: what follows from it can be sent again by anybody who meets the row. */
  readonly settled?: boolean;
  /** The outcome is the task's last. Nothing is claimed over it, but a redriven message over a `buried` one. `done` is never without `settled`. */
  readonly done?: boolean;
  /** Someone wants it not to run, or with `terminate` not to go on. */
  readonly revoked?: "revoke" | "terminate";
  /** What cannot be derived from message and result: a retry's message, a replacement's; on a FIFO queue, how this attempt differs from the message in the queue. JSON. */
  readonly next?: string;
  /** `forget()` or `ignoreResult`: readers see nothing, while the row still guards the task against running twice. */
  readonly hidden?: boolean;
  /** When `forget()` was asked for last, in milliseconds since the epoch, with a fraction: what is sent later under the same id is another task. */
  readonly forgotten?: number;
  /** It was sent again after it had been forgotten: when. Other ids follow from it than from what there was before. */
  readonly again?: number;
  /** Its message went to the dead letters: a redriven one may claim the row again, although it is done. */
  readonly buried?: boolean;
  /** The last redrive whose message claimed the row (`redrive` of its claim). */
  readonly redrive?: number;
  /**
   * The message of a task that failed, to run it again by: a redriven one may claim the row, although it is done. Empty: it was
   * forgotten, and only one that is on its way already may. See `kept.ts`.
   */
  readonly kept?: string;

  // What the row of a join has, and only that: its `result` is empty.
  /** Celery's counter of members that have ended, by Celery's own name. Python counts here too, and may count one twice. */
  readonly chord_count?: number;
  /** The members of ours that have ended: hashes of 11 characters each, one after the other. It only grows. */
  readonly members?: string;
  /** How many members there are. Absent: Python sent the chord, or its header is a generator that has not ended. */
  readonly size?: number;
  /** Ids of members that were added while the chord ran, as a JSON list. */
  readonly added?: string;
}

/**
 * A result backend: the rows of tasks, and the commands that change them. What each method promises is held by
 * `backendContract` of `lovage/testing`.
 */
export interface Backend {
  /** The same object as that of a broker which is the same store: steps on both can be done together. Absent: this one offers no units. */
  readonly store?: Store | undefined;
  /** The largest row in bytes; `Infinity` where there is none. DynamoDB: 400 KB. */
  readonly maxBytes: number;
  /**
   * Applies commands, each atomically on its own row, in the order given where two are for one row. Every one settles
   * by itself: its outcome, or the `OperationalError` or `PayloadTooLarge` that kept it from being applied.
   *
   * @param unit A unit of {@link store} that this is done in. The answer comes before it is durable.
   */
  apply(commands: readonly Command[], unit?: Unit): Promise<readonly (Outcome | Error)[]>;
  /** Reads rows, `undefined` for those that do not exist or have expired. */
  read(keys: readonly string[], options?: ReadOptions): Promise<readonly (Row | undefined)[]>;
  /** Begins to wait until rows may have changed since the call, or the backend closes. Absent where the store cannot tell: readers poll. */
  readonly changed?: (() => Wait) | undefined;
  /** The journal that it keeps beside its rows, where it was given {@link BackendContext.journal}. Absent: it keeps none, and leaves `entry` of commands alone. */
  readonly journal?: JournalStore | undefined;
  /** Ends waits and closes what is open. The backend is not used afterwards. */
  close(): Promise<void>;
}

export interface ReadOptions {
  /** What was written before the call is seen. */
  readonly consistent?: boolean;
  /** A unit of {@link Backend.store}: what was done within it is seen. Nobody else sees that before it is durable. */
  readonly unit?: Unit | undefined;
}

/** What a backend is given when it is opened. */
export interface BackendContext {
  /** Milliseconds since 1970. Read the time from here alone, so that tests can set it. */
  readonly now: () => number;
  /** A number from 0 up to 1, for waits between tries. */
  readonly random: () => number;
  /** The setting `resultBackendTransportOptions`. */
  readonly options: Readonly<Record<string, unknown>>;
  /** How a journal is kept. Absent: none is. */
  readonly journal?: JournalOptions | undefined;
}

/** Opens a backend for a URL: what the module of `registerBackend` exports as `open`. */
export type OpenBackend = (url: string, context: BackendContext) => Backend | Promise<Backend>;

/** Celery's key of a task's row. Half a character, which no store could write, counts as U+FFFD. */
export const taskKey = (id: string): string => `celery-task-meta-${id.toWellFormed()}`;
/** Celery's key of a saved group. */
export const groupKey = (id: string): string => `celery-taskset-meta-${id}`;
/** Celery's key of a chord's counter. */
export const joinKey = (id: string): string => `chord-unlock-${id}`;

/** Applies one command, at once where the backend is open, and throws why it could not be. */
export async function applyOne(
  backend: MaybePromise<Pick<Backend, "apply">>,
  command: Command,
  unit?: Unit,
): Promise<Outcome> {
  const [outcome] = await whenReady(backend, (opened) => opened.apply([command], unit));
  if (outcome === undefined || outcome instanceof Error) throw outcome ?? new LovageError("the backend gave no answer");
  return outcome;
}
