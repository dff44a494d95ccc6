/** How rows are changed and messages sent, for who sends on what follows from an end. */
import type { Call } from "../canvas/apply.ts";
import type { Engine } from "../engine.ts";
import { DecodeError } from "../errors.ts";
import type { JournalEntry } from "../journal/entry.ts";
import { decodeStatus, type MetaCodec } from "../protocol/meta.ts";
import { applyOne, type Row, taskKey } from "../results/backend.ts";
import { type Command, isFreshRedrive, type Outcome as Recorded } from "../results/record.ts";
import { isReady } from "../states.ts";
import { type Addressed, send } from "../tasks/publish.ts";
import type { Unit } from "../unit.ts";
import type { Log } from "./log.ts";

/** What sending on needs: a worker has it, and so has a task that runs in its caller. */
export interface Sender {
  readonly engine: Engine;
  readonly log: Log;
  /** How results are read. Default: the app's codec. */
  readonly codec?: MetaCodec;
  /** Applies one command. Throws the `OperationalError` or `PayloadTooLarge` that kept it from being applied. */
  apply(command: Command): Promise<Recorded>;
  /** Rows, with all that was written before. */
  read(keys: readonly string[]): Promise<readonly (Row | undefined)[]>;
  send(message: Addressed, call?: Call): Promise<void>;
  /** Tells the journal, where one is kept. Never throws. */
  note(entry: JournalEntry): Promise<void>;
  /** The id of the task whose message asks for it, where the task may end by what it asks for. */
  readonly own?: string;
}

/** Sends on by the app's own broker and backend; in a unit where one is given. */
export const senderOf = (engine: Engine, log: Log, unit?: Unit): Sender => ({
  engine,
  log,
  apply: (command) => applyOne(engine.backendAtOnce(), command, unit),
  read: async (keys) => (await engine.backend()).read(keys, { consistent: true, unit }),
  send: (message, call) => send(engine, message, call?.options, unit),
  note: (entry) => engine.note(entry),
});

/**
 * The same for what may have been sent before. A message whose task has its outcome is left out: our own workers would
 * discard it, but Celery's run whatever they get. One that was revoked before it was sent is not: whoever receives it
 * ends what waits for it.
 */
export const repeating = (sender: Sender): Sender => ({
  ...sender,
  async send(addressed, call) {
    const [row] = await sender.read([taskKey(addressed.message.id)]);
    const isOpen = row === undefined || isRevokedUnsent(row) || !(await hasOutcome(sender, row));
    if (isOpen || isFreshRedrive(row, addressed)) await sender.send(addressed, call);
  },
});

/** Whether a task has ended. Another program's row may hold what nobody can read here: that program has the task, and tells of its end. */
export async function hasOutcome({ engine }: Sender, { done, result }: Row): Promise<boolean> {
  if (done === true) return true;
  try {
    return isReady(await decodeStatus(result, engine.codec));
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return true;
  }
}

/** It ended by `revoke` alone, which stores an outcome and sends nothing: no message of it may ever have been received. */
const isRevokedUnsent = ({ revoked, attempt }: Row): boolean => revoked !== undefined && attempt === undefined;

/** The same for what follows from a task that had failed and was sent again: what had failed along with it may run after all. */
export const redriving = (sender: Sender, redrive: number | undefined): Sender =>
  redrive === undefined ? sender : { ...sender, send: (message, call) => sender.send({ ...message, redrive }, call) };
