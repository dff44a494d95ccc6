/** Any number of calls, as they come. */
import { chain, currentTask, EncodeError, group, Lovage, SendInterrupted, type Signature } from "lovage";
import type { TestApp } from "lovage/testing";
import { beforeEach, describe, expect, test } from "vitest";
import { OperationalError } from "../../src/errors.ts";
import { inMemory, everywhere } from "./stores.ts";

const makeApp = () => {
  const app = new Lovage("many");
  const add = app.task("add", (x: number, y: number) => x + y);
  const log = app.task("log", (text: string) => text.length);
  return { app, add, log };
};
const numbers = function* (count: number, from = 0) {
  for (let n = from; n < from + count; n++) yield n;
};

describe.each(everywhere)("on %s", (_, start) => {
  test("calls of a list and of a generator, sync and async, are all sent", async () => {
    const { app, add } = makeApp();
    const t = start(app);
    const slow = async function* () {
      yield add.s(1, 1);
      yield chain(add.s(1, 1), add.s(1));
      yield group(add.s(1, 1), add.s(2, 2)).set({ taskId: "three" });
    };
    expect(await app.sendMany([])).toEqual({ sent: 0, failed: 0 });
    expect(await app.sendMany([add.s(1, 2).set({ taskId: "one", countdown: 1 })])).toEqual({ sent: 1, failed: 0 });
    const results: number[] = [];
    const sent = await app.sendMany(
      numbers(450).map((n) => add.s(n, 1)),
      { onSent: (result, index) => void results.push(index, Number(result.id.length > 0)) },
    );
    expect(sent).toEqual({ sent: 450, failed: 0 });
    expect(results).toEqual([...numbers(450)].flatMap((index) => [index, 1]));
    const held: unknown[] = [];
    await app.sendMany(slow(), { onSent: (result) => void held.push(result.get()) });
    await t.advance(1000);
    await t.drain();
    expect(await app.result("one").get({ timeout: 0 })).toBe(3);
    expect(await Promise.all(held)).toEqual([2, 3, [2, 4]]);
  });
});

describe("the pace", () => {
  /** What the broker is asked, and answers when it is told to. */
  const paced = (app: Lovage) => {
    const asked: number[] = [];
    let go: (() => void)[] = [];
    const t = inMemory(app, {
      broker: (broker) => ({
        ...broker,
        async send(entries) {
          asked.push(entries.length);
          await new Promise<void>((resolve) => go.push(resolve));
          return entries.map(() => undefined);
        },
      }),
    });
    const answer = async () => {
      const now = go;
      go = [];
      for (const resolve of now) resolve();
      await new Promise((resolve) => setTimeout(resolve, 2));
    };
    return { t, asked, answer };
  };
  const soon = () => new Promise((resolve) => setTimeout(resolve, 5));

  test("no more is taken than is under way, and calls share requests by the hundred", async () => {
    const { app, add } = makeApp();
    const { asked, answer } = paced(app);
    let taken = 0;
    const sending = app.sendMany(
      numbers(1000).map((n) => {
        taken++;
        return add.s(n, 1);
      }),
    );
    await soon();
    expect(taken).toBe(400);
    expect(asked.reduce((a, b) => a + b)).toBe(400);
    expect(asked.length).toBeLessThanOrEqual(4);
    for (let round = 0; round < 12; round++) await answer();
    expect(await sending).toEqual({ sent: 1000, failed: 0 });
    expect(asked.reduce((a, b) => a + b)).toBe(1000);
  });

  test("a call of a slow source does not wait for the next one", async () => {
    const { app, add } = makeApp();
    const { asked, answer } = paced(app);
    const { promise: more, resolve: next } = Promise.withResolvers<void>();
    const source = async function* () {
      yield add.s(1, 1);
      yield add.s(2, 1);
      await more;
      yield add.s(3, 1);
    };
    const sending = app.sendMany(source());
    await soon();
    expect(asked).toEqual([2]);
    next();
    for (let round = 0; round < 4; round++) await answer();
    expect(await sending).toEqual({ sent: 3, failed: 0 });
  });

  test("who is slow to hear of what was sent slows the sending down", async () => {
    const { app, add } = makeApp();
    inMemory(app);
    let open = 0;
    let most = 0;
    await app.sendMany(
      numbers(2000).map((n) => add.s(n, 1)),
      {
        async onSent() {
          most = Math.max(most, ++open);
          await new Promise((resolve) => setImmediate(resolve));
          open--;
        },
      },
    );
    expect(most).toBeLessThanOrEqual(400);
  });
});

