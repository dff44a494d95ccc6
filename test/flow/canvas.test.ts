import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Broker } from "../../src/brokers/broker.ts";
import {
  AsyncResult,
  chain,
  chord,
  type GetOptions,
  GroupResult,
  group,
  Ignore,
  Lovage,
  OperationalError,
  TaskRevokedError,
} from "../../src/index.ts";
import { encodeEnvelope } from "../../src/protocol/envelope.ts";
import { createMessage } from "../../src/protocol/message.ts";
import { encodeGroupMeta, encodeMeta } from "../../src/protocol/meta.ts";
import { groupKey, joinKey, taskKey } from "../../src/results/backend.ts";
import { type TestApp, type TestOptions, testApp } from "../../src/testing/index.ts";
import { computing, quickest } from "../measured.ts";

type Step = ReturnType<Lovage["signature"]>;

const app = new Lovage("canvas");
const add = app.task("add", (x: number, y: number) => x + y);
const sum = app.task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));
const list = app.task("list", (xs: unknown) => xs);
const boom = app.task("boom", (x: number): number => {
  throw new RangeError(`boom ${x}`);
});
const told: string[] = [];
const tell = app.task("tell", (id: string) => void told.push(id));
const quiet = app.task("quiet", { ignoreResult: true }, (x: number) => x);
const ignored = app.task("ignored", (_: number): number => {
  throw new Ignore();
});
const slow = app.task("slow", { bind: true }, async (self, x: number) => {
  await new Promise<void>((resolve) => self.signal.addEventListener("abort", () => resolve()));
  return x;
});
/** Text that no compression makes shorter than half of it. */
const noise = (length: number) =>
  Array.from({ length: Math.ceil(length / 10) }, () => Math.random().toString(36).slice(2, 12).padEnd(10, "0")).join(
    "",
  );
const manyNumbers = app.task("manyNumbers", (n: number) => noise(n));
const twice = app.task("twice", { bind: true }, (self, x: number): number =>
  self.replace(chain(add.s(x, 0), add.s(x))),
);
const spread = app.task("spread", { bind: true }, (self, n: number): number[] =>
  self.replace(group(Array.from({ length: n }, (_, i) => add.s(i, 1)))),
);
const further = app.task("further", { bind: true }, async (self, x: number) => {
  await self.addToChord(add.s(100, x));
  return x;
});

let t: TestApp;
/** What the broker is to refuse, and how. */
let refuse: (body: string) => Error | undefined;
const options: TestOptions = {
  broker: (broker: Broker): Broker => ({
    ...broker,
    async send(entries) {
      const refused = entries.map(({ body }) => refuse(body));
      const answers = await broker.send(entries.filter((_, at) => refused[at] === undefined));
      let next = 0;
      return refused.map((error) => error ?? answers[next++]);
    },
  }),
};
beforeEach(() => {
  told.length = 0;
  refuse = () => undefined;
  t = testApp(app, options);
});
afterEach(() => t.close());

interface Held {
  get(options?: GetOptions): Promise<unknown>;
}

/** Sends, runs all that follows, and says what came of it. */
async function outcome(canvas: { delay(): Promise<unknown> }): Promise<unknown> {
  const held = (await canvas.delay()) as Held;
  await t.drain();
  return held.get({ timeout: 0 }).catch((error: Error) => `${error.name}: ${error.message}`);
}

const raised = (error: string) => expect.stringMatching(new RegExp(`^ChordError: Dependency \\S+ ${error}`));

