import { expect, test } from "vitest";
import { textTimes } from "../../scripts/times.ts";

test.each([
  "new Date(text)",
  "new Date(eta)",
  'new Date("2026-01-01T00:00:00")',
  "Date.parse(value)",
  "new Date(request.eta)",
  "f(new Date(\n",
])("%s may read a text", (code) => {
  expect(textTimes("a.ts", `const a = 1;\nconst b = ${code};`)).toEqual([
    expect.stringMatching(/^a\.ts:2 .*parseTime/),
  ]);
});

test.each([
  "new Date()",
  "new Date(0)",
  "new Date(now)",
  "new Date(parseTime(text))",
  "new Date(slot).toISOString()",
  "  // new Date(text)",
])("%s reads none", (code) => {
  expect(textTimes("a.ts", code)).toEqual([]);
});
