import { expect, test } from "vitest";
import { slotId } from "../../src/beat/slot-id.ts";

test("the id of a slot is the UUID that Python's uuid5 makes of app, entry and instant", () => {
  expect(slotId("tasks", "every-morning", 1_700_000_000_000)).toBe("047510fb-af45-5e2a-ac16-14861bb98fb4");
});

test("app, entry and instant each make another id, and their texts cannot run into each other", () => {
  const ids = [
    slotId("a", "b", 1),
    slotId("a", "b", 2),
    slotId("a", "c", 1),
    slotId("b", "b", 1),
    slotId("ab", "", 1),
    slotId("", "ab", 1),
  ];
  expect(new Set(ids).size).toBe(ids.length);
});
