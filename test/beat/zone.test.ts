import { expect, test } from "vitest";
import { checkZone } from "../../src/beat/zone.ts";

test.each(["UTC", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "US/Eastern", "Asia/Kolkata"])(
  "%s is a zone",
  (zone) => {
    expect(checkZone(zone)).toBe(zone);
  },
);

test.each([
  ["Asia/Shanghi", '"Asia/Shanghai"'],
  ["Shanghai", '"Asia/Shanghai"'],
  ["America/NewYork", '"America/New_York"'],
  ["New York", '"America/New_York"'],
  ["Europe/Munich", "such as"],
  ["utcc", '"UTC"'],
])("%s is refused, with the name %s", (zone, hint) => {
  expect(() => checkZone(zone)).toThrow(/^timezone: must be a name of the tz database/);
  expect(() => checkZone(zone)).toThrow(hint);
});
