import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chain, chord, group, Lovage } from "../../src/index.ts";
import { parseValue, stringifyValue } from "../../src/protocol/values.ts";
import { memberHash } from "../../src/canvas/join-rows.ts";
import { fromWireOptions, toWireOptions } from "../../src/canvas/wire-options.ts";
import { MEMBER_LENGTH } from "../../src/results/record.ts";
import { canvases, defineOps } from "./random-canvas.ts";

const app = new Lovage("signatures");
const add = app.task("add", (x: number, y: number) => x + y);
const sum = app.task("sum", (xs: number[]) => xs.length);
const { make } = defineOps(app);

test("every form becomes Celery's JSON and comes back without loss", () => {
  fc.assert(
    fc.property(canvases(4), (node) => {
      const data = make(node).linkError(add.s(1, 2)).toJSON();
      const again = app.signature(parseValue(stringifyValue(data)) as typeof data);
      expect(again.toJSON()).toEqual(data);
    }),
  );
});

test("options and members that only Python knows are kept", () => {
  const foreign = {
    task: "add",
    args: [1],
    kwargs: { y: 2 },
    options: { queue: "q", reply_to: "r", anything: [1], stamped_headers: ["a"], a: 1 },
    subtask_type: null,
    immutable: true,
    chord_size: 3,
    unknown: "member",
  };
  expect(app.signature(foreign).toJSON()).toEqual(foreign);
});

describe("a signature", () => {
  test("is not changed by what is made of it", () => {
    const first = add.s(1);
    const before = structuredClone(first.toJSON());
    first.set({ queue: "q" });
    first.link(add.s(2));
    first.linkError(add.s(3));
    first.stamp({ tenant: "t" });
    first.clone([5]);
    chain(first, add.s(2)).pipe(add.s(3));
    chord([first], sum.s()).pipe(add.s(1));
    expect(first.toJSON()).toEqual(before);
  });

  test("takes partial arguments before its own, unless it is immutable", () => {
    expect(add.s(2).clone([1]).toJSON().args).toEqual([1, 2]);
    expect(add.si(1, 2).clone([3]).toJSON().args).toEqual([1, 2]);
    expect(
      add
        .s(2)
        .clone([], { kwargs: { a: 1 }, countdown: 5 })
        .toJSON(),
    ).toMatchObject({
      kwargs: { a: 1 },
      options: { countdown: 5 },
    });
  });
});

describe("one after the other", () => {
  const kinds = (signature: { toJSON(): { task: string; kwargs: Readonly<Record<string, unknown>> } }): unknown => {
    const { task, kwargs } = signature.toJSON();
    const all = (list: unknown) => (list as never[]).map((inner) => kinds({ toJSON: () => inner }));
    if (task === "celery.chain" || task === "celery.group") return { [task]: all(kwargs["tasks"]) };
    if (task !== "celery.chord") return task;
    const header = kwargs["header"] as { kwargs?: { tasks: unknown } };
    return { header: all(header.kwargs?.tasks ?? header), body: all([kwargs["body"]])[0] };
  };

  test.each([
    [
      "a chain in a chain is one chain",
      chain(add.s(1, 1), chain(add.s(1), add.s(2))),
      { "celery.chain": ["add", "add", "add"] },
    ],
    [
      "a group and a step are a chord",
      chain(group(add.s(1, 1), add.s(2, 2)), sum.s()),
      { header: ["add", "add"], body: "sum" },
    ],
    [
      "and the next step goes to its body",
      group(add.s(1, 1), add.s(2, 2)).pipe(sum.s()).pipe(add.s(1)),
      { header: ["add", "add"], body: { "celery.chain": ["sum", "add"] } },
    ],
    ["also a group of one", chain(group(add.s(1, 1)), sum.s()), { header: ["add"], body: "sum" }],
    ["also by pipe", group(add.s(1, 1)).pipe(sum.s()), { header: ["add"], body: "sum" }],
    [
      "and a group of none",
      chain(...([add.s(1, 1), group([]), sum.s()] as never[])),
      { "celery.chain": ["add", { header: [], body: "sum" }] },
    ],
    [
      "a group stays one at the end",
      chain(add.s(1, 1), group(add.s(1), add.s(2))),
      { "celery.chain": ["add", { "celery.group": ["add", "add"] }] },
    ],
  ])("%s", (_, canvas, expected) => {
    expect(kinds(canvas)).toEqual(expected);
  });
});

test("a member's hash has its length, and no two of 20,000 are the same", () => {
  const hashes = new Set(
    Array.from({ length: 20_000 }, (_, n) => memberHash(`00000000-0000-4000-8000-${String(n).padStart(12, "0")}`)),
  );
  expect(hashes.size).toBe(20_000);
  for (const hash of hashes) expect(hash).toHaveLength(MEMBER_LENGTH);
});

test("a publish retry policy has Python's names in a signature, and ours in a call", () => {
  const wire = toWireOptions({ retryPolicy: { maxRetries: 1, intervalMax: 2 } });
  expect(wire).toEqual({ retry_policy: { max_retries: 1, interval_max: 2 } });
  expect(fromWireOptions(wire)).toEqual({ retryPolicy: { maxRetries: 1, intervalMax: 2 } });
});