describe("running", () => {
  test("a chain hands each result on, before the arguments that are kept", async () => {
    expect(await outcome(chain(add.s(2, 2), add.s(4), add.s(8)))).toBe(16);
    expect(await outcome(chain(add.s(2, 2), add.si(1, 1)))).toBe(2);
    expect(await outcome(chain(add.s(1), add.s(2)).clone([10]))).toBe(13);
  });

  test("a group gives its results in order, and those of a group within in their place", async () => {
    expect(await outcome(group(add.s(1, 1), group(add.s(2, 2), add.s(3, 3)), add.s(4, 4)))).toEqual([2, 4, 6, 8]);
    expect(await outcome(group())).toEqual([]);
  });

  test("a chord gives its body the results of the header in order", async () => {
    expect(await outcome(chord([add.s(1, 1), add.s(2, 2)], sum.s()))).toBe(6);
    expect(await outcome(chord([], sum.s()))).toBe(0);
    expect(await outcome(chord([add.s(1, 1)], list.s()))).toEqual([2]);
    expect(await outcome(chord([add.s(1, 1), group(add.s(2, 2), add.s(3, 3))], list.s()))).toEqual([2, 4, 6]);
  });

  test("a group followed by a step is a chord; one in a header's chain gives a list of its own", async () => {
    expect(await outcome(chain(add.s(1, 1), group(add.s(1), add.s(2)), sum.s(), add.s(100)))).toBe(107);
    expect(await outcome(chord([chain(add.s(1, 1), group(add.s(1), add.s(2))), add.s(5, 5)], list.s()))).toEqual([
      [3, 4],
      10,
    ]);
  });

  test("map, starmap and chunks", async () => {
    expect(await outcome(quiet.map([1, 2, 3]))).toEqual([1, 2, 3]);
    expect(
      await outcome(
        add.starmap([
          [1, 2],
          [3, 4],
        ]),
      ),
    ).toEqual([3, 7]);
    expect(
      await outcome(
        add.chunks(
          [
            [1, 2],
            [3, 4],
            [5, 6],
          ],
          2,
        ),
      ),
    ).toEqual([[3, 7], [11]]);
    expect(
      await outcome(
        add
          .chunks(
            [
              [1, 2],
              [3, 4],
              [5, 6],
            ],
            2,
          )
          .pipe(list.s()),
      ),
    ).toEqual([[3, 7], [11]]);
  });

  test("options go where Celery has them go", async () => {
    const queues: string[] = [];
    app.on("beforeTaskPublish", ({ message, queue }) => void queues.push(`${message.task} ${queue}`));
    await outcome(chain(add.s(1, 1), add.s(1)).set({ queue: "first" }));
    await outcome(group(add.s(1, 1), list.s(1)).set({ queue: "each" }));
    await outcome(chord([add.s(1, 1)], sum.s()).set({ queue: "both" }));
    await outcome(group(add.s(1, 1)).set({ queue: "header" }).pipe(sum.s()));
    expect(queues).toEqual([
      ...["add first", "add celery", "add each", "list each"],
      ...["add both", "sum both", "add header", "sum celery"],
    ]);
  });

  test("countdown of a chord delays its header", async () => {
    const result = await chord([add.s(1, 1)], sum.s()).applyAsync([], { countdown: 60 });
    expect(await t.drain()).toEqual([]);
    await t.advance({ minutes: 1 });
    expect(await result.get({ timeout: 0 })).toBe(2);
  });

  test("a callback may be a canvas", async () => {
    await add.applyAsync([1, 1], { link: chain(add.s(1), group(list.s(), list.s()), app.signature("tell")) });
    await t.drain();
    expect(told).toEqual([[3, 3]]);
  });

  test("a task is replaced by a canvas, whose result is its own", async () => {
    expect(await outcome(chain(twice.s(5), add.s(1)))).toBe(11);
    expect(await outcome(spread.s(3))).toEqual([1, 2, 3]);
    expect(await outcome(chord([spread.s(2), spread.s(1)], list.s()))).toEqual([[1, 2], [1]]);
  });

  test("a member adds to its chord, after the header", async () => {
    expect(await outcome(chord([further.s(1), add.s(1, 1)], list.s()))).toEqual([1, 2, 101]);
    expect(await outcome(further.s(1))).toMatch(/needs a chord/);
  });

  test("here and now, with apply and with taskAlwaysEager", async () => {
    const canvas = chain(add.s(1, 1), group(add.s(1), twice.s()), list.s());
    expect(await (await canvas.apply()).get()).toEqual([3, 4]);
    await expect((await chord([boom.s(1)], sum.s()).apply()).get()).rejects.toMatchObject({ name: "ChordError" });
    await t.close();
    t = testApp(app, { config: { taskAlwaysEager: true } });
    expect(await (await canvas.delay()).get()).toEqual([3, 4]);
    expect(
      await (
        await group(
          (function* () {
            yield add.s(1, 1);
          })(),
        ).delay()
      ).get(),
    ).toEqual([2]);
  });
});

