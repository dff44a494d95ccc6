import { Temporal } from "temporal-polyfill";

/** A stretch of time in which a zone keeps one offset. All in milliseconds; `wall time = instant + offset`. */
export interface OffsetSpan {
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
  readonly offset: number;
}

const YEAR_MS = 366 * 86_400_000;
/** Years of zones that are remembered; one app has one zone, so this only bounds a process that asks for very many. */
const REMEMBERED = 512;
const remembered = new Map<string, readonly OffsetSpan[]>();

/**
 * The spans of a zone that together cover `from` to `to`, in order; neighbours may have the same offset. Asking the
 * calendar is slow, so each stretch of 366 days is asked for once.
 */
export function offsetSpans(zone: string, from: number, to: number): readonly OffsetSpan[] {
  const spans: OffsetSpan[] = [];
  for (let year = Math.floor(from / YEAR_MS); year * YEAR_MS <= to; year++) {
    for (const span of yearOfSpans(zone, year)) if (span.to > from && span.from <= to) spans.push(span);
  }
  return spans;
}

function yearOfSpans(zone: string, year: number): readonly OffsetSpan[] {
  const key = `${zone} ${year}`;
  const known = remembered.get(key);
  if (known) return known;
  const end = (year + 1) * YEAR_MS;
  const spans: OffsetSpan[] = [];
  let at = Temporal.Instant.fromEpochMilliseconds(year * YEAR_MS).toZonedDateTimeISO(zone);
  for (;;) {
    const next = at.getTimeZoneTransition("next");
    const to = next === null ? end : Math.min(next.epochMilliseconds, end);
    spans.push({ from: at.epochMilliseconds, to, offset: at.offsetNanoseconds / 1e6 });
    if (next === null || to === end) break;
    at = next;
  }
  if (remembered.size >= REMEMBERED) remembered.clear();
  remembered.set(key, spans);
  return spans;
}
