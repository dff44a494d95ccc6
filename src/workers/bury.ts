/** Messages that will not run: their rows say why, who waits for them is told, and they become dead letters. */
import type { Delivery } from "../brokers/broker.ts";
import { isLasting, OperationalError, WorkerLostError } from "../errors.ts";
import { peekEnvelope, salvageMessage } from "../protocol/envelope.ts";
import type { Message } from "../protocol/message.ts";
import { encodeMeta } from "../protocol/meta.ts";
import type { Row } from "../results/backend.ts";
import type { Again } from "../results/record.ts";
import type { WorkerContext } from "./context.ts";
import { deadLetter, failedMeta, isOurFate, type Known, storeFate } from "./dead-letter.ts";
import { type Disposition, type HandBack, withinLimits } from "./disposition.ts";
import { follow } from "./follow.ts";
import { deadLetterEntry, isKept } from "./note.ts";
import { fieldsOf, nameOf, stackOf } from "./report.ts";
import { repeating } from "./sender.ts";

/** Before the broker's last delivery a worker ends a task so many deliveries early: a function may die in those. */
const RECEIVES_LEFT = 10;

/**
 * A message that will not run: where its id can be read, its row says why; who waits for it is told, as far as that can be
 * read too; then it becomes a dead letter.
 */
export async function bury(
  context: WorkerContext,
  delivery: Delivery,
  { id, task, message }: Known & { readonly message: Message | undefined },
  error: Error,
  whileRunning?: Disposition,
): Promise<Disposition> {
  const { engine, log } = context;
  const entry = isKept(engine) ? deadLetterEntry(context, delivery.queue, { id, task, message }, error) : undefined;
  if (id) {
    const meta = failedMeta(engine, id, error);
    const recorded = await storeFate(context, id, meta, entry);
    if (whileRunning !== undefined && recorded.type === "refused" && recorded.row?.done !== true) return whileRunning;
    // Its outcome is another's, or it runs: what follows from it is not ours to send.
    if (message !== undefined && isOurFate(recorded)) {
      const row =
        recorded.type === "refused" && recorded.row ? recorded.row : { result: await encodeMeta(meta, engine.codec) };
      const { again, redrive }: Again = recorded.type === "written" ? recorded : (row as Row);
      const source = { queue: delivery.queue, again, redrive };
      await follow(repeating(context), message, source, row).catch((failure: unknown) => {
        if (!isLasting(failure)) throw failure;
        log(
          "error",
          `What follows from ${nameOf(message)} could not be sent: ${stackOf(failure)}`,
          fieldsOf(message, delivery.queue),
        );
      });
    }
  }
  // Where there is no id there is no row that it could be told with.
  else if (entry !== undefined) await context.note(entry);
  return deadLetter(context, delivery, { id, task }, error);
}

/** Ends a task whose message was handed back as often as its broker allows. */
export async function endInTime(
  context: WorkerContext,
  delivery: Delivery,
  disposition: HandBack,
): Promise<{ readonly disposition: Disposition }> {
  const { limits } = await context.engine.broker();
  const { maxReceives = Number.POSITIVE_INFINITY } = limits;
  if (delivery.receiveCount <= maxReceives - RECEIVES_LEFT) return { disposition: withinLimits(disposition, limits) };
  const { id, task } = peekEnvelope(delivery.body);
  const message = await salvageMessage(delivery.body);
  const error = new OperationalError(
    `the message was handed out ${delivery.receiveCount} times in ${formatSpan(context.engine.clock.now() - delivery.sentAt)} and came back each time; the log of its workers says why. \`lovage dlq redrive\` tries again`,
    { retryable: false },
  );
  return { disposition: await bury(context, delivery, { id, task, message }, error, disposition) };
}

const formatSpan = (ms: number): string => `${Math.max(0, Math.round(ms / 60_000))} minutes`;

/** Of a message that is too dangerous to be decoded no more is read than its name and its id. */
export function buryUnread(context: WorkerContext, delivery: Delivery, error: Error): Promise<Disposition> {
  const { id, task } = peekEnvelope(delivery.body);
  return bury(context, delivery, { id, task, message: undefined }, error);
}

/** So many workers died of a message while nobody could charge it to a run. */
export async function giveUp(
  context: WorkerContext,
  delivery: Delivery,
  deaths: number,
): Promise<{ readonly disposition: Disposition }> {
  const error = new WorkerLostError(`${deaths} workers died of this message, before or after its task ran`);
  return { disposition: await buryUnread(context, delivery, error) };
}