describe("a failing member fails the body with ChordError once", () => {
  const bodies = () => sum.s().linkError(tell.s());

  test.each([
    ["thrown", () => chord([add.s(1, 1), boom.s(7)], bodies()), `raised RangeError\\("boom 7"\\)`],
    ["of a chain", () => chord([chain(boom.s(7), add.s(1), add.s(2)), add.s(1, 1)], bodies()), "raised RangeError"],
    ["at a chain's end", () => chord([chain(add.s(1, 1), boom.s()), add.s(1, 1)], bodies()), "raised RangeError"],
    ["of a chord within", () => chord([chord([boom.s(1)], sum.s()), add.s(1, 1)], bodies()), "raised ChordError"],
    [
      "of a group at a chain's end",
      () => chord([chain(add.s(1, 1), group(boom.s(), add.s(1)))], list.s().linkError(tell.s())),
      "raised ChordError",
    ],
    ["more than one", () => chord([boom.s(1), boom.s(2), boom.s(3)], bodies()), `raised RangeError\\("boom 1"\\)`],
    ["expired", () => chord([add.s(1, 1).set({ expires: new Date(0) }), add.s(1, 1)], bodies()), "was revoked"],
    ["that ends in Ignore", () => chord([ignored.s(1), add.s(1, 1)], bodies()), "was ignored"],
    [
      "of a chain whose step ends in Ignore",
      () => chord([chain(ignored.s(1), add.s(1), add.s(2))], bodies()),
      "raised",
    ],
    [
      "of a chain whose step before a group ends in Ignore",
      () => chord([chain(ignored.s(1), group(add.s(1), add.s(2)))], list.s().linkError(tell.s())),
      "raised",
    ],
    [
      "of a chain whose step before a chord ends in Ignore",
      () => chord([chain(add.s(1, 1), ignored.s(), chord([add.s(1)], sum.s()), add.s(1))], bodies()),
      "raised",
    ],
    [
      "of one in a hundred",
      () =>
        chord(
          Array.from({ length: 150 }, (_, i) => (i === 120 ? boom.s(i) : add.s(i, 0))),
          bodies(),
        ),
      "raised RangeError",
    ],
  ])("%s", async (_, canvas, error) => {
    expect(await outcome(canvas() as { delay(): Promise<unknown> })).toEqual(raised(error));
    expect(told).toHaveLength(1);
  });

  test("revoked", async () => {
    const result = await chord([add.s(1, 1).set({ taskId: "revoked" }), add.s(1, 1)], bodies()).delay();
    await app.result("revoked").revoke();
    await t.drain();
    await expect(result.get({ timeout: 0 })).rejects.toThrow(/revoked was revoked/);
    expect(told).toEqual([result.id]);
  });

  test("whose worker dies, again and again", async () => {
    const result = await chord([slow.s(1), add.s(1, 1)], bodies()).delay();
    for (let deaths = 0; deaths < 5; deaths++) {
      await t.advance(1000);
      t.crash();
      await t.advance({ hours: 1 });
    }
    await expect(result.get({ timeout: 0 })).rejects.toThrow(/raised WorkerLostError/);
    expect(told).toEqual([result.id]);
  });

  test("that no worker knows", async () => {
    const result = await chord([app.signature("nobody.knows"), add.s(1, 1)], bodies()).delay();
    await t.advance({ minutes: 10 });
    await expect(result.get({ timeout: 0 })).rejects.toThrow(/raised NotRegistered/);
    expect(told).toEqual([result.id]);
  });

  test("and a body that is a canvas: who waits for its end is told, and its errbacks are called with its id", async () => {
    const result = await chord(
      [boom.s(1)],
      chain(sum.s(), add.s(1), group(add.s(1), add.s(2)), sum.s()).linkError(tell.s()),
    ).delay();
    await t.drain();
    await expect(result.get({ timeout: 0 })).rejects.toMatchObject({ name: "ChordError" });
    expect(told).toEqual([result.id]);
    const each = await chord([boom.s(1)], group(list.s(), list.s())).delay();
    await t.drain();
    await expect(each.get({ timeout: 0 })).rejects.toMatchObject({ name: "ChordError" });
  });

  test("and with taskAllowErrorCbOnChordHeader the header's tasks have its errbacks too", async () => {
    await t.close();
    t = testApp(app, { config: { taskAllowErrorCbOnChordHeader: true } });
    const result = await chord([boom.s(1), boom.s(2), add.s(1, 1)], sum.s())
      .linkError(tell.s())
      .delay();
    await t.drain();
    expect(told).toHaveLength(3);
    expect(told).toContain(result.id);
  });

  test("results that are ignored count, and are in the list", async () => {
    expect(await outcome(chord([quiet.s(1), quiet.s(2)], sum.s()))).toBe(3);
  });

  test("a body whose arguments are too large for a message has failed, and its errback runs", async () => {
    const header = Array.from({ length: 3 }, () => manyNumbers.s(900_000));
    expect(await outcome(chord(header, list.s().linkError(tell.s())))).toMatch(/^PayloadTooLarge/);
    expect(told).toHaveLength(1);
  });
});

