import { expect, test } from "vitest";
import { Engine } from "../src/engine.ts";

test("what is undefined of a platform is the machine's own", () => {
  const { uuid, clock } = new Engine({}, { uuid: undefined, clock: undefined, random: undefined, env: undefined });
  expect(uuid()).toMatch(/^[0-9a-f-]{36}$/);
  expect(Math.abs(clock.now() - Date.now())).toBeLessThan(60_000);
});

test("ids are UUIDs of version 7 that sort by the time they were made, and none is made twice", async () => {
  const { uuid } = new Engine({}, {});
  const before = uuid();
  const from = Date.now();
  const ids = Array.from({ length: 1000 }, uuid);
  expect(new Set(ids).size).toBe(1000);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const times = ids.map((id) => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16));
  expect(times).toEqual(times.toSorted((a, b) => a - b));
  expect(times[0]).toBeGreaterThanOrEqual(from);
  expect(times.at(-1)).toBeLessThanOrEqual(Date.now());
  expect(before < (ids.at(-1) as string) || times[0] === from).toBe(true);
});