describe("a call that cannot be sent", () => {
  let app: Lovage;
  let t: TestApp;
  let log: ReturnType<typeof makeApp>["log"];
  let ran: number[];
  /** It cannot be written as JSON. */
  const BAD: unknown = () => {};
  beforeEach(() => {
    ({ app, log } = makeApp());
    ran = [];
    app.on("taskPrerun", ({ args }) => void ran.push(Number((args as string[])[0])));
    t = inMemory(app);
  });
  /** Calls of which one cannot be sent. */
  const calls = (count: number, bad: number) =>
    numbers(count).map((n) => log.s(n === bad ? (BAD as string) : String(n)));

  test("ends the sending: each call that was taken is sent, or named, and no other was asked for", async () => {
    let taken = 0;
    const source = calls(1000, 42).map((call) => {
      taken++;
      return call;
    });
    const error = await app.sendMany(source).catch((thrown: unknown) => thrown as SendInterrupted);
    if (!(error instanceof SendInterrupted)) throw new Error("it was not interrupted");
    expect(error.cause).toBeInstanceOf(EncodeError);
    expect(error.message).toMatch(/^sending stopped after \d+ calls, of which \d+ are sent: EncodeError/);
    expect(error.failed).toMatchObject([{ index: 42, error: { name: "EncodeError" } }]);
    expect([error.taken, error.sent]).toEqual([taken, taken - 1]);
    expect(taken).toBeLessThanOrEqual(500);
    await t.drain();
    expect(ran.sort((a, b) => a - b)).toEqual([...numbers(taken)].filter((n) => n !== 42));
  });

  test("is told to onFailed, and the others go on", async () => {
    const failures: unknown[] = [];
    const sent = await app.sendMany(calls(1000, 42), {
      onFailed: ({ index, error }) => void failures.push([index, (error as Error).name]),
    });
    expect(sent).toEqual({ sent: 999, failed: 1 });
    expect(failures).toEqual([[42, "EncodeError"]]);
    await t.drain();
    expect(ran).toHaveLength(999);
  });

  test("comes back under the id it was sent with: where it did arrive, the second is a duplicate", async () => {
    let lost = true;
    await t.close();
    t = inMemory(app, {
      broker: (broker) => ({
        ...broker,
        async send(entries) {
          const settled = await broker.send(entries);
          return lost ? settled.map(() => new OperationalError("the reply was lost", { retryable: false })) : settled;
        },
      }),
    });
    const error: unknown = await app.sendMany(calls(3, -1)).catch((thrown: unknown) => thrown);
    const { sent, failed } = error as SendInterrupted;
    expect([sent, failed.length]).toEqual([0, 3]);
    lost = false;
    expect(await app.sendMany(failed.map(({ call }) => call as Signature))).toEqual({ sent: 3, failed: 0 });
    await t.drain();
    expect(ran.sort()).toEqual([0, 1, 2]);
  });

  test("may be the source's fault: what it gave before is sent", async () => {
    const source = function* () {
      yield* calls(150, -1);
      throw new Error("no more");
    };
    await expect(app.sendMany(source())).rejects.toMatchObject({
      name: "SendInterrupted",
      cause: new Error("no more"),
      taken: 150,
      sent: 150,
      failed: [],
    });
    await t.drain();
    expect(ran).toHaveLength(150);
  });

  test("and what onSent throws ends it too, when what is under way has been sent", async () => {
    const failing = app.sendMany(calls(1000, -1), {
      onSent(_, index) {
        if (index === 5) throw new Error("enough");
      },
    });
    const error = (await failing.catch((thrown: unknown) => thrown)) as SendInterrupted;
    expect(error.cause).toEqual(new Error("enough"));
    expect([error.failed, error.sent]).toEqual([[], error.taken]);
    expect(error.taken).toBeLessThanOrEqual(500);
  });
});

test("what is no signature, no list of them and no option is refused", async () => {
  const { app, add } = makeApp();
  inMemory(app);
  const send = (calls: unknown, options?: unknown) => app.sendMany(calls as never[], options as never);
  await expect(send(add.s(1, 2))).rejects.toThrow(/needs a list or a generator of signatures/);
  await expect(send(undefined)).rejects.toThrow(/needs a list or a generator of signatures/);
  await expect(send([add.s(1, 2)], { onError() {} })).rejects.toThrow(/onError: is not known/);
  await expect(send([add.s(1, 2)], { onSent: 1 })).rejects.toThrow(/onSent: must be a function/);
  await expect(send([["add", [1, 2]]])).rejects.toMatchObject({
    name: "SendInterrupted",
    failed: [{ index: 0, error: { message: expect.stringContaining("takes signatures, such as add.s(1, 2)") } }],
  });
});

test("within a task the run answers for them, and they are none of its children", async () => {
  const { app, add } = makeApp();
  const parents: unknown[] = [];
  app.task("child", () => void parents.push(currentTask()?.request.parentId));
  const all = app.task("all", () => {
    void app.sendMany([app.signature("child"), app.signature("child")]);
  });
  const t = inMemory(app);
  const result = await all.delay();
  await t.drain();
  expect(parents).toEqual([result.id, result.id]);
  expect(await result.children()).toEqual([]);
  expect(add.name).toBe("add");
});

test("with taskAlwaysEager they run here", async () => {
  const app = new Lovage("eager", { taskAlwaysEager: true });
  const neg = app.task("neg", (x: number) => -x);
  const values: number[] = [];
  await app.sendMany([neg.s(1), neg.s(2)], { onSent: async (result) => void values.push(await result.get()) });
  expect(values.sort()).toEqual([-1, -2]);
});
