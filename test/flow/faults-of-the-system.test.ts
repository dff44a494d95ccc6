/** A failed system is not an outcome: what is sent after a task, and what waits for it, comes when the system is back. */
import {
  type AsyncResult,
  chain,
  chord,
  group,
  Lovage,
  OperationalError,
  PayloadTooLarge,
  QueueNotFound,
} from "lovage";
import type { Broker } from "../../src/brokers/broker.ts";
import { describe, expect, test } from "vitest";
import { everywhere, stores } from "./stores.ts";

function makeApp(config: ConstructorParameters<typeof Lovage>[1] = {}) {
  const app = new Lovage("tasks", config);
  const one = app.task("tasks.one", () => 1);
  const next = app.task("tasks.next", (x: number) => x + 1);
  const flaky = app.task("tasks.flaky", { bind: true }, (self) =>
    self.request.retries === 0 ? self.retry({ countdown: 1 }) : "done",
  );
  return { app, one, next, flaky };
}

/** A broker that refuses whatever is sent, with this error, until it is told to stop. */
function refusing(error: Error) {
  const state = { down: false };
  const wrap = (broker: Broker): Broker => ({
    ...broker,
    send: (entries) => (state.down ? Promise.resolve(entries.map(() => error)) : broker.send(entries)),
  });
  return { state, wrap };
}

describe.each(everywhere)("on %s", (_, start) => {
  test.each<[what: string, error: Error]>([
    ["a right that is missing for a minute", new OperationalError("access was denied", { retryable: true })],
    ["what nobody foresaw", new TypeError("x is not a function")],
  ])("%s loses neither a retry, nor a step, nor a chord's body", async (__, error) => {
    const { app, one, next, flaky } = makeApp();
    const size = app.task("tasks.size", (xs: number[]) => xs.length);
    const { state, wrap } = refusing(error);
    const t = start(app, { broker: wrap });
    const results: readonly AsyncResult<unknown>[] = [
      await flaky.delay(),
      await one.s().pipe(next.s()).delay(),
      await chord([one.s(), one.s()], size.s()).delay(),
    ];
    state.down = true;
    await t.advance({ seconds: 5 });
    const states = await Promise.all(results.map((result) => result.state()));
    expect(states).toEqual(["RETRY", "PENDING", "PENDING"]);
    state.down = false;
    await t.advance({ hours: 1 });
    expect(await Promise.all(results.map((result) => result.get({ timeout: 0 })))).toEqual(["done", 2, 2]);
  });

  test.each<[what: string, error: Error]>([
    ["too large", new PayloadTooLarge("the message", 2, 1)],
    ["for a queue that there is not", new QueueNotFound("nowhere", [])],
    ["refused by the service", new OperationalError("an invalid character", { retryable: false })],
  ])("what is %s has failed, and who waits is told", async (__, error) => {
    const { app, one, next, flaky } = makeApp();
    const { state, wrap } = refusing(error);
    const t = start(app, { broker: wrap });
    const results = [await flaky.delay(), await one.s().pipe(next.s()).delay()];
    state.down = true;
    await t.advance({ hours: 1 });
    expect(await Promise.all(results.map((result) => result.state()))).toEqual(["FAILURE", "FAILURE"]);
  });

  test("a retry that leaves a FIFO queue leaves the id behind by which that queue drops copies", async () => {
    const app = new Lovage("tasks", { taskQueues: { celery: {}, "orders.fifo": {} } });
    const ran: string[] = [];
    const order = app.task("tasks.order", { bind: true, maxRetries: 5 }, (self) => {
      const { retries, queue } = self.request;
      ran.push(`${retries} on ${queue}`);
      if (retries === 0) self.retry({ queue: "celery", countdown: 0 });
      return retries < 3 ? self.retry({ countdown: 10 }) : "done";
    });
    const t = start(app);
    const options = { queue: "orders.fifo", MessageGroupId: "g", MessageDeduplicationId: "order-1" };
    const result = await order.applyAsync([], options);
    await t.advance({ hours: 2 });
    expect(ran).toEqual(["0 on orders.fifo", "1 on celery", "2 on celery", "3 on celery"]);
    expect(await result.get({ timeout: 0 })).toBe("done");
  });

  test("of a chord that will not run any more each task of its header ends too", async () => {
    const { app, one, next } = makeApp();
    const fail = app.task("tasks.fail", (): number => {
      throw new RangeError("no");
    });
    const t = start(app);
    const ids = ["b", "c", "d"];
    const [b, c] = [one.si().set({ taskId: "b" }), one.si().set({ taskId: "c" })];
    const line = chain(fail.si(), group([b, c]), next.si(1).set({ taskId: "d" }));
    const result = await line.delay();
    await t.drain();
    expect(result.id).toBe("d");
    expect(await Promise.all(ids.map((id) => app.result(id).state()))).toEqual(["FAILURE", "FAILURE", "FAILURE"]);
  });
});