describe("deaths and duplicates", () => {
  /** Lets a message be sent when it has failed so often. */
  const failFirst = (times: number, what: string) => {
    let left = times;
    refuse = (body) =>
      body.includes(what) && left-- > 0 ? new OperationalError("the line is dead", { retryable: true }) : undefined;
  };

  test("between the last member and the body", async () => {
    const result = await chord([add.s(1, 1), add.s(2, 2)], sum.s()).delay();
    failFirst(3, `"task":"sum"`);
    await t.advance({ hours: 1 });
    expect(await result.get({ timeout: 0 })).toBe(6);
  });

  test("between a leaf and the root: a member of it that comes again goes on", async () => {
    const result = await chord(
      Array.from({ length: 101 }, (_, i) => add.s(i, 0)),
      sum.s(),
    ).delay();
    const backend = await app.engine.backend();
    const { apply } = backend;
    let deaths = 2;
    (backend as { apply: typeof apply }).apply = async (commands) => {
      const dies = commands.some(
        ({ type, key }) => type === "join" && key === joinKey(String((result.parent as GroupResult).id)),
      );
      if (dies && deaths-- > 0) throw new OperationalError("dead", { retryable: true });
      return apply(commands);
    };
    await t.advance({ hours: 1 });
    expect(deaths).toBeLessThan(0);
    expect(await result.get({ timeout: 0 })).toBe(5050);
  });

  test("a member that is delivered again when all is over changes nothing", async () => {
    const runs: string[] = [];
    const stop = app.on("taskPostrun", ({ task }) => void runs.push(task));
    const result = await chord([add.s(1, 1).set({ taskId: "again" }), add.s(2, 2)], sum.s()).delay();
    await t.drain();
    const group = (result.parent as GroupResult).id;
    const chordData = chord([], sum.s().set({ taskId: result.id })).toJSON().kwargs["body"] as never;
    const again = createMessage({ id: "again", task: "add", args: [1, 1], group, groupIndex: 0, chord: chordData });
    await t.put(await encodeEnvelope(again));
    await t.drain();
    expect(runs).toEqual(["add", "add", "sum"]);
    expect(await result.get({ timeout: 0 })).toBe(6);
    stop();
  });

  test("a step that could not be sent for a lasting reason has failed, with its errbacks, its chord and the rest of its chain", async () => {
    refuse = (body) =>
      body.includes(`"task":"list"`) ? new OperationalError("no such queue", { retryable: false }) : undefined;
    const result = await chord(
      [chain(add.s(1, 1), list.s().linkError(tell.s()), add.s(1) as never), add.s(1, 1)],
      sum.s().linkError(tell.s()) as never,
    ).delay();
    await t.drain();
    await expect((result as Held).get({ timeout: 0 })).rejects.toThrow(/raised OperationalError/);
    expect(told).toHaveLength(2);
  });
});

