/** What a canvas is does not hang on how many members it has, where they come from, and who has written it. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { chain, chord, group, Lovage, type Signature } from "../../src/index.ts";
import { type TestApp, testApp } from "../../src/testing/index.ts";

const app = new Lovage("shapes", { taskQueues: ["celery", "heavy", "first.fifo"] });
const ran: string[] = [];
const queues: string[] = [];
const add = app.task("add", (x: number, y: number) => {
  ran.push("add");
  return x + y;
});
const size = app.task("size", (list: readonly unknown[]) => list.length);
const list = app.task("list", (values: readonly unknown[]) => values);
const fail = app.task("fail", (): number => {
  throw new RangeError("no");
});
const told = app.task("told", (_id: string) => void ran.push("told"));
const become = app.task("become", { bind: true }, (self, json: never): number => self.replace(json));
app.on("beforeTaskPublish", ({ message, queue }) => void queues.push(`${message.task} ${queue}`));

let t: TestApp;
beforeEach(() => {
  t = testApp(app);
  ran.length = 0;
  queues.length = 0;
});
afterEach(() => t[Symbol.asyncDispose]());

/** What comes of it, or the state that it is left in. */
async function outcome(result: unknown): Promise<unknown> {
  await t.drain();
  try {
    return await (result as { get(options: object): Promise<unknown> }).get({ timeout: 0 });
  } catch (error) {
    return String(error).slice(0, 160);
  }
}

function* numbers(count: number) {
  for (let n = 1; n <= count; n++) yield add.s(n, n);
}
async function* later(count: number) {
  yield* numbers(count);
}

describe.each([0, 1, 2, 101])("a group of %i, and a step", (count) => {
  const values = Array.from({ length: count }, (_, at) => (at + 1) * 2);
  test.each([
    ["list.pipe", () => group([...numbers(count)]).pipe(list.s())],
    ["generator.pipe", () => group(numbers(count)).pipe(list.s())],
    ["async generator.pipe", () => group(later(count)).pipe(list.s())],
    ["chain(list, …)", () => chain(group([...numbers(count)]), list.s())],
    ["chain(generator, …)", () => chain(group(numbers(count)), list.s())],
    ["chain(async generator, …)", () => chain(group(later(count)), list.s())],
    ["chord(list, …)", () => chord([...numbers(count)], list.s())],
    ["chord(generator, …)", () => chord(numbers(count), list.s())],
  ])("%s gives a list", async (_, make) => {
    expect(await outcome(await make().delay())).toEqual(values);
  });

  test.each([
    ["a list", () => [...numbers(count)]],
    ["a generator", () => numbers(count)],
    ["an async generator", () => later(count)],
  ])("%s, and a chord as the body", async (_, make) => {
    const whole = chord(make(), chord([list.s(), size.s()], list.s()));
    expect(await outcome(await whole.delay())).toEqual([values, count]);
  });
});

test("what a list can do, a generator can", async () => {
  const some = () => [1, 2].map((n) => add.s(n));
  function* given() {
    yield* some();
  }
  for (const members of [some, given]) {
    expect(await outcome(await group(members()).clone([7]).delay())).toEqual([8, 9]);
    expect(await outcome(await group(members()).stamp({ a: 1 }).delay(1))).toEqual([2, 3]);
    expect(await outcome(await group(members()).apply([1]))).toEqual([2, 3]);
    expect(await outcome(await group(members()).clone([7]).pipe(list.s()).delay())).toEqual([8, 9]);
    expect(await outcome(await chord(group(members()).clone([7]), list.s()).apply())).toEqual([8, 9]);
    expect(group(members()).toJSON().kwargs["tasks"]).toHaveLength(2);
  }
  expect(await outcome(await group(later(2)).apply())).toEqual([2, 4]);
  const stamps: unknown[] = [];
  const off = app.on("beforeTaskPublish", ({ message }) => void stamps.push(message.stamps));
  await group(later(2)).stamp({ tenant: "a" }).delay();
  off();
  expect(stamps).toEqual([{ tenant: "a" }, { tenant: "a" }]);
});

