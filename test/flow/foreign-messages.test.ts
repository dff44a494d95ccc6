/** Messages as somebody writes them who means harm, or does not know better: read, or a dead letter, and nobody's loss but their own. */
import fc from "fast-check";
import { Lovage } from "lovage";
import { describe, expect, test } from "vitest";
import { envelope, signature } from "./envelopes.ts";
import { inMemory, stores } from "./stores.ts";
import { computing } from "../measured.ts";

function makeApp(config: ConstructorParameters<typeof Lovage>[1] = {}) {
  const app = new Lovage("tasks", { acceptContent: ["json", "yaml", "msgpack"], ...config });
  const heard: string[] = [];
  app.task("tasks.add", (x: number, y: number) => x + y);
  app.task("tasks.one", () => 1);
  app.task("tasks.errback", (id: string) => void heard.push(id));
  app.task("tasks.again", { bind: true, maxRetries: 2 }, (self, ..._given: unknown[]) =>
    self.request.retries < 1 ? self.retry({ countdown: 1 }) : "done",
  );
  app.task("tasks.fails", () => {
    throw new Error("no");
  });
  return { app, heard };
}

const canvas = (task: string, kwargs: object, options: object = {}) => ({
  ...signature(`celery.${task}`, [], options),
  kwargs,
  subtask_type: task,
});