describe("beside Python", () => {
  const body = (id: string) => sum.s().set({ taskId: id }).toJSON();
  const member = (id: string, index: number, chordBody = body("B")) =>
    encodeEnvelope(
      createMessage({ id, task: "add", args: [index, index], group: "G", groupIndex: index, chord: chordBody }),
    );
  const store = async (key: string, result: Awaited<ReturnType<typeof encodeMeta>>) =>
    (await app.engine.backend()).apply([{ type: "store", key, now: t.clock.now(), result }]);
  const header = async (...ids: string[]) =>
    store(groupKey("G"), await encodeGroupMeta([["G", null], ids.map((id) => [[id, null], null])]));
  const python = async (id: string, result: number) =>
    store(
      taskKey(id),
      await encodeMeta({ status: "SUCCESS", result, traceback: null, children: [], dateDone: null, taskId: id }),
    );

  test("a chord that Python sent is completed by its row of members", async () => {
    await header("1", "2");
    await t.put(await member("1", 1));
    await t.drain();
    expect(await app.result("B").state()).toBe("PENDING");
    await t.put(await member("2", 2));
    await t.drain();
    expect(await app.result("B").get({ timeout: 0 })).toBe(6);
  });

  test("a chain that ends in a group, in a header that Python sent, counts as its members and gives a list of its own", async () => {
    const members = ["1", "2"].map((id) => add.s(1).set({ taskId: id }).toJSON());
    const last = {
      ...group().toJSON(),
      kwargs: { tasks: members },
      options: { task_id: "inner", group_id: "G", chord: body("B") },
    };
    const all = list.s().set({ taskId: "B" }).toJSON();
    await store(
      groupKey("G"),
      await encodeGroupMeta([
        ["G", null],
        [
          [
            ["inner", null],
            [
              [["1", null], null],
              [["2", null], null],
            ],
          ],
          [["3", null], null],
        ],
      ]),
    );
    const tail = { ...last, options: { ...last.options, chord: all } };
    await t.put(await encodeEnvelope(createMessage({ id: "0", task: "add", args: [1, 1], chain: [tail] })));
    await t.put(await member("3", 1, all));
    await t.drain();
    expect(await app.result("B").get({ timeout: 0 })).toEqual([[3, 3], 2]);
  });

  test("a member that Python counted twice does not complete it too early", async () => {
    await header("1", "2", "P");
    const backend = await app.engine.backend();
    const { apply } = backend;
    // Two increments of Python's for one member of its own.
    (backend as { apply: typeof apply }).apply = async (commands) =>
      (await apply(commands)).map((answer) => ("count" in answer ? { ...answer, count: answer.count + 2 } : answer));
    await t.put(await member("1", 1));
    await t.drain();
    expect(await app.result("B").state()).toBe("PENDING");
    await python("P", 10);
    await t.put(await member("2", 2));
    await t.drain();
    expect(await app.result("B").get({ timeout: 0 })).toBe(16);
  });

  test("a chord that nobody counts is left to chord_unlock, which waits for all and sends the body", async () => {
    await t.put(await member("1", 1));
    await t.drain();
    expect(await app.result("B").state()).toBe("PENDING");
    const result = [
      [["1", null], null],
      [["2", null], null],
    ];
    await app.sendTask("celery.chord_unlock", ["G", body("B")], {
      kwargs: { interval: null, max_retries: null, result },
    });
    await t.advance(5000);
    expect(await app.result("B").state()).toBe("PENDING");
    await t.put(await member("2", 2));
    await t.advance(5000);
    expect(await app.result("B").get({ timeout: 0 })).toBe(6);
  });

  test.each([
    ["celery.map", [], { task: list.s().toJSON(), it: [1, 2] }, [1, 2]],
    ["celery.starmap", [], { task: add.s().toJSON(), it: [[1, 2]] }, [3]],
    [
      "celery.chunks",
      [
        add.s().toJSON(),
        [
          [1, 2],
          [3, 4],
        ],
        1,
      ],
      {},
      [[3], [7]],
    ],
    ["celery.accumulate", [[1, 2]], { index: 0 }, [1, 2]],
    ["celery.accumulate", [1, 2], {}, [1, 2]],
    ["celery.backend_cleanup", [], {}, null],
    ["celery.chain", [], { tasks: [add.s(1, 1).toJSON(), add.s(1).toJSON()] }, 3],
    ["celery.group", [], { tasks: [add.s(1, 1).toJSON(), add.s(2, 1).toJSON()] }, [2, 3]],
    ["celery.chord", [], { header: [add.s(1, 1).toJSON()], body: sum.s().toJSON() }, 2],
  ])("%s is a task of every app", async (name, args, kwargs, expected) => {
    const result = await app.sendTask(name, args, { kwargs });
    await t.drain();
    expect(await result.get({ timeout: 0 })).toEqual(expected);
  });

  test("map of a task that nobody knows fails and says so", async () => {
    expect(
      await outcome(
        app.signature({ ...list.map([1]).toJSON(), kwargs: { task: { task: "nobody.knows" }, it: [1] } } as never),
      ),
    ).toMatch(/^NotRegistered/);
  });
});

