/** Beat as a Lambda function behind EventBridge rules, one rule for each entry of `beatSchedule`. */
import { parseTime } from "../protocol/time.ts";
import type { Lovage } from "../app.ts";
import { entryOfEvent } from "../beat/eventbridge.ts";
import { dueSlots } from "../beat/minute.ts";
import type { ScheduleEntry } from "../beat/schedule.ts";
import { sentLine, slotId } from "../beat/slot-id.ts";
import { besideDeclared } from "../beat/store.ts";
import { isFifo } from "../brokers/broker.ts";
import { checkApp } from "../check-app.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { isDebounced } from "../tasks/limits.ts";
import { routed } from "../tasks/publish.ts";
import { beatEntries, sendSlot } from "../workers/beat.ts";
import { createLambdaLog } from "./log.ts";
import { isWarmUp, type HandlerOptions, type LambdaContext, writeLine } from "./worker.ts";

/** Defined by who bundles for AWS, as `lovage/cdk` does. */
declare const LOVAGE_BUNDLE: "aws";

/** What a rule gives the beat function: one of `TaskQueues` the entry's name, one of `app.beat.put` the entry itself. */
export type BeatEvent = (
  | {
      /** The entry of `beatSchedule`. */
      readonly entry: string;
    }
  | {
      /** The entry put at run time, encoded. */
      readonly put: string;
    }
) & {
  /** EventBridge's time of the event, in ISO 8601. */
  readonly time: string;
};

/**
 * Makes the handler of the beat function: `export const handler = createBeatHandler(app);`
 *
 * It sends what the entry's schedule has in the minute that the event stands for, each with a delay to its second and an
 * id of its slot, so that an event that comes twice sends nothing that runs twice. Rejects when something could not be
 * sent: Lambda then brings the event again. Rejects with `ImproperlyConfigured` for an event that no rule of the app gives.
 */
export function createBeatHandler(
  app: Lovage,
  options: HandlerOptions = {},
): (event: BeatEvent, context?: Pick<LambdaContext, "awsRequestId">) => Promise<void> {
  if (typeof LOVAGE_BUNDLE === "undefined") checkApp(app);
  const { clock, platform } = app.engine;
  let requestId = "";
  const log = createLambdaLog({
    now: clock.now,
    write: options.write ?? writeLine,
    level: platform.env["AWS_LAMBDA_LOG_LEVEL"],
    requestId: () => requestId,
  });
  let entries: ReadonlyMap<string, ScheduleEntry> | undefined;

  return async (event, context) => {
    // A test may call it with an event alone.
    requestId = context?.awsRequestId ?? "";
    if (isWarmUp(event)) {
      log("info", "Called to be kept warm, and not by a rule: there is nothing to do");
      return;
    }
    const found = find(event);
    if (found === undefined) return;
    const { entry, zone, time } = found;
    const now = clock.now();
    const { due, missed } = dueSlots(entry, zone, time, now);
    for (const { slot } of missed) {
      const late = Math.round((now - slot) / 1000);
      log(
        "warning",
        `${entry.name}: the slot of ${new Date(slot).toISOString()} came ${late} s late and is not sent (catchUp: "${entry.catchUp}")`,
        { task: entry.task, entry: entry.name },
      );
    }
    const sent = await Promise.allSettled(due.map(({ slot }) => send(entry, slot, now)));
    const failed = sent.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
    if (failed.length > 0)
      throw failed.length === 1
        ? failed[0]
        : new AggregateError(failed, `${failed.length} slots of ${entry.name} could not be sent`);
  };

  /** What an event speaks of; nothing where the entry is gone. */
  function find(
    event: unknown,
  ): { readonly entry: ScheduleEntry; readonly zone: string; readonly time: number } | undefined {
    const given: { readonly entry?: unknown; readonly put?: unknown; readonly time?: unknown } =
      typeof event === "object" && event !== null ? event : {};
    const time = typeof given.time === "string" ? timeOf(given.time) : Number.NaN;
    if (Number.isNaN(time) || (typeof given.entry !== "string" && typeof given.put !== "string")) {
      throw new ImproperlyConfigured(
        "event",
        `is of no rule of the app: beat needs { entry, time }, and was given ${JSON.stringify(event)?.slice(0, 200)}; remove whatever else calls this function`,
      );
    }
    if (typeof given.put === "string") {
      const runtime = entryOfEvent(given.put);
      return { entry: besideDeclared(runtime), zone: runtime.zone, time };
    }
    entries ??= new Map(beatEntries(app).map((entry) => [entry.name, entry]));
    const entry = entries.get(String(given.entry));
    if (entry !== undefined) return { entry, zone: app.config.timezone, time };
    log("warning", `beatSchedule has no entry ${JSON.stringify(given.entry)}: a rule of an earlier deployment fired`);
    return undefined;
  }

  async function send(entry: ScheduleEntry, slot: number, now: number): Promise<void> {
    const { task, options: own } = entry;
    const id = slotId(app.name, entry.name, slot);
    const { queue } = routed(app.engine, task, entry.args, entry.kwargs, own);
    // A FIFO queue takes no delay. Its entries have their slots on the minute, which has begun by now.
    const isTimed = own["countdown"] !== undefined || own["eta"] !== undefined || isDebounced(app.engine, task);
    const delayed = slot > now && !isFifo(queue) && !isTimed;
    const sent = await sendSlot(
      app,
      delayed ? { ...entry, options: { ...own, eta: new Date(slot) } } : entry,
      slot,
      id,
    );
    log("info", sentLine(entry, slot, id, sent), {
      task,
      id: sent,
      queue,
      entry: entry.name,
    });
  }
}

/** `NaN` for what is no time. */
function timeOf(text: string): number {
  try {
    return parseTime(text);
  } catch {
    return Number.NaN;
  }
}
