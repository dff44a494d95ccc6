/** Messages that cannot be run: they go to the dead-letter queue unchanged, with what is known of them beside the body. */
import { clip } from "../brief.ts";
import { type Delivery, deadLetterQueue, type Outgoing, withAttributes } from "../brokers/broker.ts";
import { dataToError, exceptionToData } from "../protocol/exceptions.ts";
import { decodeMeta, encodeMeta, type Meta } from "../protocol/meta.ts";
import { formatTime } from "../protocol/time.ts";
import { type Payload, taskKey } from "../results/backend.ts";
import type { JournalEntry } from "../journal/entry.ts";
import type { Outcome as Recorded } from "../results/record.ts";
import { FAILURE } from "../states.ts";
import { PayloadTooLarge } from "../errors.ts";
import type { Engine } from "../engine.ts";
import type { WorkerContext } from "./context.ts";
import { DELETE, type Disposition } from "./disposition.ts";
import { carriedPlace } from "./held-place.ts";

/** Attributes are short: they are read in a console, and count towards the message's size. */
const REASON_LENGTH = 1024;
const NAME_LENGTH = 256;

/** What could be read of the message. */
export interface Known {
  readonly id: string | undefined;
  readonly task: string | undefined;
}

/** What XML cannot say, SQS refuses: control characters but for three, and halves of characters. It refuses an empty text too. */
const REFUSED = /[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu;

const attributeTexts = (texts: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(texts).flatMap(([name, text]) => (text === "" ? [] : [[name, text.replace(REFUSED, "\uFFFD")]])),
  );

/** A message that was sent again says when, or which time it is. A dead letter that comes as it is was moved by SQS: the next time. */
export function redriveOf({ attributes: { redrivenAt = "0", deadAt } }: Delivery): number | undefined {
  const at = Number(redrivenAt) + (deadAt === undefined ? 0 : 1);
  return Number.isFinite(at) && at > 0 ? at : undefined;
}

/** The message becomes a dead letter; its row is somebody else's matter. */
export async function deadLetter(
  { engine, log }: WorkerContext,
  delivery: Delivery,
  { id, task }: Known,
  error: Error,
): Promise<Disposition> {
  const broker = await engine.broker();
  const groupId = carriedPlace(delivery)?.group ?? delivery.groupId;
  const letter: Outgoing = {
    queue: deadLetterQueue(delivery.queue),
    body: delivery.body,
    ...(groupId === undefined ? {} : { groupId }),
  };
  const attributes = attributeTexts({
    // By these it may claim its row where SQS itself moves it back, so they come first.
    deadAt: formatTime(engine.clock.now()),
    redrivenAt: String(redriveOf(delivery) ?? ""),
    error: clip(error.name, NAME_LENGTH),
    queue: delivery.queue,
    task: clip(task ?? "", NAME_LENGTH),
    id: clip(id ?? "", NAME_LENGTH),
    deliveries: String(delivery.receiveCount),
    sentAt: formatTime(delivery.sentAt),
    reason: clip(error.message || error.name, REASON_LENGTH),
  });
  let [failed] = await broker.send([{ ...letter, attributes }]);
  // A body that fills a message is worth more than its attributes.
  if (failed instanceof PayloadTooLarge)
    [failed] = await broker.send([withAttributes(letter, attributes, failed.limit)]);
  if (failed !== undefined) throw failed;
  log(
    "error",
    `Message ${delivery.messageId} of ${delivery.queue} is now a dead letter in ${deadLetterQueue(delivery.queue)}: ${error.message}`,
    {
      queue: delivery.queue,
      task,
      id,
      reason: error.message,
    },
  );
  await engine.emitter.emit("taskRejected", { task, taskId: id, queue: delivery.queue, reason: error.message });
  return DELETE;
}

/**
 * Stores the row of a task that will not run (any more), unless it has an outcome or runs: then it is `refused`. `next`: why, where
 * its message is no dead letter.
 */
export async function storeFate(
  { engine, apply }: Pick<WorkerContext, "engine" | "apply">,
  id: string,
  meta: Meta,
  entry?: JournalEntry,
  next?: string,
): Promise<Recorded> {
  return apply({
    type: "bury",
    key: taskKey(id),
    now: engine.clock.now(),
    ttl: engine.ttl(),
    result: await encodeMeta(meta, engine.codec),
    next,
    entry,
  });
}

/** Whether what follows from a fate is ours to send: it was stored just now, or by who buried the same message before. */
export const isOurFate = (recorded: Recorded): boolean =>
  recorded.type === "written" || (recorded.type === "refused" && recorded.row?.buried === true);

/** Why a buried row is, by the row itself. */
export async function storedFate(engine: Engine, id: string, result: Payload): Promise<Error> {
  const meta = await decodeMeta(result, engine.codec);
  return dataToError(meta.result, meta.traceback, id);
}

/** The meta of a task that failed without having run. */
export function failedMeta(engine: Engine, id: string, error: unknown): Meta {
  const { data, traceback } = exceptionToData(error);
  return {
    status: FAILURE,
    result: data,
    traceback,
    children: [],
    dateDone: formatTime(engine.clock.now()),
    taskId: id,
  };
}
