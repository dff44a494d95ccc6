/**
 * What follows from a settled row: the next message of a retry, callbacks, the next step of a chain, errbacks. All of it
 * is derived from the message and the row, ids included, so that whoever meets the row later can do it again: a second
 * copy meets the first one's claim.
 */
import type { Given } from "../canvas/apply.ts";
import { datedAt } from "../canvas/dated.ts";
import { freeze, type Place } from "../canvas/freeze.ts";
import { childOf } from "../canvas/send.ts";
import { ACCUMULATE, chordData, formOf, withOptions } from "../canvas/shape.ts";
import { ChordError, isLasting } from "../errors.ts";
import {
  CHECKPOINT_HEADER,
  createMessage,
  lineOf,
  type Message,
  sentOf,
  type SignatureData,
} from "../protocol/message.ts";
import { decodeRow, encodeMeta, type ResultTuple, withResult } from "../protocol/meta.ts";
import type { Row } from "../results/backend.ts";
import type { Again } from "../results/record.ts";
import { stableId } from "../stable-id.ts";
import { FAILURE, REVOKED, SUCCESS } from "../states.ts";
import { failedMeta, storeFate } from "./dead-letter.ts";
import { goingFor, type HeldPlace, keepsPlace, type Kept, OWN_PROPERTIES } from "./held-place.ts";
import { callErrbacks, failedCall, joinAdded, joinChord, markStep, type Member, type Origin, sendOn } from "./join.ts";
import { readNext, writeNext } from "./next.ts";
import { messageOf, stackOf } from "./report.ts";
import { redriving, type Sender } from "./sender.ts";
import type { RetryChange } from "./trace.ts";

/** The part of a row that its follow-ups are derived from. */
export type Settled = Pick<Row, "result" | "next">;

/** Where a message came from. */
export interface Source extends Again {
  readonly queue: string;
  /** On a FIFO queue. */
  readonly place?: HeldPlace | undefined;
  /** It is another message that keeps the place, and this one goes for it. */
  readonly goesFor?: boolean;
}

/**
 * Does all that a settled row calls for. A passing error is thrown: the message comes back, and this is done again. Where a
 * retry was sent that needs the place of the message in its group, it says so.
 */
export async function follow(
  sender: Sender,
  message: Message,
  source: Source,
  row: Settled,
): Promise<Kept | undefined> {
  const { retry, replace, ignored, fate } = row.next === undefined ? {} : readNext(row.next);
  const onward = redriving(sender, source.redrive);
  if (retry !== undefined) return sendRetry(onward, message, source, retry);
  if (replace !== undefined) await sendReplacement(onward, message, replace);
  else if (!isAlone(message)) {
    // Those of a fate that another task had a part in were called with that one's end.
    const told = fate === "shared" ? { ...message, errbacks: [] } : message;
    await endWaiting(sender, onward, told, ignored ? "" : row.result, source);
  }
  return undefined;
}

/** Sends what follows from an outcome, and counts it in its chord. */
async function endWaiting(
  sender: Sender,
  onward: Sender,
  message: Message,
  result: Row["result"],
  again: Again,
): Promise<void> {
  const { codec = sender.engine.codec } = sender;
  const meta = result.length === 0 ? undefined : await decodeRow(result, codec);
  const line = lineOf(message);
  const origin: Origin = { id: message.id, rootId: message.rootId ?? message.id };
  switch (meta?.status) {
    case SUCCESS: {
      const all = successors(message);
      if (all.length === 0) break;
      const { result: value } = await withResult(meta, codec);
      await Promise.all(all.map((next) => sendSuccessor(onward, message, next, value)));
      break;
    }
    case FAILURE:
    case REVOKED: {
      const errbacks = meta.status === FAILURE ? message.errbacks : [];
      // Steps that will not run any more share the outcome, so that who waits for the last of them is told.
      await Promise.all([
        callErrbacks(sender, errbacks, origin, again, failedCall(message, meta)),
        ...message.chain.map((step, index) => markStep(sender, step, meta, [message.id, index])),
      ]);
      break;
    }
    default: {
      // `Ignore` has no outcome, and neither have the steps after it; and yet no chord must wait for one.
      const ignored = failedMeta(
        sender.engine,
        message.id,
        new ChordError(`${message.id}, which comes before it, was ignored`),
      );
      await Promise.all(message.chain.map((step, index) => markStep(sender, step, ignored, [message.id, index], true)));
    }
  }
  const { group, groupIndex: index, chord: body } = message;
  if (body === null || group === null) return;
  const member: Member = { ...origin, group, index, body };
  if (meta?.status === FAILURE || meta?.status === REVOKED) await joinAdded(sender, member, line);
  await joinChord(onward, member);
}

/** Nothing waits for it, whatever its outcome: the row need not even be read. */
export const isAlone = ({ callbacks, errbacks, chain, chord }: Message): boolean =>
  callbacks.length === 0 && errbacks.length === 0 && chain.length === 0 && chord === null;

interface Successor {
  readonly signature: SignatureData;
  readonly chain: readonly SignatureData[];
  readonly place: Place;
  /** What ids within it are made of. */
  readonly idParts: readonly (string | number)[];
}

