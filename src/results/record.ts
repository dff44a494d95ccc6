/**
 * Who may write a result, and when: the state machine of one row, pure. Every backend obeys it.
 *
 *   (no row) ──claim──▶ running ──final──▶ settled (RETRY: a later attempt may claim) ──▶ … ──▶ done
 *                          │  lease over: another owner takes over, runs + 1, unless the one before was excused
 *                          └─ release: the message was handed back, the next owner is no take-over
 *
 * An owner whose lease ended must be taken to have died of its run. It is charged with one death, and takes that back when
 * it says anything after all.
 *
 * `revoke` and `bury` end a row that nobody runs. Such an end has no attempt and no owner: every message of the task
 * that still comes is told it, so that what follows from it is sent, and a late owner cannot take it for its own.
 */
import type { JournalEntry } from "../journal/entry.ts";
import { isReady } from "../states.ts";
import { payloadText } from "../protocol/serializers.ts";
import type { Payload, Row } from "./backend.ts";

/** How long after the end of a lease its owner is still believed alive, in milliseconds: clocks differ between machines. */
export const LEASE_MARGIN_MS = 2000;

interface Addressed {
  readonly key: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** `ttl` of the row when the command writes it, in whole seconds since the epoch. */
  readonly ttl?: number | undefined;
  /** The entry that is written to the journal together with the command, if the backend keeps a journal ({@link isNews}). */
  readonly entry?: JournalEntry | undefined;
}

/** A delivery is about to run: make it the one owner of this attempt. */
export interface Claim extends Addressed {
  readonly type: "claim";
  readonly attempt: number;
  readonly owner: string;
  /** Milliseconds since the epoch. */
  readonly lease: number;
  /** Meta to store: STARTED, or PENDING where starts are not tracked. */
  readonly result: Payload;
  readonly hidden: boolean;
  /**
   * The message was sent again for a task that had failed: when it was redriven from the dead letters, in milliseconds since
   * the epoch, or which redrive it is; absent: neither. Lets it claim a row that is `buried` or `kept`, once for each redrive.
   */
  readonly redrive?: number | undefined;
  /**
   * When its caller sent it under an id of the caller's own, in milliseconds since the epoch, with a fraction: on a row that was
   * forgotten before, it is another task. Absent: the id was made for it, and comes once.
   */
  readonly sent?: number | undefined;
  /** Kept while the attempt runs: how it differs from the message in the queue, where that waited there for its retry (FIFO). */
  readonly next?: string | undefined;
}

/** An attempt has ended: store its outcome, if the owner still is the owner. */
export interface Final extends Addressed {
  readonly type: "final";
  readonly attempt: number;
  readonly owner: string;
  /** Meta of the outcome; absent: the one last stored stays (`Ignore`, a replacement). */
  readonly result?: Payload | undefined;
  /** The task's last outcome. `false` for RETRY and for a replacement: a later attempt comes. */
  readonly done: boolean;
  readonly hidden: boolean;
  readonly next?: string | undefined;
  /** The message goes to the dead letters (`Reject`, too many deaths): a redrive may claim the row again. */
  readonly buried?: boolean;
  /** The message of a failure, by which it can be asked for again. */
  readonly kept?: string | undefined;
  /** {@link Claim.redrive} of a task that does not claim: lets it store over a row that is `kept`. */
  readonly redrive?: number | undefined;
  /** {@link Claim.sent} of a task that does not claim: lets it store over a row that was forgotten. */
  readonly sent?: number | undefined;
  /** The task does not claim (`claim: false`): store unless the row is done (and not buried), ahead, or settled at this attempt. */
  readonly unclaimed?: boolean;
}

/** `updateState`: a state and its meta, of a running attempt. Touches `result`, `timestamp` and `ttl` only. */
export interface Update extends Addressed {
  readonly type: "update";
  readonly owner: string;
  readonly result: Payload;
}

/** The owner is alive: its lease ends later. */
export interface Extend extends Addressed {
  readonly type: "extend";
  readonly owner: string;
  readonly lease: number;
  /** Its process was told to stop: if nothing more is heard of it, that is no death. */
  readonly excused?: boolean | undefined;
}

/** The owner hands its message back without an outcome: the next claim is no take-over and counts no death. */
export interface Release extends Addressed {
  readonly type: "release";
  readonly owner: string;
  /** What readers see until the next claim, in place of a run that is none any more. Default: what they saw. Nothing that is hidden is shown. */
  readonly result?: Payload | undefined;
  /** Its process is known to have died of the run: that is counted, and nobody waits for the lease. */
  readonly died?: boolean | undefined;
}

