/** Steps whose failure is the system's: nothing is lost, and the message comes back. */
import type { Delivery } from "../brokers/broker.ts";
import { OperationalError } from "../errors.ts";
import { peekEnvelope } from "../protocol/envelope.ts";
import { taskKey } from "../results/backend.ts";
import type { WorkerContext } from "./context.ts";
import { type Disposition, handBack } from "./disposition.ts";
import { carriedPlace } from "./held-place.ts";
import { keptPlace } from "./next.ts";
import type { Reading } from "./read.ts";
import { stackOf } from "./report.ts";
import type { RunEnd } from "./run.ts";
import type { Admission } from "./worker.ts";

/** Runs a step whose failure is the system's: the message is handed back, and nobody waits for its full visibility. */
export async function guard<T extends Reading | Admission | RunEnd>(
  context: WorkerContext,
  delivery: Delivery,
  step: () => Promise<T>,
): Promise<T | { readonly disposition: Disposition }> {
  const { log, engine } = context;
  try {
    const ended = await step();
    if ("disposition" in ended && ended.disposition.type === "delete") await leave(context, delivery);
    return ended;
  } catch (error) {
    const foreseen = error instanceof OperationalError;
    log(
      "error",
      `Message ${delivery.messageId} of ${delivery.queue} is handed back: ${foreseen ? error.message : stackOf(error)}`,
      {
        queue: delivery.queue,
        error: stackOf(error),
      },
    );
    return { disposition: handBack(delivery, engine.platform.random) };
  }
}

/** A message that goes for another, and is done, takes that one along when the task has ended: what is behind it can be had. */
async function leave({ engine, read }: WorkerContext, delivery: Delivery): Promise<void> {
  const place = carriedPlace(delivery);
  if (place === undefined) return;
  const { id = "" } = peekEnvelope(delivery.body);
  const [row] = await read([taskKey(id)]);
  if (row !== undefined && keptPlace(delivery.queue, row) !== undefined) return;
  const [failed] = await (await engine.broker()).delete([{ ...delivery, receipt: place.receipt }]);
  if (failed !== undefined) throw failed;
}