/** What a task's success calls for, each under an id that is known beforehand. */
function successors(message: Message): Successor[] {
  const line = lineOf(message);
  const several = message.callbacks.length > 1;
  const linked = message.callbacks.map((signature, index): Successor => {
    const idParts = ["link", message.id, line, index];
    const options = several ? { group_id: stableId("links", message.id, line), group_index: index } : {};
    return { signature, chain: [], place: { defaultId: stableId(...idParts), options }, idParts };
  });
  const next = message.chain.at(-1);
  if (next === undefined) return linked;
  const idParts = ["chain", message.id, line];
  return [
    ...linked,
    { signature: next, chain: message.chain.slice(0, -1), place: { defaultId: stableId(...idParts) }, idParts },
  ];
}

async function sendSuccessor(sender: Sender, message: Message, next: Successor, result: unknown): Promise<void> {
  const given: Given = { args: [result], chain: next.chain, options: inherited(message) };
  await sendOn(sender, next.signature, given, next.place, next.idParts);
}

/** Not the priority, where that is inherited: one that was set goes before it, and so it is given when the message is made. */
const inherited = (message: Message): SignatureData["options"] => ({
  parent_id: message.id,
  root_id: message.rootId ?? message.id,
});

/** What a success sends, as its row's `children` tell it. */
export function successorTuples(message: Message): readonly ResultTuple[] {
  return successors(message).map(({ signature, place, idParts }): ResultTuple => {
    let ids = 0;
    // Errbacks change no ids.
    const rules = { newId: () => stableId(...idParts, ids++), errbacksOnHeader: false };
    try {
      return childOf(freeze(signature, rules, place).node);
    } catch {
      // It will fail when it is sent, under this id.
      return [[place.defaultId ?? "", null], null];
    }
  });
}

/** The message of the attempt after this one: the same task, with what changes. */
export function retryMessage(message: Message, change: RetryChange): Message {
  return createMessage({
    ...message,
    // What was said of the arguments holds for those that stay.
    argsrepr: change.args === undefined ? message.argsrepr : null,
    kwargsrepr: change.kwargs === undefined ? message.kwargsrepr : null,
    retries: message.retries + (change.checkpoint === undefined ? 1 : 0),
    eta: change.eta,
    args: change.args ?? message.args,
    kwargs: change.kwargs ?? message.kwargs,
    headers: {
      ...message.headers,
      ...change.headers,
      // A retry goes on from the last one too.
      ...(change.checkpoint !== undefined && { [CHECKPOINT_HEADER]: change.checkpoint }),
    },
    priority: change.priority ?? message.priority,
    expires: change.expires === undefined ? message.expires : change.expires,
    properties: { ...message.properties, ...OWN_PROPERTIES },
  });
}

/** Says so where the retry needs the place that the message itself keeps. */
async function sendRetry(
  sender: Sender,
  message: Message,
  source: Source,
  change: RetryChange,
): Promise<Kept | undefined> {
  const { queue, place, goesFor } = source;
  const target = change.queue ?? queue;
  const next = retryMessage({ ...message, deliveryInfo: { exchange: "", routingKey: target } }, change);
  const kept = keepsPlace(queue, change) ? place : undefined;
  try {
    await sender.send({ message: next, queue: target, ...(kept !== undefined && goingFor(next, kept)) });
    // What goes for another is done itself.
    return kept && !goesFor ? { eta: change.eta } : undefined;
  } catch (error) {
    await cannotGoOn(sender, message, source, `retry ${next.retries}`, error);
    return undefined;
  }
}

/** The attempt that was to come cannot be sent: the task has failed, and all who wait for it are told. */
async function cannotGoOn(
  sender: Sender,
  message: Message,
  source: Source,
  what: string,
  error: unknown,
): Promise<void> {
  if (!isLasting(error)) throw error;
  const { id, group } = message;
  sender.log("error", `${what} of ${message.task}[${id}] could not be sent: ${messageOf(error)}`, {
    id,
    error: stackOf(error),
  });
  const meta = { ...failedMeta(sender.engine, id, error), groupId: group ?? undefined };
  await storeFate(sender, id, meta, undefined, writeNext({ fate: "own" }));
  await endWaiting(sender, sender, message, await encodeMeta(meta, sender.engine.codec), source);
}

/** Another canvas takes the task's place: what it ends in has the task's id, and is followed by what the task is followed by. */
async function sendReplacement(sender: Sender, message: Message, replacement: SignatureData): Promise<void> {
  const idParts = ["replace", message.id, lineOf(message)];
  const { group, groupIndex, chord } = message;
  const one = formOf(replacement) === "group" ? chordData(replacement, ACCUMULATE) : replacement;
  const linked = withOptions(one, { link: message.callbacks, link_error: message.errbacks });
  const options = {
    replaced_task_nesting: message.replacedTaskNesting + 1,
    ...(group === null ? {} : { group_id: group }),
    ...(groupIndex === null ? {} : { group_index: groupIndex }),
    ...(chord === null ? {} : { chord }),
  };
  const given: Given = { chain: message.chain, options: inherited(message) };
  const sent = sentOf(message);
  await sendOn(
    { ...sender, own: message.id },
    sent === undefined ? linked : datedAt(linked, sent),
    given,
    { id: message.id, options, joined: true },
    idParts,
  );
}