test("a task that has a callback can be replaced by a chain that ends in a group", async () => {
  const ends = [chain(add.s(1, 1), group(add.s(1), add.s(2))), chain(add.s(1, 1), group([add.s(5)]).pipe(list.s()))];
  for (const [at, end] of ends.entries()) {
    const result = await become.applyAsync([end as never], {
      link: [list.s().set({ taskId: `callback-${at}` }), size.s().set({ taskId: `other-${at}` })],
    });
    expect(await outcome(result)).toEqual([[3, 4], [7]][at]);
    expect(await outcome(app.result(`callback-${at}`))).toEqual([[3, 4], [7]][at]);
    expect(await outcome(app.result(`other-${at}`))).toBe([2, 1][at]);
  }
  const chunked = await become.applyAsync(
    [
      add.chunks(
        [
          [1, 1],
          [2, 2],
        ],
        1,
      ) as never,
    ],
    { link: size.s().set({ taskId: "size" }) },
  );
  expect([await outcome(chunked), await outcome(app.result("size"))]).toEqual([[[2], [4]], 2]);
});

test("stamps are those of all that is linked, too, before the stamp", async () => {
  const stamped: [string, unknown, unknown][] = [];
  const off = app.on(
    "beforeTaskPublish",
    ({ message: { task, stamps } }) => void stamped.push([task, stamps["tenant"], stamps["own"]]),
  );
  function* failing() {
    yield fail.s();
  }
  const called = list.si([]);
  const canvases = [
    add.s(1, 1).link(called, group(called, called)),
    chain(add.s(1, 1), add.s(1)).link(called),
    chord([add.s(1, 1)], list.s()).link(called.link(called)),
    fail.s().linkError(told.s()),
    chain(add.s(1, 1), fail.si()).linkError(told.s().stamp({ own: 1 })),
    group([fail.s(), fail.s()]).linkError(chain(told.s(), called)),
    group(failing()).linkError(told.s()),
    app.signature({
      task: "add",
      args: [1, 1],
      options: { link: { task: "list", args: [[]], immutable: true } },
    } as never),
  ] as unknown as Signature[];
  const counts: number[] = [];
  for (const canvas of canvases) {
    const before = stamped.length;
    await canvas.stamp({ tenant: "a" }).delay();
    await t.drain();
    counts.push(stamped.length - before);
  }
  off();
  expect(counts).toEqual([4, 3, 4, 2, 3, 6, 2, 2]);
  expect(stamped.filter(([, tenant]) => tenant !== "a")).toEqual([]);
  expect(stamped.filter(([, , own]) => own === 1)).toEqual([["told", "a", 1]]);
});

test("members of a generator are gone when they were sent, whoever holds the group", async () => {
  const once = group(numbers(2));
  const same = once.set({ priority: 3 });
  await once.delay();
  for (const again of [() => once.delay(), () => same.delay(), () => once.apply(), () => once.pipe(list.s()).delay()])
    await expect(again()).rejects.toThrow(/gives them once only, and they are sent; give a list/);
  expect(() => once.toJSON()).toThrow(/gives them once only/);
});

test("a header of a generator is counted in parts where its tasks are known, and sent as a list where they may be Python's", async () => {
  const chords: (object | null)[] = [];
  const off = app.on("beforeTaskPublish", ({ message }) => void chords.push(message.chord));
  const sent = async (...members: Signature[]) => {
    chords.length = 0;
    await chord(members.values() as never, list.s() as never).delay();
    return chords.map((body) => body !== null && "join_leaves" in body);
  };
  const theirs = app.signature("py.add", [1]) as Signature;
  expect(await sent(add.s(1, 1) as never, add.s(1, 1) as never)).toEqual([true, true]);
  expect(await sent(app.taskRef("elsewhere.ours").s() as never)).toEqual([true]);
  expect(await sent(theirs, add.s(1, 1) as never)).toEqual([false, false]);
  await expect(
    sent(...Array.from({ length: 150 }, () => add.s(1, 1) as never as Signature), theirs),
  ).rejects.toMatchObject({
    name: "GroupInterrupted",
    cause: { message: expect.stringMatching(/py\.add is not; give the header as a list/) },
  });
  off();
});