/** Final where no lease lives; else a mark that the owner sees. */
export interface Revoke extends Addressed {
  readonly type: "revoke";
  readonly terminate: boolean;
  /** Meta REVOKED, stored where no lease lives. */
  readonly result: Payload;
  /** {@link Claim.redrive} of the message that waits to run a failed task again: it is not to. */
  readonly redrive?: number | undefined;
}

/** Readers shall see nothing any more. A row that is done, or runs, keeps guarding against messages that were sent before. */
export interface Forget extends Addressed {
  readonly type: "forget";
  /** When it was asked for, in milliseconds since the epoch, with a fraction that tells it from what was sent in the same one. */
  readonly at: number;
}

/** The row of a task that will not run: FAILURE, unless the row is done or a lease lives. */
export interface Bury extends Addressed {
  readonly type: "bury";
  readonly result: Payload;
  /** Why it will not run. Absent: its message is a dead letter. */
  readonly next?: string | undefined;
}

/** A plain write, as Celery's `store_result` or `GroupResult.save`: over anything but a row that is done. */
export interface Store extends Addressed {
  readonly type: "store";
  readonly result: Payload;
}

/**
 * A member of a chord has ended, or the chord learns its size or of a further member; any of them, or none to only ask.
 * Makes the row if there is none. Saying a thing twice changes nothing, and nothing is ever taken back.
 */
export interface Join extends Addressed {
  readonly type: "join";
  /** Hash of the member: {@link MEMBER_LENGTH} characters. */
  readonly member?: string | undefined;
  /** Counts where no size is known yet. */
  readonly size?: number | undefined;
  /** Id of a task that is a member from now on. */
  readonly added?: string | undefined;
}

/** What a worker or caller asks of a row. `decide` says what becomes of the row, and what the answer is. */
export type Command = Claim | Final | Update | Extend | Release | Revoke | Forget | Bury | Store | Join;

/** The answer to a command. */
export type Outcome =
  /** claim: the delivery owns the attempt. `runs` over 1 means that owners before it died. `revoked`: settle REVOKED, do not run. */
  | ({ readonly type: "claimed"; readonly runs: number; readonly revoked: "revoke" | "terminate" | undefined } & Again)
  /** claim: the outcome of this attempt is stored; send what follows from it again, then acknowledge. */
  | { readonly type: "settled"; readonly row: Row }
  /** claim: over, or a later attempt is known. Acknowledge, send nothing. */
  | { readonly type: "superseded"; readonly row: Row }
  /** claim: another owner runs it. Hand back, hidden until `until` (milliseconds since the epoch). */
  | { readonly type: "running"; readonly until: number }
  /** Written. For `final`: or written before by this very owner. For `extend`: `revoked` tells what was asked meanwhile. */
  | ({ readonly type: "written"; readonly revoked: "revoke" | "terminate" | undefined } & Again)
  /** Not written: the row belongs to someone else now, is done, or does not exist. */
  | { readonly type: "refused"; readonly row: Row | undefined }
  /** join: what the row says now. */
  | Joined;

/** Of a claim, of a final without one, and of a `bury`: which time it is that the task was sent, by its row. */
export interface Again {
  readonly again?: number | undefined;
  readonly redrive?: number | undefined;
}

/** Where a join stands. */
export interface Joined {
  readonly type: "joined";
  /** Celery's counter: members that have ended, Python's too. */
  readonly count: number;
  /** Those of them whose end was told by us: each counts once. */
  readonly members: number;
  /** How many there are without those added; `undefined`: not known yet. */
  readonly size: number | undefined;
  /** Ids of members that were added. */
  readonly added: readonly string[];
}

/** What a command does: the row to write, if any, and what its caller is told. */
export interface Decision {
  /** `undefined`: leave the row as it is. */
  readonly write: Row | undefined;
  /** The answer to who gave the command. */
  readonly outcome: Outcome;
}

/** What a command does to a row. Pure: the same row and command give the same decision, and neither is changed. */
export function decide(stored: Row | undefined, command: Command): Decision {
  const row = stored !== undefined && isExpired(stored, command.now) ? undefined : stored;
  switch (command.type) {
    case "claim":
      return claim(row, command);
    case "final":
      return final(row, command);
    case "update":
      return update(row, command);
    case "extend":
      return extend(row, command);
    case "release":
      return release(row, command);
    case "revoke":
      return revoke(row, command);
    case "forget":
      return forget(row, command);
    case "bury":
      return bury(row, command);
    case "store":
      return store(row, command);
    case "join":
      return join(row, command);
    default:
      return command satisfies never;
  }
}