/** JSON as Python writes it, also in the text of a body. */
const bare = (text: string): string =>
  text.replaceAll(/\\"bare:([^"\\]*)\\"/g, "$1").replaceAll(/"bare:([^"\\]*)"/g, "$1");

const odd: readonly (readonly [string, string])[] = [
  [
    "a nesting beyond what numbers hold",
    envelope({ task: "tasks.again", id: "odd", headers: { replaced_task_nesting: 1e15 } }),
  ],
  ["retries beyond what numbers hold", envelope({ task: "tasks.again", id: "odd", headers: { retries: 2 ** 40 } })],
  [
    "retries without room for one more",
    envelope({ task: "tasks.again", id: "odd", headers: { retries: 2 ** 32 - 2, max_retries: null } }),
  ],
  [
    "a chain of what is no signature",
    envelope({ task: "tasks.fails", id: "odd", embed: { chain: [canvas("group", { tasks: ["not a signature"] })] } }),
  ],
  [
    "a chain without its tasks",
    envelope({ task: "tasks.fails", id: "odd", embed: { chain: [canvas("chain", {}, { task_id: "step" })] } }),
  ],
  [
    "a chord without its body",
    envelope({
      task: "tasks.fails",
      id: "odd",
      embed: { chord: canvas("chord", { header: [] }, { task_id: "body" }) },
      headers: { group: "g", group_index: 0 },
    }),
  ],
  ["a limit of a thousand ages", envelope({ task: "tasks.one", id: "odd", headers: { timelimit: [1e300, null] } })],
  [
    "a date whose zone takes it beyond the last year",
    envelope({
      task: "tasks.again",
      id: "odd",
      args: [{ __type__: "datetime", __value__: "9999-12-31T23:59:59.999999-05:00" }],
    }),
  ],
  [
    "a date whose zone takes it before the first year",
    envelope({
      task: "tasks.again",
      id: "odd",
      args: [{ __type__: "datetime", __value__: "0001-01-01T00:00:00+08:06" }],
    }),
  ],
  [
    "a date beyond the last year in YAML",
    envelope({
      task: "tasks.again",
      id: "odd",
      contentType: "application/x-yaml",
      body: "- [9999-12-31 23:59:59-05:00]\n- {}\n- {}\n",
    }),
  ],
  [
    "an expiry beyond the last year",
    envelope({ task: "tasks.again", id: "odd", headers: { expires: "9999-12-31T23:59:59-05:00" } }),
  ],
  [
    "a body as deep as may be",
    envelope({ task: "tasks.again", id: "odd", body: `[[${"[".repeat(998)}${"]".repeat(998)}], {}, {}]` }),
  ],
  [
    "a body that is deeper",
    envelope({ task: "tasks.again", id: "odd", body: `[[${"[".repeat(999)}${"]".repeat(999)}], {}, {}]` }),
  ],
  [
    "an integer that msgpack cannot store",
    envelope({ task: "tasks.again", id: "odd", args: ["bare:123456789012345678901234567890"] }),
  ],
  [
    "a decimal of a hundred thousand digits and a letter",
    envelope({ task: "tasks.one", id: "odd", args: [{ __type__: "decimal", __value__: `${"1".repeat(100_000)}x` }] }),
  ],
  [
    "a priority that is no number",
    envelope({ task: "tasks.again", id: "odd" }).replace('"properties":{', '"properties":{"priority":NaN,'),
  ],
  [
    "a priority that is parked",
    envelope({ task: "tasks.one", id: "odd", headers: { eta: "2026-01-01T02:00:00Z" } }).replace(
      '"properties":{',
      '"properties":{"priority":1e300,',
    ),
  ],
];

describe.each(stores)("on %s", (_, start) => {
  test.each(odd)("%s is read or is a dead letter, within a few tries, and its neighbours run", async (_, body) => {
    for (const config of [
      {},
      { resultExtended: true },
      { resultExtended: true, resultSerializer: "msgpack" as const },
    ]) {
      const { app } = makeApp(config);
      const t = start(app, { now: new Date("2026-01-01T00:00:00Z"), config, concurrency: 4 });
      await t.put(envelope({ task: "tasks.again", id: "before" }));
      await t.put(bare(body));
      await t.put(envelope({ task: "tasks.again", id: "after" }));
      await t.advance({ hours: 6 });
      expect([await app.result("before").get(), await app.result("after").get()]).toEqual(["done", "done"]);
      expect(await (await app.engine.broker()).size("celery")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
      expect(["SUCCESS", "FAILURE"]).toContain(await app.result("odd").state());
      const handedBack = t.log.filter(({ line }) => line.includes("handed back"));
      expect(handedBack).toEqual([]);
    }
  });

  test("who stands beside a canvas that cannot be read is told of the failure", async () => {
    const { app, heard } = makeApp();
    const t = start(app);
    const chain = [canvas("chain", {}), signature("tasks.one", [], { task_id: "next" })];
    const errbacks = [signature("tasks.errback", []), { args: [] }];
    await t.put(envelope({ task: "tasks.one", id: "odd", embed: { chain, errbacks } }));
    await t.advance({ hours: 1 });
    expect([await app.result("odd").state(), await app.result("next").state()]).toEqual(["FAILURE", "FAILURE"]);
    expect(heard).toEqual(["odd"]);
    expect(await t.deadLetters()).toHaveLength(1);
  });
});

describe("as Python writes them", () => {
  const long = `bare:${2n ** 70n}`;
  const run = async (body: string) => {
    const { app, heard } = makeApp();
    const t = inMemory(app);
    await t.put(bare(body));
    await t.advance({ hours: 1 });
    return { app, heard, t };
  };

  test("limits of 0 are none", async () => {
    const { app } = await run(envelope({ task: "tasks.one", id: "odd", headers: { timelimit: [0, 0] } }));
    expect(await app.result("odd").get()).toBe(1);
  });

  test.each([
    ["a compression that JavaScript does not have", { compression: "bzip2" }],
    ["no exchange by name", { exchange: "" }],
    ["no queue by name", { queue: "" }],
    [
      "no name of anything",
      { routing_key: "", serializer: "", compression: "", shadow: "", task_id: "step", expires: "" },
    ],
    ["a date for a time", { eta: { __type__: "date", __value__: "2020-01-01" } }],
  ])("%s in a step of a chain is what Python makes of it", async (_, options) => {
    const step = signature("tasks.one", [], { task_id: "step", ...options }, true);
    const { app } = await run(envelope({ task: "tasks.one", id: "odd", embed: { chain: [step] } }));
    expect(await app.result("step").get({ timeout: 0 })).toBe(1);
  });

  test.each([
    ["eta", 2020, "2020"],
    ["expires", true, "true"],
  ])("%s that is no time in a step of a chain is told so", async (name, value, shown) => {
    const step = signature("tasks.one", [], { task_id: "step", [name]: value }, true);
    const { app } = await run(envelope({ task: "tasks.one", id: "odd", embed: { chain: [step] } }));
    await expect(app.result("step").get({ timeout: 0 })).rejects.toThrow(
      `${name}: must be a time in ISO 8601; given: ${shown}`,
    );
  });

  test("limits of 0 are none in a step of a chain, too", async () => {
    const step = signature("tasks.one", [], { task_id: "step", time_limit: 0, soft_time_limit: 0 });
    const { app } = await run(envelope({ task: "tasks.one", id: "odd", embed: { chain: [step] } }));
    expect(await app.result("step").get()).toBe(1);
  });

  test("a step that is to be sent in pickle fails, and says what can be used", async () => {
    const step = signature("tasks.one", [], { task_id: "step", serializer: "pickle" });
    const { app } = await run(envelope({ task: "tasks.one", id: "odd", embed: { chain: [step] } }));
    await expect(app.result("step").get()).rejects.toThrow(
      /^serializer: "pickle" cannot .*; use json, msgpack or yaml/,
    );
  });

  test("integers of any size are arguments of what is linked to a step", async () => {
    const links = [signature("tasks.errback", [long], {}, true), signature("tasks.errback", [long], {}, true)];
    const step = signature("tasks.fails", [], { task_id: "step", link: links, link_error: links });
    const { app, heard } = await run(envelope({ task: "tasks.one", id: "odd", embed: { chain: [step] } }));
    expect(await app.result("step").state()).toBe("FAILURE");
    expect(heard).toEqual([2n ** 70n, 2n ** 70n]);
  });
});

test("one name of 100 KB does not keep the worker from its work, whatever the routes", async () => {
  const { app } = makeApp({ taskRoutes: { "*.media.*.hd.*.x": { queue: "celery" } } });
  const t = inMemory(app);
  const callback = signature(`${"a.media.hd.".repeat(10_000)}!`, []);
  await t.put(envelope({ task: "tasks.one", id: "odd", embed: { callbacks: [callback] } }));
  expect(await computing(() => t.drain())).toBeLessThan(1000);
  expect(await t.deadLetters()).toHaveLength(1);
});

/** Anything that JSON says, as a header, an option or a part of a canvas. */
const anything = fc.oneof(
  { weight: 3, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  fc.constantFrom<unknown>(
    -1,
    0.5,
    1e15,
    1e300,
    2 ** 53,
    2 ** 32 - 1,
    2 ** 21,
    "",
    "x",
    [],
    {},
    null,
    "bare:NaN",
    "bare:Infinity",
    "bare:-Infinity",
    `bare:1${"0".repeat(40)}`,
  ),
  fc.constantFrom<unknown>(
    "9999-12-31T23:59:59-05:00",
    "0001-01-01T00:00:00+05:00",
    "2026-01-01T00:00:05",
    [null, 1e9],
    [1e300, null],
    [0, 0],
  ),
);
const part: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  part: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<unknown>(
      signature("tasks.one", []),
      signature("tasks.one", [`bare:1${"0".repeat(40)}`], {}, true),
      signature("tasks.fails", [], {}, true),
    ),
    anything,
    fc
      .tuple(fc.constantFrom("chain", "group"), fc.array(tie("part"), { maxLength: 3 }))
      .map(([task, tasks]) => canvas(task, { tasks })),
    fc
      .tuple(fc.array(tie("part"), { maxLength: 3 }), tie("part"))
      .map(([header, body]) => canvas("chord", { header, body })),
    fc
      .tuple(
        fc.constantFrom(
          "link",
          "link_error",
          "chain",
          "chord",
          "task_id",
          "group_id",
          "group_index",
          "retries",
          "countdown",
          "priority",
          "expires",
          "queue",
          "time_limit",
        ),
        tie("part"),
      )
      .map(([name, value]) => signature("tasks.one", [], { [name]: value }, true)),
  ),
})).part;

