import fc from "fast-check";
import { expect, test } from "vitest";
import { DecodeError } from "../../src/errors.ts";
import { formatTime, parseTime } from "../../src/protocol/time.ts";

test.each([
  ["2026-11-23T22:18:21.809380+00:00", "2026-11-23T22:18:21.809Z"],
  ["2026-11-23T22:18:21.809Z", "2026-11-23T22:18:21.809Z"],
  ["2026-11-23T22:18:21", "2026-11-23T22:18:21.000Z"],
  ["2026-11-23 22:18", "2026-11-23T22:18:00.000Z"],
  ["2026-11-23T22", "2026-11-23T22:00:00.000Z"],
  ["2026-11-23T22:18:21,5+02:00", "2026-11-23T20:18:21.500Z"],
  ["20261123T221821-0530", "2026-11-24T03:48:21.000Z"],
  ["20261123T221821.25Z", "2026-11-23T22:18:21.250Z"],
  ["2026-11-23T24:00:00", "2026-11-24T00:00:00.000Z"],
  ["2026-11-23", "2026-11-23T00:00:00.000Z"],
  ["20261123", "2026-11-23T00:00:00.000Z"],
  ["2026-11", "2026-11-01T00:00:00.000Z"],
  ["2026", "2026-01-01T00:00:00.000Z"],
  ["0001-01-01T00:00:00+00:00", "0001-01-01T00:00:00.000Z"],
  ["2024-02-29T12:00:00+05", "2024-02-29T07:00:00.000Z"],
])("%s is %s", (text, iso) => {
  expect(new Date(parseTime(text)).toISOString()).toBe(iso);
});

test.each([
  "",
  "soon",
  "1795472301",
  "1795472301.8",
  "2026-13-01",
  "2026-02-29T00:00:00",
  "2026-11-23T25:00:00",
  "2026-11-23T24:00:01",
  "2026-11-23T22:60:00",
  "2026-11-23T22:18:60",
  "2026-11-23T22:18:21+25:00",
  "2026-11-23T22:18:21 GMT",
  "0000-01-01T00:00:00",
  "2026-11-23T22:18:21Z\n",
])("%j is no time", (text) => {
  expect(() => parseTime(text)).toThrow(DecodeError);
});

test("a time is written as Python's isoformat() writes it", () => {
  expect(formatTime(Date.UTC(2026, 10, 23, 22, 18, 4))).toBe("2026-11-23T22:18:04+00:00");
  expect(formatTime(Date.UTC(2026, 10, 23, 22, 18, 4, 59))).toBe("2026-11-23T22:18:04.059000+00:00");
});

test("what is written is read back to the millisecond", () => {
  fc.assert(
    fc.property(
      fc.date({
        min: new Date("0001-01-01T00:00:00Z"),
        max: new Date("9999-12-31T23:59:59.999Z"),
        noInvalidDate: true,
      }),
      (date) => {
        expect(parseTime(formatTime(date.getTime()))).toBe(date.getTime());
        expect(parseTime(date.toISOString())).toBe(date.getTime());
      },
    ),
  );
});