describe.each(stores)("on %s", (_, start) => {
  test.each(["a step of its chain", "a step of a chain in a chord"])(
    "a worker that dies before it sends %s that was revoked leaves nobody waiting",
    async (what) => {
      const { app, one, next } = makeApp();
      const told: string[] = [];
      const tell = app.task("tasks.tell", (id: string) => void told.push(id));
      let dies = true;
      const t = start(app, {
        config: { resultExpires: 864_000 },
        broker: (broker) => ({
          ...broker,
          send: (entries) =>
            dies && entries.some(({ body }) => body.includes('"b"'))
              ? new Promise<never>(() => {})
              : broker.send(entries),
        }),
      });
      const line = chain(one.s().set({ taskId: "a" }), next.s().set({ taskId: "b" }), next.s().set({ taskId: "c" }));
      await app.result("b").revoke();
      dies = false;
      const size = app.task("tasks.size", (xs: number[]) => xs.length);
      if (what.endsWith("chord"))
        await chord([line, one.s()], size.s().set({ taskId: "body" }).linkError(tell.s())).delay();
      else await line.delay();
      dies = true;
      await t.advance({ seconds: 5 });
      t.crash();
      dies = false;
      await t.advance({ hours: 48 });
      expect(await app.result("a").state()).toBe("SUCCESS");
      expect(await Promise.all(["b", "c"].map((id) => app.result(id).state()))).toEqual(["REVOKED", "REVOKED"]);
      if (!what.endsWith("chord")) return;
      expect([await app.result("body").state(), told]).toEqual(["FAILURE", ["body"]]);
    },
  );
});

describe.each(stores)("on %s", (_, start) => {
  test("an outcome that a store refuses for good is a failure that says so", async () => {
    const app = new Lovage("tasks");
    const add = app.task("add", (x: number, y: number) => x + y);
    const t = start(app);
    const backend = await app.engine.backend();
    const { apply } = backend;
    backend.apply = async (commands) =>
      (
        await Promise.all(
          commands.map((command) =>
            command.type === "final" && String(command.result).includes("SUCCESS")
              ? [new OperationalError("the value cannot be written", { retryable: false })]
              : apply([command]),
          ),
        )
      ).flat();
    const result = await add.delay(1, 2);
    await t.advance({ hours: 1 });
    expect(await result.state()).toBe("FAILURE");
    expect(await result.result()).toMatchObject({ name: "OperationalError" });
  });

  test.each([
    ["the claim's", "claim"],
    ["the outcome's", "final"],
  ])("%s answer is lost and the claim cannot be given up for minutes: nobody is counted dead", async (__, lost) => {
    const { app } = makeApp({ maxDeliveries: 1 });
    let runs = 0;
    const task = app.task("tasks.task", () => ++runs);
    let end = Number.POSITIVE_INFINITY;
    const gone = new OperationalError("no answer in time", { retryable: true });
    const t = start(app);
    const backend = await app.engine.backend();
    const { apply } = backend;
    backend.apply = async (commands, unit) => {
      const now = app.engine.clock.now();
      if (now < end && commands.some(({ type }) => type === "release")) return commands.map(() => gone);
      const outcomes = await apply(commands, unit);
      return outcomes.map((outcome, at) => {
        if (commands[at]?.type !== lost || end !== Number.POSITIVE_INFINITY) return outcome;
        end = now + 240_000;
        return gone;
      });
    };
    const result = await task.delay();
    await t.advance({ hours: 1 });
    expect([await result.get({ timeout: 0 }), runs]).toEqual([1, 1]);
    expect(t.log.filter(({ line }) => /died/.test(line))).toEqual([]);
  });

  test("where an outcome cannot be stored, the task is read to wait until it runs again", async () => {
    const { app } = makeApp();
    let runs = 0;
    const task = app.task("tasks.task", () => ++runs);
    const t = start(app);
    const backend = await app.engine.backend();
    const { apply } = backend;
    const result = await task.delay();
    // Longer than it is tried to store it.
    const end = app.engine.clock.now() + 35_000;
    backend.apply = async (commands, unit) =>
      app.engine.clock.now() < end && commands.some(({ type }) => type === "final")
        ? commands.map(() => new OperationalError("throttled", { retryable: true }))
        : apply(commands, unit);
    const states: string[] = [];
    while (states.at(-1) !== "SUCCESS" && states.length < 1_000) {
      await t.advance(500);
      const state = await result.state();
      if (states.at(-1) !== state) states.push(state);
    }
    expect(states).toEqual(["STARTED", "PENDING", "SUCCESS"]);
    expect(runs).toBe(2);
  });

  test("hooks run once, also where what follows could not be sent at first", async () => {
    const app = new Lovage("tasks");
    const ran: string[] = [];
    const next = app.task("next", () => void ran.push("next"));
    const one = app.task("one", { onSuccess: () => void ran.push("onSuccess") }, () => void ran.push("one"));
    let failing = 2;
    const t = start(app, {
      config: { taskPublishRetry: false },
      broker: (broker) => ({
        ...broker,
        send: async (entries) =>
          entries.some(({ body }) => body.includes('"task":"next"') || body.includes('"task": "next"')) &&
          ran.length > 0 &&
          failing-- > 0
            ? entries.map(() => new TypeError("nobody knows"))
            : broker.send(entries),
      }),
    });
    await one.applyAsync([], { link: next.si() });
    await t.advance({ hours: 1 });
    expect(ran).toEqual(["one", "onSuccess", "next"]);
    expect(failing).toBeLessThanOrEqual(0);
  });
});
