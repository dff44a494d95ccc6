import { expect, test } from "vitest";
import { shortRepr } from "../../src/journal/repr.ts";

test.each<[unknown, string]>([
  [[1, "a", null, true], '[1, "a", null, true]'],
  [{ a: [1], "b c": undefined }, '{"a": [1], "b c": undefined}'],
  [[], "[]"],
  [[123n, new Date(0), new Uint8Array(3)], "[123, 1970-01-01T00:00:00.000Z, <3 bytes>]"],
  [[Number.NaN, -0], "[NaN, 0]"],
  ["\u001b[31m\n", '"\\u001b[31m\\n"'],
])("%o is shown whole where there is room", (value, expected) => {
  expect(shortRepr(value, 100)).toBe(expected);
});

test("what there is no room for ends in a sign that there is more", () => {
  expect(shortRepr(["x".repeat(50)], 10)).toBe('["xxxxxxx…');
  expect(shortRepr([1, 2, 3, 4, 5], 8)).toBe("[1, 2, …");
});

test("a character of two halves is not cut in half", () => {
  expect(shortRepr(["\u{1f600}".repeat(10)], 6).isWellFormed()).toBe(true);
});

test("of a large value no more is looked at than is shown", () => {
  const large = {
    get length() {
      return 1;
    },
  };
  let looked = 0;
  const watched = new Proxy(
    Array.from({ length: 1_000_000 }, () => large),
    {
      get(target, name) {
        looked++;
        return Reflect.get(target, name) as unknown;
      },
    },
  );
  expect(shortRepr(watched, 100)).toHaveLength(100);
  expect(looked).toBeLessThan(100);
});

test("what goes in a circle, and what throws when it is looked at, is shown as far as it can be", () => {
  const circle: unknown[] = [1];
  circle.push(circle);
  expect(shortRepr(circle, 100)).toBe("[1, …]");
  const angry = {
    get secret() {
      throw new Error("no");
    },
  };
  expect(shortRepr([angry], 100)).toMatch(/…$/);
});