/**
 * Whether the journal is told the command's `entry`: it was written, and had not been written before. An unclaimed task that
 * ended without a result has no row to be written.
 */
export const isNews = (command: Command, { write, outcome }: Decision): boolean =>
  outcome.type === "written" &&
  (write !== undefined || (command.type === "final" && command.unclaimed === true && command.result === undefined));

// ── what a row says ──────────────────────────────────────────────────────────────────────────────────────────────────

/** The row counts as absent from now on, whether or not it was deleted. */
export const isExpired = (row: Pick<Row, "ttl">, now: number): boolean =>
  row.ttl !== undefined && row.ttl * 1000 <= now;

/** The owner may still be at work. */
const isAlive = (row: Row, now: number): boolean => row.lease !== undefined && now < row.lease + LEASE_MARGIN_MS;

/** Nothing is to be run any more: the task's last outcome is stored, by us or by Python. */
export const isEnded = (row: Row): boolean =>
  row.done === true || (row.attempt === undefined && holdsReadyMeta(row.result));

/** The outcome stored is that of this attempt, or of all of them. */
export const isOutcomeOf = (row: Row, attempt: number): boolean =>
  row.settled === true && (row.attempt === undefined || row.attempt === attempt);

const isAhead = (row: Row, attempt: number): boolean => row.attempt !== undefined && row.attempt > attempt;

const isBehind = (row: Row, attempt: number): boolean => row.attempt === undefined || row.attempt < attempt;

const isOwn = (row: Row, command: { readonly owner: string }): boolean => row.owner === command.owner;

/** The owner runs the attempt: it was neither settled nor handed back. Its lease may be over, as long as nobody took over. */
export const isRunBy = (row: Row, command: { readonly owner: string }): boolean =>
  isOwn(row, command) && row.lease !== undefined;

const isReleased = (row: Row): boolean => row.lease === undefined;

/** Its message is there to be sent again. */
export const isRepeatable = (row: Pick<Row, "buried" | "kept">): boolean =>
  row.buried === true || row.kept !== undefined;

/** A failure whose message can be sent again ended the row, and this redrive of it has not claimed yet. */
export const isFreshRedrive = (row: Row, { redrive }: { readonly redrive?: number | undefined }): boolean =>
  isRepeatable(row) && redrive !== undefined && redrive > (row.redrive ?? 0);

/** The task was forgotten before its caller sent it again, under the same id. */
const isSentAnew = (row: Row, { sent }: { readonly sent?: number | undefined }): boolean =>
  row.forgotten !== undefined && sent !== undefined && sent > row.forgotten;

const OPENING_BRACE = 0x7b;

/**
 * Whether a meta that Python stored says SUCCESS, FAILURE or REVOKED. Only JSON is looked into. What is compressed
 * (Celery 5.7's `result_compression`) or msgpack is taken for not ready: the task may then run once more than needed,
 * while the other mistake would lose it.
 */
function holdsReadyMeta(payload: Payload): boolean {
  if (typeof payload !== "string" && payload[0] !== OPENING_BRACE) return false;
  try {
    const meta: unknown = JSON.parse(payloadText(payload));
    return typeof meta === "object" && meta !== null && "status" in meta && isReady(String(meta.status));
  } catch {
    return false;
  }
}

const againOf = ({ again, redrive }: Row): Again => ({ again, redrive });

// ── what a caller is told ────────────────────────────────────────────────────────────────────────────────────────────

const unchanged = (outcome: Outcome): Decision => ({ write: undefined, outcome });
const written = (write: Row, again?: Again): Decision => ({
  write,
  outcome: { type: "written", revoked: write.revoked, ...again },
});
const refused = (row: Row | undefined): Decision => unchanged({ type: "refused", row });
const settled = (row: Row): Decision => unchanged({ type: "settled", row });
const superseded = (row: Row): Decision => unchanged({ type: "superseded", row });
const claimed = (write: Row, runs: number): Decision => ({
  write,
  outcome: { type: "claimed", runs, revoked: write.revoked, ...againOf(write) },
});

// ── the commands ─────────────────────────────────────────────────────────────────────────────────────────────────────