describe("members of a generator", () => {
  const numbers = (n: number) =>
    (function* () {
      for (let i = 0; i < n; i++) yield add.s(i, 0);
    })();

  test("are sent as they come, of a group and of a chord's header", async () => {
    expect(await outcome(group(numbers(3)))).toEqual([0, 1, 2]);
    expect(await outcome(chord(numbers(250), sum.s()))).toBe(31_125);
    expect(await outcome(group(numbers(100)).pipe(sum.s()).pipe(add.s(1)))).toBe(4951);
    expect(await outcome(chord(numbers(0), sum.s()))).toBe(0);
    const waiting = async function* () {
      yield add.s(1, 1);
      yield chain(add.s(1, 1), group(add.s(1), add.s(2)));
    };
    expect(await outcome(group(waiting()))).toEqual([2, [3, 4]]);
    expect(await outcome(chord(waiting(), list.s()))).toEqual([2, [3, 4]]);
  });

  test("need no memory: a bounded number is under way, of 5,000", async () => {
    let made = 0;
    let sent = 0;
    let most = 0;
    await t.close();
    t = testApp(app, {
      broker: (broker) => ({
        ...broker,
        async send(entries) {
          await new Promise((resolve) => setImmediate(resolve));
          sent += entries.length;
          return entries.map(() => undefined);
        },
      }),
    });
    const counted = (function* () {
      for (; made < 5000; made++) {
        most = Math.max(most, made - sent);
        yield add.s(made, 0);
      }
    })();
    const result = await group(counted).delay();
    expect([sent, result.length]).toEqual([5000, 5000]);
    expect(most).toBeLessThan(1000);
  });

  test("that come slowly do not wait for each other", async () => {
    const slow = async function* () {
      for (let i = 0; i < 3; i++) {
        yield add.s(i, 0);
        await new Promise((resolve) => setTimeout(resolve, 1));
        await new Promise((resolve) => setTimeout(resolve, 1));
        if (i === 0) expect(await t.drain()).toMatchObject({});
        expect((await app.result("slow.0").state()) === "SUCCESS").toBe(true);
      }
    };
    const result = await group(slow()).applyAsync([], { taskId: "slow" });
    await t.drain();
    expect(await result.get({ timeout: 0 })).toEqual([0, 1, 2]);
  });

  test("may all have ended before the generator does", async () => {
    const early = async function* () {
      for (let i = 0; i < 103; i++) {
        yield add.s(i, 0);
        if (i % 100 === 99) await t.drain();
      }
      await new Promise((resolve) => setTimeout(resolve));
      await t.drain();
    };
    const result = await chord(early(), sum.s()).delay();
    await t.drain();
    expect(await result.get({ timeout: 0 })).toBe(5253);
  });

  test("one that throws says how many were sent, and a chord's body does not run", async () => {
    const broken = function* () {
      yield* numbers(150);
      throw new Error("no more");
    };
    await expect(chord(broken(), sum.s().set({ taskId: "never" })).delay()).rejects.toMatchObject({
      name: "GroupInterrupted",
      sent: 150,
      cause: new Error("no more"),
    });
    await t.drain();
    expect(await app.result("never").state()).toBe("PENDING");
  });

  test("are gone when they were sent", async () => {
    const once = group(numbers(2));
    await once.delay();
    await expect(once.delay()).rejects.toThrow(/came from a generator, which gives them once only/);
  });
});

