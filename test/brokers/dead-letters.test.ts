import { Lovage, Reject } from "lovage";
import { describe, expect, test } from "vitest";
import {
  discard,
  readDeadLetter,
  redrive,
  takeDeadLetters,
  type DeadLetter,
  type DeadLetterFilter,
} from "../../src/brokers/dead-letters.ts";
import type { Broker, Delivery } from "../../src/brokers/broker.ts";
import { envelope } from "../flow/envelopes.ts";
import { inMemory, stores } from "../flow/stores.ts";

async function collect(broker: Broker, filter: DeadLetterFilter = {}, queue = "celery"): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = [];
  for await (const letter of takeDeadLetters(broker, queue, filter, { wait: 0 })) letters.push(letter);
  return letters;
}

describe.each(stores)("on %s", (_, start) => {
  /** An app whose task refuses its message until it is mended. */
  function makeApp() {
    const app = new Lovage("tasks", { taskQueues: { celery: {}, "orders.fifo": {} } });
    const ran: unknown[] = [];
    const state = { broken: true };
    const refuse = app.task("tasks.refuse", (n: number) => {
      if (state.broken) throw new Reject(`no room for ${n}`);
      ran.push(n);
      return n;
    });
    const other = app.task("media.refuse", (_n: number) => {
      throw new Reject("timeout");
    });
    return { app, refuse, other, ran, state, t: start(app) };
  }
  const redriveAll = async (broker: Broker, now: number, more: object = {}) => {
    for await (const letter of takeDeadLetters(broker, "celery", {}, { wait: 0 }))
      await redrive(broker, letter, { now, ...more });
  };

  test("a letter that fills a message is sent back too, and runs", async () => {
    const { app, state, ran, t } = makeApp();
    const body = (text: string) => envelope({ task: "tasks.refuse", id: "full", args: [1, text] });
    const full = body("x".repeat(2 ** 20 - body("").length));
    expect(full).toHaveLength(2 ** 20);
    await t.put(full);
    await t.drain();
    state.broken = false;
    await redriveAll(await app.engine.broker(), t.clock.now());
    // It is due at once. To move the clock would not wait for as long as a busy machine takes to unpack it.
    await t.drain();
    expect([ran, await app.result("full").state()]).toEqual([[1], "SUCCESS"]);
  });

  test("one that no worker can read is sent back as it is", async () => {
    const { app, t } = makeApp();
    const full = "x".repeat(2 ** 20);
    await t.put(full);
    await t.drain();
    await redriveAll(await app.engine.broker(), t.clock.now());
    const broker = await app.engine.broker();
    expect(await broker.receive("celery", { max: 1, wait: 0 })).toMatchObject([{ body: full }]);
  });

  test("letters are found by task, reason, time and id, each once, and are there again afterwards", async () => {
    const { app, refuse, other, t } = makeApp();
    for (let n = 0; n < 120; n++) await refuse.applyAsync([n], { taskId: `id-${n}` });
    await t.drain();
    await t.advance({ minutes: 10 });
    const since = t.clock.now();
    await other.applyAsync([1], { taskId: "media" });
    await t.drain();
    const broker = await app.engine.broker();
    expect(await collect(broker)).toHaveLength(121);
    const ids = async (filter: DeadLetterFilter) => (await collect(broker, filter)).map(({ id }) => id);
    expect(await ids({ task: ["tasks.nobody", "media.*"] })).toEqual(["media"]);
    expect(await ids({ task: ["media"] })).toEqual([]);
    expect(await ids({ error: "TIME" })).toEqual(["media"]);
    expect(await ids({ from: since })).toEqual(["media"]);
    expect(await ids({ to: since })).toHaveLength(120);
    expect(await ids({ id: ["id-7", "id-8"] })).toEqual(["id-7", "id-8"]);
    const [letter] = await collect(broker, { id: ["id-7"] });
    expect(letter).toMatchObject({
      queue: "celery",
      task: "tasks.refuse",
      error: "Reject",
      reason: "no room for 7",
      deliveries: 1,
    });
    expect(letter?.deadAt).toEqual(letter?.sentAt);
    expect(await broker.size("celery-dlq")).toEqual({ ready: 121, delayed: 0, inFlight: 0 });
  });

  test("a letter that is sent back runs, and its row has the new outcome", async () => {
    const { app, refuse, ran, state, t } = makeApp();
    const result = await refuse.applyAsync([5]);
    await t.drain();
    expect(await result.state()).toBe("FAILURE");
    state.broken = false;
    const broker = await app.engine.broker();
    await redriveAll(broker, t.clock.now());
    await t.drain();
    expect([ran, await app.result(result.id).get(), await broker.size("celery-dlq")]).toEqual([
      [5],
      5,
      { ready: 0, delayed: 0, inFlight: 0 },
    ]);
  });

  test("it may be sent back with other arguments, and as often as it comes", async () => {
    const { app, refuse, ran, state, t } = makeApp();
    const result = await refuse.applyAsync([5]);
    await t.drain();
    const broker = await app.engine.broker();
    await redriveAll(broker, t.clock.now());
    await t.drain();
    expect(await collect(broker)).toMatchObject([{ reason: "no room for 5" }]);
    state.broken = false;
    t.clock.moveTo(t.clock.now() + 1);
    await redriveAll(broker, t.clock.now(), { args: [6] });
    await t.drain();
    expect([ran, await app.result(result.id).get()]).toEqual([[6], 6]);
  });

  test.each(["before it is sent", "after it is sent", "after it is deleted"])(
    "interrupted %s, nothing is lost and nothing runs twice",
    async (where) => {
      const { app, refuse, ran, state, t } = makeApp();
      for (const n of [1, 2, 3]) await refuse.applyAsync([n], { taskId: `id-${n}` });
      await t.drain();
      state.broken = false;
      const broker = await app.engine.broker();
      const stop = () => Promise.reject(new Error("interrupted"));
      const interrupted: Broker = {
        ...broker,
        send: (entries) => (where === "before it is sent" ? stop() : broker.send(entries)),
        delete: async (deliveries) => {
          if (where === "after it is deleted") await broker.delete(deliveries);
          return stop();
        },
        // Who was killed hands nothing back.
        changeVisibility: async (entries) => entries.map(() => undefined),
      };
      await expect(redriveAll(interrupted, t.clock.now())).rejects.toThrow("interrupted");
      await t.advance({ minutes: 2 });
      await redriveAll(broker, t.clock.now());
      await t.advance({ minutes: 2 });
      expect(ran.toSorted()).toEqual([1, 2, 3]);
      for (const n of [1, 2, 3]) expect(await app.result(`id-${n}`).get()).toBe(n);
      expect(await collect(broker)).toEqual([]);
    },
  );

  test("a letter of a FIFO queue is sent back under a deduplication id of its own", async () => {
    const { app, refuse, ran, state, t } = makeApp();
    await refuse.applyAsync([1], { queue: "orders.fifo", MessageGroupId: "g", MessageDeduplicationId: "d" });
    await t.drain();
    state.broken = false;
    const broker = await app.engine.broker();
    for (const letter of await collect(broker, {}, "orders.fifo"))
      await redrive(broker, letter, { now: t.clock.now() });
    await t.advance({ minutes: 2 });
    expect(ran).toEqual([1]);
  });

  test("a letter that is discarded is gone, and the others stay", async () => {
    const { app, refuse, t } = makeApp();
    for (const n of [1, 2]) await refuse.applyAsync([n], { taskId: `id-${n}` });
    await t.drain();
    const broker = await app.engine.broker();
    for await (const letter of takeDeadLetters(broker, "celery", { id: ["id-1"] }, { wait: 0 }))
      await discard(broker, letter);
    expect((await collect(broker)).map(({ id }) => id)).toEqual(["id-2"]);
  });

  test("a queue that never had dead letters has none", async () => {
    expect(await collect(await makeApp().app.engine.broker(), {}, "nowhere")).toEqual([]);
  });
});

