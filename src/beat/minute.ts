import { nextSlots, slots } from "./due.ts";
import { fires, type Rule, ruleOf } from "./rules.ts";
import type { Schedule, ScheduleEntry } from "./schedule.ts";

const MINUTE = 60_000;

/** A slot that a firing of a rule stands for. */
export interface MinuteSlot {
  /** Milliseconds since the epoch. */
  readonly slot: number;
  /** Whole seconds from `now` to the slot, rounded up; 0 where it has passed. */
  readonly delaySeconds: number;
}

/**
 * The slots of an entry that an event of its rule stands for: those of the minute of the rule that contains the event's
 * time, or, where the rule does not fire in that minute, of the nearest one within a minute. (EventBridge fires
 * anywhere within the minute, LocalStack up to a minute early.) Empty where that minute has no slot, as a rule covers
 * more than its schedule, and for an entry that is not enabled. Times in milliseconds since the epoch.
 */
export function minuteSlots(
  entry: Pick<ScheduleEntry, "schedule" | "enabled">,
  zone: string,
  eventTime: number,
  now: number,
): MinuteSlot[] {
  if (!entry.enabled) return [];
  const minute = minuteOf(rememberedRule(entry.schedule, zone), eventTime);
  if (minute === undefined) return [];
  // A window leaves its beginning out, and a minute its end.
  return slots(entry.schedule, zone, { from: minute - 1, to: minute + MINUTE - 1 }).map((slot) => ({
    slot,
    delaySeconds: Math.max(0, Math.ceil((slot - now) / 1000)),
  }));
}

/**
 * The beginning of the minute that an event stands for. Of two at the same distance the later, as early events are the
 * known ones.
 */
function minuteOf(rule: Rule, eventTime: number): number | undefined {
  const minute = Math.floor(eventTime / MINUTE) * MINUTE;
  if (fires(rule, minute)) return minute;
  const next = minute + MINUTE;
  const previous = minute - MINUTE;
  const order = next - eventTime <= eventTime - minute ? [next, previous] : [previous, next];
  return order.find((candidate) => fires(rule, candidate));
}

/** An event of a rule that is older has been kept back by an outage. Lambda's own retries come 1 and 2 minutes later. */
const LATE_EVENT_MS = 300_000;

/**
 * Of the slots that an event stands for those that are to be sent: all of them, or those that the entry's `catchUp` wants
 * where the event is late; the others are missed. What is the last late slot is counted from the schedule, so that of many late events exactly
 * one finds it.
 */
export function dueSlots(
  entry: ScheduleEntry,
  zone: string,
  eventTime: number,
  now: number,
): { readonly due: readonly MinuteSlot[]; readonly missed: readonly MinuteSlot[] } {
  const found = minuteSlots(entry, zone, eventTime, now).filter(({ slot }) => slot > (entry.since ?? slot - 1));
  if (now - eventTime <= LATE_EVENT_MS) return { due: found, missed: [] };
  const due = stillDue(entry, zone, found, now);
  return { due, missed: found.filter((slot) => !due.includes(slot)) };
}

function stillDue(entry: ScheduleEntry, zone: string, found: readonly MinuteSlot[], now: number): MinuteSlot[] {
  const kept = found.filter(({ slot }) => slot >= now - entry.within * 1000);
  switch (entry.catchUp) {
    case "skip":
      return [];
    case "last":
      return kept.filter(({ slot }) => {
        const [next = Number.POSITIVE_INFINITY] = nextSlots(entry.schedule, zone, slot, 1);
        return next > now - LATE_EVENT_MS;
      });
    case "all":
      return kept;
    default:
      return entry.catchUp satisfies never;
  }
}

const rules = new WeakMap<Schedule, Map<string, Rule>>();

/**
 * Making a rule looks through decades of the zone, and a warm function is asked about the same few entries every
 * minute.
 */
function rememberedRule(schedule: Schedule, zone: string): Rule {
  const byZone = rules.get(schedule) ?? new Map<string, Rule>();
  rules.set(schedule, byZone);
  const rule = byZone.get(zone) ?? ruleOf(schedule, zone);
  byZone.set(zone, rule);
  return rule;
}