function claim(row: Row | undefined, command: Claim): Decision {
  const begin = (runs: number) => claimed(begun(row, command, runs), runs);

  if (row === undefined) return begin(1);
  if (isSentAnew(row, command)) return claimAnew(row, command);
  if (isFreshRedrive(row, command)) return begin(1);
  if (isEnded(row)) return isOutcomeOf(row, command.attempt) ? settled(row) : superseded(row);
  if (isAhead(row, command.attempt)) return superseded(row);
  // Whatever its lease: a later message exists, so the attempt before it has ended and only its row is late.
  if (isBehind(row, command.attempt)) return begin(1);
  if (row.settled) return settled(row);
  // Its own claim again: the first reply was lost on the way.
  if (isOwn(row, command) || isReleased(row)) return begin(row.runs ?? 1);
  if (isAlive(row, command.now)) return unchanged({ type: "running", until: (row.lease ?? 0) + LEASE_MARGIN_MS });
  if (row.accounted === row.owner) return begin(row.runs ?? 1);
  const runs = (row.runs ?? 1) + 1;
  return claimed({ ...begun(row, command, runs), accounted: row.owner }, runs);
}

/** What has ended is nobody's any more. What has not goes on, as what was asked for again: whoever asked is to see it. */
function claimAnew(row: Row, command: Claim): Decision {
  if (isEnded(row)) return claimed({ ...begun(undefined, command, 1), again: command.sent }, 1);
  const shown: Row = { ...row, hidden: flag(command.hidden), forgotten: undefined };
  const { write = shown, outcome } = claim(shown, command);
  return { write, outcome };
}

/** It does not own the row (any more). If its death was counted there, it was none. */
function turnAway(
  row: Row | undefined,
  { owner, ttl }: { readonly owner: string; readonly ttl?: number | undefined },
): Decision {
  if (row?.accounted !== owner || row.owner === owner || row.runs === undefined) return refused(row);
  const pardoned: Row = { ...row, ttl: ttl ?? row.ttl, runs: row.runs - 1, accounted: undefined };
  return { write: pardoned, outcome: { type: "refused", row: pardoned } };
}

function final(row: Row | undefined, command: Final): Decision {
  const isMine = row !== undefined && isOwn(row, command) && row.attempt === command.attempt;
  if (isMine && row.settled)
    return unchanged({ type: "written", revoked: row.revoked, ...(command.unclaimed && againOf(row)) });
  if (isMine) return settle(row, command, row.runs);
  if (command.unclaimed !== true) return turnAway(row, command);
  if (row !== undefined && isEnded(row) && isSentAnew(row, command)) return settleAnew(command);
  return mayStoreUnclaimed(row, command) ? settle(row, command, undefined) : turnAway(row, command);
}

function settleAnew(command: Final): Decision {
  const { result, sent: again } = command;
  if (result === undefined) return unchanged({ type: "written", revoked: undefined, again });
  return settle({ result, timestamp: 0, again }, command, undefined);
}

function mayStoreUnclaimed(row: Row | undefined, command: Final): boolean {
  const { attempt } = command;
  if (row === undefined || row.buried || isFreshRedrive(row, command)) return true;
  return !isEnded(row) && !isAhead(row, attempt) && !isOutcomeOf(row, attempt);
}

function settle(row: Row | undefined, command: Final, runs: number | undefined): Decision {
  const result = command.result ?? row?.result;
  // An unclaimed task that ended in `Ignore` has no row, and nothing to put into one.
  if (result === undefined) return unchanged({ type: "written", revoked: undefined, redrive: command.redrive });
  const write: Row = {
    ...stamped(row, command),
    result,
    attempt: command.attempt,
    owner: command.owner,
    runs,
    settled: true,
    done: flag(command.done),
    next: command.next,
    hidden: flag(command.hidden || row?.hidden),
    buried: flag(command.buried),
    redrive: command.redrive ?? row?.redrive,
    kept: command.kept,
  };
  // Who has claimed knows it since then.
  return written(write, runs === undefined ? againOf(write) : undefined);
}

function update(row: Row | undefined, command: Update): Decision {
  if (row === undefined || !isRunBy(row, command)) return turnAway(row, command);
  return written({ ...row, ...stamped(row, command), result: command.result });
}

function extend(row: Row | undefined, command: Extend): Decision {
  if (row === undefined || !isRunBy(row, command)) return turnAway(row, command);
  const accounted = command.excused ? command.owner : row.accounted;
  return written({ ...row, ttl: command.ttl ?? row.ttl, lease: command.lease, accounted });
}