test("whatever a message says, it is read or is a dead letter, and nobody waits for it", async () => {
  const headers = fc.dictionary(
    fc.constantFrom(
      "eta",
      "expires",
      "retries",
      "timelimit",
      "group",
      "group_index",
      "root_id",
      "parent_id",
      "replaced_task_nesting",
      "stamped_headers",
      "stamps",
      "shadow",
      "ignore_result",
      "max_retries",
      "mine",
    ),
    anything,
    { maxKeys: 3 },
  );
  const embed = fc.dictionary(
    fc.constantFrom("callbacks", "errbacks", "chain", "chord"),
    fc.oneof(part, fc.array(part, { maxLength: 3 })),
    { maxKeys: 2 },
  );
  const message = fc.record({
    task: fc.constantFrom("tasks.one", "tasks.fails", "tasks.again"),
    headers,
    embed,
    priority: anything,
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(message, { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      async (messages, resultExtended) => {
        const { app } = makeApp({ resultExtended });
        await using t = inMemory(app, {
          now: new Date("2026-01-01T00:00:00Z"),
          config: { resultExtended },
          concurrency: 3,
        });
        for (const [i, { priority, ...given }] of messages.entries()) {
          const text = envelope({ id: `odd-${i}`, ...given });
          await t.put(bare(text.replace('"properties":{', `"properties":{"priority":${JSON.stringify(priority)},`)));
          await t.put(envelope({ task: "tasks.again", id: `good-${i}` }));
        }
        await t.advance({ hours: 12 });
        expect(
          t.log
            .map(({ line }) => line)
            .filter((line) => line.includes("handed back") && !line.includes("unregistered")),
        ).toEqual([]);
        for (const i of messages.keys()) expect(await app.result(`good-${i}`).state()).toBe("SUCCESS");
      },
    ),
    { numRuns: 100, seed: 20_261_128 },
  );
});