describe("results", () => {
  test("a chain's results know the steps before, a chord's its header", async () => {
    const result = await chain(add.s(1, 1), group(add.s(1), add.s(2)), sum.s()).delay();
    await t.drain();
    const header = result.parent as GroupResult;
    expect(header).toBeInstanceOf(GroupResult);
    expect(await header.get({ timeout: 0 })).toEqual([3, 4]);
    expect(await (header.parent as AsyncResult).get({ timeout: 0 })).toBe(2);
  });

  test("a group's results are asked for together", async () => {
    const result = await group(add.s(1, 1), boom.s(1), add.s(2, 2).set({ countdown: 60 })).delay();
    await t.drain();
    expect(await result.completedCount()).toBe(1);
    expect([await result.ready(), await result.waiting(), await result.failed(), await result.successful()]).toEqual([
      false,
      true,
      true,
      false,
    ]);
    await expect(result.get({ timeout: 0 })).rejects.toMatchObject({ name: "RangeError" });
    await t.advance({ minutes: 2 });
    expect(await result.get({ timeout: 0, propagate: false })).toMatchObject([2, { name: "RangeError" }, 4]);
    expect(await result.ready()).toBe(true);
  });

  test("a group is saved, found again, and forgotten", async () => {
    const result = await group(add.s(1, 1), chain(add.s(1, 1), group(add.s(1), add.s(2)))).delay();
    await t.drain();
    expect(await app.groupResult(result.id)).toBeNull();
    await result.save();
    const found = (await app.groupResult(result.id)) as GroupResult;
    expect(await found.get({ timeout: 0 })).toEqual([2, [3, 4]]);
    await found.forget();
    expect(await app.groupResult(result.id)).toBeNull();
    expect(await result.ready()).toBe(false);
  });

  test("a group is revoked", async () => {
    const result = await group(add.s(1, 1), add.s(2, 2)).delay();
    await result.revoke();
    await t.drain();
    await expect(result.get({ timeout: 0 })).rejects.toBeInstanceOf(TaskRevokedError);
  });

  test("children are what a task sent, and collect goes through all of them", async () => {
    const result = await add.applyAsync([1, 1], { link: [add.s(1), group(add.s(2), add.s(3))] });
    await t.drain();
    const [link, members] = (await result.children()) as [AsyncResult, GroupResult];
    expect(link).toBeInstanceOf(AsyncResult);
    expect(members).toBeInstanceOf(GroupResult);
    const seen: unknown[] = [];
    for await (const [, value] of result.collect({ timeout: 0 })) seen.push(value);
    expect(seen).toEqual([2, 3, [4, 5], 4, 5]);
  });

  test("a failure in a chain is the outcome of all later steps, so that get() on the last throws at once", async () => {
    const result = await chain(boom.s(1), add.s(1), group(add.s(1), add.s(2)), sum.s(), add.s(1)).delay();
    await t.drain();
    for (let step: AsyncResult | GroupResult | null = result; step !== null; step = step.parent) {
      if (step instanceof AsyncResult) expect(await step.state()).toBe("FAILURE");
    }
    await expect(result.get({ timeout: 0 })).rejects.toThrow("boom 1");
  });

  test("a result is no data", async () => {
    expect(() =>
      JSON.stringify(new GroupResult(undefined, "g", { length: 0, at: () => new AsyncResult(app.engine.reader, "") })),
    ).toThrow(/save\(\)/);
  });
});