/** The owner stays, so that a final of its own which was only slow still counts if nobody claimed in between. */
function release(row: Row | undefined, command: Release): Decision {
  if (row === undefined || !isOwn(row, command) || row.settled) return turnAway(row, command);
  const result = row.hidden === true ? row.result : (command.result ?? row.result);
  // Said twice, it is counted once.
  const runs = command.died && !isReleased(row) ? (row.runs ?? 1) + 1 : row.runs;
  return written({ ...row, ttl: command.ttl ?? row.ttl, lease: undefined, runs, result });
}

function revoke(row: Row | undefined, command: Revoke): Decision {
  if (row !== undefined && isEnded(row) && !isFreshRedrive(row, command)) return refused(row);
  const revoked = command.terminate || row?.revoked === "terminate" ? "terminate" : "revoke";
  if (row !== undefined && isAlive(row, command.now)) return written({ ...row, ttl: command.ttl ?? row.ttl, revoked });
  return written({ ...endedWithoutRun(row, command), revoked, redrive: command.redrive ?? row?.redrive });
}

function forget(row: Row | undefined, command: Forget): Decision {
  if (row === undefined) return refused(row);
  // What is forgotten is not to be read out of its message either. What was asked for before may still come, and runs.
  return written({ ...row, ttl: command.ttl ?? row.ttl, hidden: true, forgotten: command.at, kept: row.kept && "" });
}

function bury(row: Row | undefined, command: Bury): Decision {
  if (row !== undefined && (isEnded(row) || isAlive(row, command.now))) return refused(row);
  const write: Row = { ...endedWithoutRun(row, command), next: command.next, buried: true };
  return written(write, againOf(write));
}

/** What is stored plainly is to be read, also after a `forget`: a group may be saved again. */
function store(row: Row | undefined, command: Store): Decision {
  if (row !== undefined && isEnded(row)) return refused(row);
  return written({ ...row, ...stamped(row, command), result: command.result, hidden: undefined, forgotten: undefined });
}

/** Characters of a member's hash: 8 bytes in base64url. */
export const MEMBER_LENGTH = 11;

function join(row: Row | undefined, { now, ttl, member, size, added }: Join): Decision {
  const members = row?.members ?? "";
  const ids = row === undefined ? [] : addedTo(row);
  const isNew = member !== undefined && !includesMember(members, member);
  const isFurther = added !== undefined && !ids.includes(added);
  const after: Row = {
    ...row,
    result: row?.result ?? "",
    timestamp: now / 1000,
    ttl: ttl ?? row?.ttl,
    chord_count: (row?.chord_count ?? 0) + (isNew ? 1 : 0),
    members: isNew ? members + member : row?.members,
    size: row?.size ?? size,
    added: isFurther ? JSON.stringify([...ids, added]) : row?.added,
  };
  return {
    write: row === undefined || isNew || isFurther || after.size !== row.size ? after : undefined,
    outcome: joinedOf(after),
  };
}

/** Where a join stands, by its row. */
export const joinedOf = (row: Row): Joined => ({
  type: "joined",
  count: row.chord_count ?? 0,
  members: (row.members?.length ?? 0) / MEMBER_LENGTH,
  size: row.size,
  added: addedTo(row),
});

/** Ids of the members that were added to a join. */
export const addedTo = ({ added }: Row): readonly string[] => (added === undefined ? [] : JSON.parse(added));

function includesMember(members: string, member: string): boolean {
  for (let at = members.indexOf(member); at !== -1; at = members.indexOf(member, at + 1)) {
    if (at % MEMBER_LENGTH === 0) return true;
  }
  return false;
}

// ── the rows they write ──────────────────────────────────────────────────────────────────────────────────────────────

function begun(row: Row | undefined, command: Claim, runs: number): Row {
  return {
    ...stamped(row, command),
    result: command.result,
    attempt: command.attempt,
    owner: command.owner,
    lease: command.lease,
    runs,
    next: command.next,
    hidden: flag(command.hidden || row?.hidden),
    redrive: command.redrive ?? row?.redrive,
  };
}

function endedWithoutRun(row: Row | undefined, command: Revoke | Bury): Row {
  return { ...stamped(row, command), result: command.result, settled: true, done: true, hidden: row?.hidden };
}

/** What every stored state has, and what the task keeps from one state to the next. */
const stamped = (row: Row | undefined, { now, ttl }: Addressed) => ({
  timestamp: now / 1000,
  ttl: ttl ?? row?.ttl,
  revoked: row?.revoked,
  redrive: row?.redrive,
  forgotten: row?.forgotten,
  again: row?.again,
});

/** A row has a mark or does not; it never says `false`. */
const flag = (value: boolean | undefined): true | undefined => (value ? true : undefined);