describe("a group's errbacks are called", () => {
  function* failingMembers() {
    yield add.s(1, 1);
    yield fail.si();
  }
  const failing = () => group([add.s(1, 1), fail.si()]).linkError(told.s());
  test.each<[string, () => { delay(): Promise<unknown> }]>([
    ["alone", failing],
    ["when a step follows", () => failing().pipe(size.s())],
    ["in a chord", () => chord(failing(), size.s())],
    ["in a chain", () => chain(add.s(1, 1), group([add.s(1), fail.si()]).linkError(told.s()), size.s())],
    ["of a generator", () => group(failingMembers()).linkError(told.s()).pipe(size.s())],
    ["in its place", () => become.s(failing().toJSON() as never)],
  ])("%s", async (_, make) => {
    await make().delay();
    await t.drain();
    expect(ran.filter((what) => what === "told")).toHaveLength(1);
  });
});

test("what is linked to a chord is its body's, also when further steps follow", async () => {
  const linked = chord([add.s(1, 1)], size.s()).linkError(told.s());
  expect(await outcome(await linked.pipe(fail.si()).delay())).toMatch(/RangeError/);
  expect(await outcome(await linked.delay())).toBe(1);
  expect(ran).not.toContain("told");
});

describe("one id twice in a header", () => {
  const once = (n: number) => add.s(n, n).set({ taskId: `once-${n}` });
  const many = Array.from({ length: 105 }, (_, at) => at);
  test.each([
    ["in a list", () => [1, 2, 2].map(once), 2, [2, 4, 4]],
    ["in a generator", () => [1, 2, 2].map(once).values(), 2, [2, 4, 4]],
    ["all the same", () => [5, 5, 5].map(once).values(), 1, [10, 10, 10]],
    ["in two rows of a list", () => [...many, 0].map(once), 105, [...many, 0].map((n) => 2 * n)],
    ["in two rows of a generator", () => [...many, 0, 1].map(once).values(), 105, [...many, 0, 1].map((n) => 2 * n)],
  ])("%s runs once, and counts once", async (_, members, runs, values) => {
    expect(await outcome(await chord(members() as Iterable<Signature>, list.s()).delay())).toEqual(values);
    expect(ran).toHaveLength(runs);
  });
});

describe("one id in two chords", () => {
  const shaky = app.task("shaky", { bind: true, maxRetries: 2 }, async (self) => {
    ran.push("shaky");
    await app.engine.clock.sleep(10_000);
    return self.request.retries < 1 ? self.retry({ countdown: 60 }) : 7;
  });
  const both = (n: number) => chord([shaky.s().set({ taskId: "shared" }), add.s(n, n)], list.s());
  test.each([
    ["at once", 0],
    ["while its first attempt runs", 5],
    ["while it waits for its retry", 30],
    ["while the retry runs", 75],
    ["when it has ended", 200],
  ])("sent %s: it runs once with its retry, and both chords get its result", async (_, seconds) => {
    const first = await both(1).delay();
    await t.advance({ seconds });
    const second = await both(2).delay();
    await t.advance({ minutes: 10 });
    expect([await first.get(), await second.get()]).toEqual([
      [7, 2],
      [7, 4],
    ]);
    expect(ran.filter((what) => what === "shaky")).toHaveLength(2);
  });
});