test("what somebody else put there is told by its body", () => {
  const delivery = {
    queue: "celery-dlq",
    body: '{"headers": {"id": "i", "task": "t"}',
    messageId: "1",
    receipt: "",
    receiveCount: 1,
    sentAt: 5,
    attributes: {},
  };
  expect(readDeadLetter(delivery, "celery")).toMatchObject({
    id: "i",
    task: "t",
    reason: undefined,
    sentAt: new Date(5),
  });
});

describe("what EventBridge Scheduler kept and could not send", () => {
  const wrapped = (body: string, attributes: Record<string, string> = {}): Delivery => ({
    queue: "celery-dlq",
    body,
    messageId: "m",
    receipt: "r",
    receiveCount: 1,
    sentAt: 0,
    attributes: {
      SCHEDULE_ARN: "arn:aws:scheduler:eu-west-1:123456789012:schedule/shop/x",
      ERROR_CODE: "AWS.SimpleQueueService.NonExistentQueue",
      ERROR_MESSAGE: "The specified queue does not exist.",
      ...attributes,
    },
  });
  const message = envelope({ task: "tasks.refuse", id: "late", args: [1] });

  test("is read as the message that it was, with the reason", () => {
    const letter = readDeadLetter(wrapped(JSON.stringify({ MessageBody: message, QueueUrl: "https://…" })), "celery");
    expect(letter).toMatchObject({
      task: "tasks.refuse",
      id: "late",
      error: "AWS.SimpleQueueService.NonExistentQueue",
      reason: "EventBridge Scheduler could not send it: The specified queue does not exist.",
      delivery: { body: message },
    });
  });

  test.each([message, "not JSON", "null"])("is left as it is where it is no request: %s", (body) => {
    expect(readDeadLetter(wrapped(body), "celery").delivery.body).toBe(body);
  });

  test("goes back to its queue without the request around it", async () => {
    const app = new Lovage("tasks");
    app.task("tasks.refuse", (n: number) => n);
    const t = inMemory(app);
    const broker = await app.engine.broker();
    const { attributes, body } = wrapped(JSON.stringify({ MessageBody: message, QueueUrl: "https://…" }));
    await broker.send([{ queue: "celery-dlq", body, attributes }]);
    for await (const letter of takeDeadLetters(broker, "celery", {}, { wait: 0 }))
      await redrive(broker, letter, { now: t.clock.now() });
    expect(await t.drain()).toMatchObject([{ id: "late", state: "SUCCESS", result: 1 }]);
    expect(await t.deadLetters()).toEqual([]);
  });
});
