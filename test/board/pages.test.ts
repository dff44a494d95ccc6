/** What pages are made of, without a browser: words, drawings, forms. */
import { globSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { crontab, every } from "lovage";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { boardAssets, PLACE } from "../../scripts/board-assets.ts";
import { assetName, findAsset } from "../../src/board/assets/assets.ts";
import { attemptsOf } from "../../src/board/pages/attempts.ts";
import { errorOf } from "../../src/board/pages/failures.ts";
import { drawGraph, nodesOf } from "../../src/board/pages/graph.ts";
import { scheduleText } from "../../src/board/pages/schedule-text.ts";
import { argumentFields } from "../../src/board/pages/schema-form.ts";
import { block, duration, instant, line, relative, some } from "../../src/board/pages/words.ts";
import type { JournalEntry } from "../../src/journal/entry.ts";
import { workflowOf } from "../../src/journal/workflow.ts";

test("the module with what pages load is made of its sources", () => {
  expect(readFileSync(PLACE, "utf8")).toBe(boardAssets());
});

test("what pages load has the hash of its content in its name, and nothing else is found", () => {
  const name = assetName("board.css");
  expect(name).toMatch(/^board-[0-9a-f]{12}\.css$/);
  expect(findAsset(name)?.type).toBe("text/css; charset=utf-8");
  expect(findAsset("board.css")).toBeUndefined();
  expect(findAsset("__proto__")).toBeUndefined();
});

test("the pictures that the docs show are there, and are small", () => {
  const root = join(import.meta.dirname, "../..");
  const texts = ["README.md", ...globSync("docs/**/*.md", { cwd: root })].map((file) =>
    readFileSync(join(root, file), "utf8"),
  );
  const shown = new Set(
    texts.flatMap((text) => [...text.matchAll(/pictures\/([\w.-]+)/g)].map(([, name = ""]) => name)),
  );
  expect(shown.size).toBeGreaterThan(5);
  expect(readdirSync(join(root, "docs/pictures")).filter((name) => !shown.has(name))).toEqual([]);
  for (const name of shown) expect(statSync(join(root, "docs/pictures", name)).size).toBeLessThan(80_000);
});

describe("words", () => {
  test.each([
    [0, "0 ms"],
    [0.0124, "12 ms"],
    [0.9999, "1.0 s"],
    [9.96, "10 s"],
    [59.7, "1 min"],
    [185, "3 min 5 s"],
    [3_600, "1 h"],
    [93_600, "1 d 2 h"],
  ])("%d seconds are %s", (seconds, text) => {
    expect(duration(seconds)).toBe(text);
  });

  test("times are told from now, and exactly in the zone", () => {
    const now = Date.UTC(2026, 6, 1, 12);
    expect(relative(-90_000)).toBe("1 min ago");
    expect(relative(7_200_000)).toBe("in 2 h");
    expect(relative(300)).toBe("now");
    expect(instant(now - 90_000, "Europe/Berlin", now)).toEqual({
      short: "13:58:30",
      exact: "1 Jul 2026 13:58:30.000 GMT+2",
    });
    expect(instant(Date.UTC(2025, 11, 31), "UTC", now).short).toBe("31 Dec 2025 00:00:00");
  });

  test("one is one", () => {
    expect([some(1, "task"), some(2_000, "task"), some(0, "entry", "entries")]).toEqual([
      "1 task",
      "2,000 tasks",
      "0 entries",
    ]);
  });

  test("no text is longer than its room, breaks its line, or turns its direction", async () => {
    // All of UTF-16, half of it what does something to a line.
    const unit = fc.oneof(
      fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
      fc.constantFrom("\n", "\r", "\t", "\u0000", "\u001b", "\u202e", "\u2066", "\u2028", "\ud83d", "\ude00"),
    );
    await fc.assert(
      fc.property(fc.string({ unit, maxLength: 400 }), (text) => {
        const shown = line(text, 50);
        expect(shown.length).toBeLessThanOrEqual(50);
        expect(shown).not.toMatch(/\p{Cc}|[\u202a-\u202e\u2066-\u2069]/u);
      }),
    );
    expect(line("\u202etxt.exe")).toBe("\\u202etxt.exe");
    expect(block("x".repeat(1_000_000)).length).toBeLessThan(21_000);
    expect(block("x".repeat(1_000_000))).toContain("980,000 more characters");
  });
});

describe("a workflow's drawing", () => {
  const entry = (id: string, more: Partial<JournalEntry> = {}): JournalEntry => ({
    time: 1,
    kind: "task",
    id,
    task: "t",
    state: "SUCCESS",
    root: "root",
    ...more,
  });
  const none = { states: new Map(), children: new Map(), members: new Map() };
  const view = { app: "a", base: "", zone: "UTC", now: 0, readOnly: false };

  test("draws few tasks each for itself, and counts many that are alike", () => {
    const members = Array.from({ length: 1_000 }, (_, at) =>
      entry(`m${at}`, { parent: "root", group: "g", chord: "body" }),
    );
    const workflow = workflowOf("root", [entry("root"), ...members, entry("body", { group: "g" })], none);
    expect(nodesOf(workflow).map(({ tasks }) => tasks.length)).toEqual([1, 1_000, 1]);
    const few = workflowOf("root", [entry("root"), ...members.slice(0, 6)], none);
    expect(nodesOf(few)).toHaveLength(8);
  });

  test("counts the second steps of a thousand chains too, and knows the name of members that have not begun", () => {
    const steps = Array.from({ length: 500 }, (_, at) => [
      entry(`a${at}`, { parent: "root", group: "g", task: "first" }),
      entry(`b${at}`, { parent: `a${at}`, task: "second" }),
    ]);
    const waiting = Array.from({ length: 50 }, (_, at) => `w${at}`);
    const known = { ...none, members: new Map([["g", waiting]]), children: new Map([["root", waiting]]) };
    const nodes = nodesOf(workflowOf("root", [entry("root"), ...steps.flat()], known));
    expect(nodes.map(({ tasks }) => [tasks[0]?.task, tasks.length])).toEqual([
      ["t", 1],
      ["first", 550],
      ["second", 500],
    ]);
  });

  test("leads from many to the list of them, by whichever id the workflow was asked for", () => {
    const members = Array.from({ length: 20 }, (_, at) => entry(`m${at}`, { parent: "root", group: "g" }));
    for (const id of ["root", "g", "m3"]) {
      const drawing = String(drawGraph(view, workflowOf(id, [entry("root"), ...members], none)));
      expect(drawing.match(/href="(\/tasks\?[^"]*)"/)?.[1]).toBe("/tasks?root=root&amp;task=t");
    }
  });

  test("has an end, whatever entries say of each other", async () => {
    const id = fc.integer({ min: 0, max: 30 }).map((at) => `i${at}`);
    const any = fc.record({
      id,
      parent: id,
      group: fc.option(id, { nil: undefined }),
      chord: fc.option(id, { nil: undefined }),
    });
    await fc.assert(
      fc.property(fc.array(any, { maxLength: 60 }), (all) => {
        const workflow = workflowOf(
          "i0",
          all.map((one) => entry(one.id, one as Partial<JournalEntry>)),
          none,
        );
        const drawn = nodesOf(workflow).reduce((sum, { tasks }) => sum + tasks.length, 0);
        expect(drawn).toBe(workflow.tasks.length);
        expect(String(drawGraph(view, workflow))).not.toContain("NaN");
      }),
      { numRuns: 60 },
    );
  });
});

test("attempts are lanes: from when it was due, its start, its end", () => {
  const entries: JournalEntry[] = [
    { time: 10_000, kind: "task", state: "FAILURE", runtime: 2, waited: 1 },
    { time: 5_000, kind: "task", state: "RETRY", runtime: 1, waited: 3 },
    { time: 11_000, kind: "control", action: "retry" },
    { time: 20_000, kind: "running", runtime: 5 },
  ];
  expect(attemptsOf(entries, 21_000).map(({ from, start, end, state }) => [from, start, end, state])).toEqual([
    [1_000, 4_000, 5_000, "RETRY"],
    [7_000, 8_000, 10_000, "FAILURE"],
    [undefined, 15_000, 21_000, "STARTED"],
  ]);
});

test("a group of failures is found again by what is the same in all of its messages", () => {
  const group = (type: string, message: string) => errorOf({ error: { type, message } });
  expect(group("Down", "… Service Unavailable from … for order …")).toBe("Service Unavailable from");
  expect(group("Down", "… of …")).toBe("Down");
  expect(errorOf({ error: undefined })).toBeUndefined();
});

test.each([
  [every({ minutes: 5 }), "every 5 min"],
  [crontab({ minute: "*/15" }), "*/15 * * * *"],
  [crontab({ hour: 9, minute: 10, dayOfWeek: "mon-fri" }), "10 9 * * Mon,Tue,Wed,Thu,Fri"],
  [crontab({ minute: 0, hour: "0,12" }), "0 0,12 * * *"],
])("%j is shown as %s", (schedule, text) => {
  expect(scheduleText(schedule)).toBe(text);
});

describe("a form for arguments", () => {
  const form = (schema: z.ZodType) => String(argumentFields(z.toJSONSchema(schema) as never, undefined));

  test("has a field for each value within, of its kind and limits", () => {
    const html = form(
      z.tuple([
        z.object({
          order: z.int().min(1).max(9),
          card: z.enum(["visa", "amex"]),
          note: z.string().max(20).optional(),
          gift: z.boolean().default(false),
          lines: z.array(z.string()),
        }),
      ]),
    );
    expect(html).toMatch(/name="args\/0\/order" type="number" data-kind="number" step="1" min="1" max="9" required/);
    expect(html).toMatch(/<select name="args\/0\/card" required>\s*<option value="visa">visa<\/option>/);
    expect(html).toMatch(/name="args\/0\/note" data-kind="text" maxlength="20" value/);
    expect(html).toMatch(/<select name="args\/0\/gift" data-kind="boolean"/);
    expect(html).toMatch(/<textarea name="args\/0\/lines" data-kind="json" data-of="list" required/);
  });

  test("is JSON where there is no schema, and ends where one goes in a circle", () => {
    expect(String(argumentFields(undefined, ["x", "y"]))).toContain("x, y");
    const circle = { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/a" } } };
    expect(String(argumentFields(circle, undefined))).toContain('data-of="any"');
  });

  test("holds no markup of a schema's", () => {
    const html = form(z.object({ "<b>\"'": z.string().describe("<script>1</script>") }));
    expect(html).not.toContain("<b>");
    expect(html).not.toContain("<script>");
  });
});