describe("options", () => {
  const heavy = { queue: "heavy" };
  const header = ["add heavy", "add heavy", "size celery"];
  test.each<[string, () => { delay(): Promise<unknown> }, readonly string[]]>([
    ["of a group", () => group([...numbers(2)]).set(heavy), header.slice(0, 2)],
    ["of a generator's group", () => group(numbers(2)).set(heavy), header.slice(0, 2)],
    [
      "of a group before a step",
      () =>
        group([...numbers(2)])
          .set(heavy)
          .pipe(size.s()),
      header,
    ],
    ["of a generator's group before a step", () => group(numbers(2)).set(heavy).pipe(size.s()), header],
    ["of a group as a header", () => chord(group([...numbers(2)]).set(heavy), size.s()), header],
    ["of a generator's as a header", () => chord(group(numbers(2)).set(heavy), size.s()), header],
    ["of a chord", () => chord([...numbers(2)], size.s()).set(heavy), [...header.slice(0, 2), "size heavy"]],
    ["of a generator's chord", () => chord(numbers(2), size.s()).set(heavy), [...header.slice(0, 2), "size heavy"]],
  ])("%s go to those they are set for", async (_, make, expected) => {
    await make().delay();
    await t.drain();
    expect(queues).toEqual(expected);
  });

  test("a deduplication id makes one of each member, and not one of all", async () => {
    const fifo = { queue: "first.fifo", MessageGroupId: "a", MessageDeduplicationId: "once" };
    for (const members of [[...numbers(3)], numbers(3)]) {
      await group(members as Iterable<Signature>)
        .set(fifo)
        .delay();
      await group([...numbers(3)])
        .set(fifo)
        .delay();
    }
    await t.drain();
    expect(ran).toHaveLength(3);
  });
});

test("groups of none can be saved, forgotten, and followed", async () => {
  for (const none of [group([]), group(numbers(0))]) {
    const result = await none.delay();
    expect(await (await result.save()).get()).toEqual([]);
    await result.forget();
  }
  const behind = await chain(fail.si(), group([] as Signature<[number]>[])).delay();
  expect(await outcome(behind)).toMatch(/RangeError: no/);
});

test("forget() of the end forgets what came before it, as Celery's does", async () => {
  const result = await chain(add.s(1, 1), group(add.s(1), add.s(2)), size.s()).delay();
  expect(await outcome(result)).toBe(2);
  const before: string[] = [];
  for (let at = result.parent; at !== null; at = at.parent) before.push(...("ids" in at ? at.ids : [at.id]));
  expect(before).toHaveLength(3);
  await result.forget();
  for (const id of [result.id, ...before]) expect(await app.result(id).state()).toBe("PENDING");
});

test("Celery's words where something cannot be", async () => {
  const empty = { task: "celery.chain", args: [], kwargs: { tasks: [] }, options: {}, subtask_type: "chain" };
  expect(await outcome(await become.delay(empty as never))).toMatch(/Cannot replace with an empty chain/);
  const within = { ...add.s(1, 1).toJSON(), options: { chord: size.s().toJSON() } };
  expect(await outcome(await become.delay(within as never))).toMatch(
    /A signature replacing a task must not be part of a chord/,
  );
  expect(() => group(add.s(1, 1)).link(told.s() as never)).toThrow(/Cannot add link to group: use a chord/);
});

describe("a chord whose row is gone", () => {
  const task = (name: string, id: string) => ({ task: name, args: [], kwargs: {}, options: { task_id: id } });
  const errback = { ...task("told", "errback"), immutable: true, args: ["x"] };
  const message = (id: string, name: string, args: unknown[], chord: object) =>
    JSON.stringify({
      body: JSON.stringify([args, {}, { callbacks: null, errbacks: null, chain: null, chord }]),
      "content-encoding": "utf-8",
      "content-type": "application/json",
      headers: {
        lang: "py",
        task: name,
        id,
        root_id: id,
        parent_id: null,
        group: "header",
        group_index: 0,
        retries: 0,
      },
      properties: { correlation_id: id, delivery_info: { exchange: "", routing_key: "celery" }, delivery_tag: id },
    });

  test("fails its body with the first member that fails, and not twice", async () => {
    const body = { ...task("size", "body"), options: { task_id: "body", link_error: [errback] } };
    await t.put(message("ok", "add", [1, 1], body));
    await t.drain();
    expect(await app.result("body").state()).toBe("PENDING");
    await t.put(message("bad", "fail", [], body));
    await t.put(message("worse", "fail", [], body));
    expect(await outcome(app.result("body"))).toMatch(/ChordError: Dependency bad raised RangeError/);
    expect(ran).toEqual(["add", "told"]);
  });
});