test("a chain may be made step by step, from either end, and of a group", async () => {
  const makers: readonly ((chained: Step) => Step)[] = [
    (chained) => chain(chained, list.s()),
    (chained) => chain(list.s(), chained),
    (chained) => chained.pipe(list.s() as never),
  ];
  for (const first of [list.s(1), group([list.s(1)])] as readonly Step[])
    for (const further of makers) {
      const took = await quickest(1000, () =>
        computing(() => {
          let chained = first;
          for (let step = 0; step < 4000; step++) chained = further(chained);
        }),
      );
      expect(took).toBeLessThan(1000);
    }
});

describe("bad input is refused with a clear error", () => {
  test("a canvas that contains itself", () => {
    const tasks: unknown[] = [add.s(1, 1).toJSON()];
    const self = { ...chain(add.s(1, 1)).toJSON(), kwargs: { tasks } };
    tasks.push(self);
    expect(() => app.signature(self)).toThrow(/contains itself/);
  });

  const deep = {
    groups: (step: Step) => group([step, list.s(1)]) as unknown as Step,
    headers: (step: Step) => chord([step], list.s()),
    bodies: (step: Step) => chord([list.s(1)], step),
    "groups in chains": (step: Step) => chain(group([step, list.s(1)]), list.s()),
  };
  const nested = (levels: number, around: (step: Step) => Step): Step => {
    let step: Step = list.s(1);
    for (let level = 0; level < levels; level++) step = around(step);
    return step;
  };

  test.each(Object.entries(deep))("thousands of %s within each other", async (_, around) => {
    const canvas = nested(5000, around);
    const told = /more than 500 levels deep/;
    await expect(canvas.delay()).rejects.toThrow(told);
    await expect(canvas.apply()).rejects.toThrow(told);
    for (const change of [
      () => canvas.stamp({ from: "here" }),
      () => canvas.linkError(tell.s()),
      () => canvas.pipe(list.s() as never),
      () => app.signature(canvas.toJSON()),
    ])
      try {
        change();
      } catch (error) {
        expect(String(error)).toMatch(told);
      }
    expect(await t.drain()).toEqual([]);
  });

  test("as many as may be within each other are sent", async () => {
    for (const around of [deep.groups, deep.headers]) await nested(200, around).delay();
    await t.drain();
  });

  test("a chord without a body, also as a member of a group", () => {
    const bodiless = {
      task: "celery.chord",
      args: [],
      kwargs: { header: [] },
      options: {},
      subtask_type: "chord",
      immutable: false,
    };
    expect(() => app.signature(bodiless)).toThrow(/has no body/);
    expect(() => app.signature({ ...group(add.s(1, 1)).toJSON(), kwargs: { tasks: [bodiless] } })).toThrow(
      /has no body/,
    );
    // @ts-expect-error: nor does it compile
    expect(() => chord([add.s(1, 1)])).toThrow(/app\.signature/);
  });

  test("what names no task", () => {
    expect(() => app.signature({ ...add.s().toJSON(), task: undefined } as never)).toThrow(/names a task/);
    expect(() => app.signature({ ...group(add.s(1, 1)).toJSON(), kwargs: { tasks: [{}] } })).toThrow(/names a task/);
    expect(() => app.signature({ ...group(add.s(1, 1)).toJSON(), kwargs: {} })).toThrow(/list of signatures/);
    expect(() => chain()).toThrow(/needs a step/);
    // @ts-expect-error: nor does it compile
    expect(() => group(add)).toThrow(/task\.s/);
  });

  test("a size of chunks that is none", () => {
    for (const size of [0, -1, 1.5, Number.NaN]) expect(() => add.chunks([[1, 2]], size)).toThrow(/size of 1 or more/);
  });

  test("a link to a group", async () => {
    expect(() => group(add.s(1, 1)).link(tell.s())).toThrow(/use a chord/);
    await expect(group(add.s(1, 1)).applyAsync([], { link: tell.s() })).rejects.toThrow(/use a chord/);
  });

  test("a chain of 10,000 steps that no message holds, compressed or not", async () => {
    const steps = Array.from({ length: 10_000 }, () => list.si(noise(300)));
    const error = await chain(...(steps as never[]))
      .applyAsync()
      .catch((thrown: Error) => thrown.name);
    expect(error).toBe("PayloadTooLarge");
  });
});
