import { expect, test } from "vitest";
import type { JournalEntry } from "../../src/journal/entry.ts";
import { type Known, workflowOf } from "../../src/journal/workflow.ts";

const nothing: Known = { states: new Map(), children: new Map(), members: new Map() };
const entry = (id: string, more: Partial<JournalEntry> = {}): JournalEntry => ({
  time: 0,
  kind: "task",
  id,
  task: `task ${id}`,
  state: "SUCCESS",
  ...more,
});

test("a chain of thousands is put in order, whatever order its entries come in", () => {
  const entries = Array.from({ length: 5000 }, (_, n) =>
    entry(String(n), { root: "0", ...(n > 0 && { parent: String(n - 1) }) }),
  ).reverse();
  const { tasks } = workflowOf("0", entries, nothing);
  expect(tasks.map(({ id }) => id)).toEqual(Array.from({ length: 5000 }, (_, n) => String(n)));
});

test("parents that go in a circle, as a foreign message may say, end nothing", () => {
  const { tasks } = workflowOf(
    "a",
    [entry("a", { parent: "b" }), entry("b", { parent: "a" }), entry("c", { parent: "c" })],
    nothing,
  );
  expect(tasks.map(({ id }) => id).sort()).toEqual(["a", "b"]);
});

test("the last attempt that ended is a task's, a run that came after it makes it STARTED, and its row goes before both", () => {
  const entries = [
    entry("a", { time: 3000, state: "RETRY", runtime: 1, error: { type: "Error", message: "no" } }),
    entry("a", { time: 9000, kind: "running", state: "STARTED", runtime: 5, retries: 1 }),
  ];
  expect(workflowOf("a", entries, nothing).tasks).toMatchObject([
    { state: "STARTED", started: 4000, ended: undefined, retries: 1, error: undefined },
  ]);
  const known = { ...nothing, states: new Map([["a", "REVOKED"]]) };
  expect(workflowOf("a", entries, known).tasks).toMatchObject([{ state: "REVOKED" }]);
  expect(workflowOf("a", entries.slice(0, 1), nothing).tasks).toMatchObject([
    { state: "RETRY", started: 2000, ended: 3000, error: { type: "Error" } },
  ]);
});

test("members that only a row knows of wait, and so does the body behind them", () => {
  const entries = [entry("a", { root: "a", group: "g", chord: "body" })];
  const known = { ...nothing, members: new Map([["g", ["a", "b"]]]) };
  const { tasks, groups } = workflowOf("g", entries, known);
  expect(tasks.map(({ id, state, after }) => [id, state, after])).toEqual([
    ["a", "SUCCESS", []],
    ["b", "PENDING", []],
    ["body", "PENDING", ["a", "b"]],
  ]);
  expect(groups).toEqual([{ id: "g", members: ["a", "b"], body: "body" }]);
});
