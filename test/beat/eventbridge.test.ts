import { expect, test } from "vitest";
import { entryOfEvent } from "../../src/beat/eventbridge.ts";
import { ruleName, rulePrefix } from "../../src/beat/rule-name.ts";

test("no rule put at run time begins like one that is deployed, whatever the entries are called", () => {
  const [deployed, runtime] = [rulePrefix("shop-", "deployed"), rulePrefix("shop-", "runtime")];
  expect([deployed, runtime]).toEqual(["shop-beat-", "shop-beat."]);
  expect(ruleName(deployed, ".a").startsWith(runtime)).toBe(false);
  expect(ruleName(runtime, "-a").startsWith(deployed)).toBe(false);
});

test("a rule's name has at most 64 characters, those of EventBridge, and is another one for another entry", () => {
  const names = ["a b", "a-b", "x".repeat(80), `${"x".repeat(80)}y`].map((entry) => ruleName("beat-", entry));
  expect(new Set(names).size).toBe(4);
  for (const name of names) expect(name).toMatch(/^[\w.-]{1,64}$/);
});

test("a prefix that leaves no room for names is refused", () => {
  expect(() => rulePrefix("x".repeat(44), "deployed")).toThrow(/at most 43/);
});

test("what an event carries must be an entry", () => {
  expect(() => entryOfEvent(Buffer.from("[]").toString("base64url"))).toThrow(/no object/);
});
