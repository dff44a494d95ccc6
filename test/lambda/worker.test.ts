import type { SQSHandler } from "aws-lambda";
import { type BatchCall, Lovage, Reject, type MetricsChoice } from "lovage";
import {
  createBoardHandler,
  createWorkerHandler,
  type HttpEvent,
  type LambdaContext,
  type SqsEvent,
  type SqsRecord,
} from "lovage/lambda";
import { expect, test } from "vitest";
import type { Delivery } from "../../src/brokers/broker.ts";
import { ImproperlyConfigured, OperationalError } from "../../src/errors.ts";
import { taskKey } from "../../src/results/backend.ts";
import { createWorker } from "../../src/workers/worker.ts";
import { silent } from "../../src/workers/log.ts";
import { testFunction, toRecord } from "./function.ts";

const settle = async () => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
};
const ids = (deliveries: readonly { readonly messageId: string }[]) => deliveries.map(({ messageId }) => messageId);

test("a batch runs, its results are stored, and nothing comes back", async () => {
  const app = new Lovage("shop");
  const add = app.task("shop.add", (x: number, y: number) => x + y);
  const fn = testFunction(app);
  const results = await Promise.all([1, 2, 3].map((x) => add.delay(x, x)));
  expect(await fn.invoke(await fn.receive())).toEqual({ batchItemFailures: [] });
  expect(await Promise.all(results.map((result) => result.get()))).toEqual([2, 4, 6]);
});

test("the handler is what Lambda's types call a handler of SQS events", () => {
  const handler: SQSHandler = createWorkerHandler(new Lovage("shop"));
  expect(handler).toBeTypeOf("function");
});

test("an empty batch opens neither broker nor backend", async () => {
  const app = new Lovage("shop");
  const fn = testFunction(app);
  expect(await fn.handle({ Records: [] })).toEqual({ batchItemFailures: [] });
  expect(app.engine.isOpen).toBe(false);
});

test("of ten records, any set of bad ones is settled one by one, and the others run", async () => {
  const app = new Lovage("shop", { taskQueues: { celery: {} } });
  const add = app.task("shop.add", (x: number) => x + 1);
  app.task("shop.fail", () => {
    throw new RangeError("no");
  });
  app.task("shop.later", () => {
    throw new Reject("not now", { requeue: true });
  });
  const fn = testFunction(app);
  const bad = [
    { put: () => fn.put("no message at all"), comesBack: false },
    { put: () => app.sendTask("shop.later"), comesBack: true },
    { put: () => app.sendTask("shop.fail"), comesBack: false },
    { put: () => fn.put("{".repeat(1024 * 1024)), comesBack: false },
  ] as const;
  for (let set = 0; set < 1024; set += 1) {
    const good = [];
    let back = 0;
    for (let place = 0; place < 10; place++) {
      const kind = bad[(place + set) % bad.length];
      if ((set & (1 << place)) === 0 || kind === undefined) good.push(await add.delay(place));
      else {
        // A record of a megabyte in one set of sixteen: it is the copying that takes time.
        const chosen = kind === bad[3] && set % 16 !== 0 ? bad[0] : kind;
        await chosen.put();
        if (chosen.comesBack) back++;
      }
    }
    const { batchItemFailures } = await fn.invoke(await fn.receive());
    expect(batchItemFailures).toHaveLength(back);
    for (const result of good) expect(await result.state()).toBe("SUCCESS");
    await (await app.engine.broker()).purge("celery");
  }
});

test("what is handed back is hidden for as long as its reason asks, not for the queue's whole visibility", async () => {
  const app = new Lovage("shop", { taskQueues: { celery: {}, "orders.fifo": {} } });
  const fn = testFunction(app);
  await app.sendTask("shop.nobody-knows", [], { queue: "orders.fifo" });
  const deliveries = await fn.receive("orders.fifo");
  const { batchItemFailures } = await fn.invoke(deliveries);
  expect(batchItemFailures).toEqual([{ itemIdentifier: deliveries[0]?.messageId }]);
  expect(await fn.receive("orders.fifo")).toEqual([]);
  const rollout = (await app.engine.broker()).limits.rolloutSeconds * 1000;
  fn.clock.moveTo(fn.clock.now() + rollout);
  expect(await fn.receive("orders.fifo")).toHaveLength(1);
});

test("what could not be hidden comes back all the same, later, and the log says so", async () => {
  const app = new Lovage("shop");
  const add = app.task("shop.add", (x: number) => x + 1);
  const fn = testFunction(app, {
    broker: (broker) => ({
      ...broker,
      changeVisibility: async (entries) => entries.map(() => new OperationalError("throttled", { retryable: true })),
    }),
  });
  app.task("shop.later", () => {
    throw new Reject("not now", { requeue: true });
  });
  await app.sendTask("shop.later");
  const result = await add.delay(1);
  const deliveries = await fn.receive();
  expect(await fn.invoke(deliveries)).toEqual({ batchItemFailures: [{ itemIdentifier: deliveries[0]?.messageId }] });
  expect(await result.get()).toBe(2);
  expect(fn.lines.at(-1)).toMatchObject({ level: "WARN", message: expect.stringContaining("throttled") });
});

test("the groups of a FIFO queue run side by side, each in order and up to its first record that is not done", async () => {
  const app = new Lovage("shop", { taskQueues: { "orders.fifo": {} }, taskDefaultQueue: "orders.fifo" });
  const ran: string[] = [];
  const note = app.task("shop.note", async (what: string) => {
    ran.push(`${what} begins`);
    await settle();
    ran.push(`${what} ends`);
  });
  const fn = testFunction(app);
  const send = (MessageGroupId: string, what: string) => note.applyAsync([what], { MessageGroupId });
  await send("a", "a1");
  await send("b", "b1");
  await app.sendTask("shop.nobody-knows", [], { MessageGroupId: "a" });
  const last = await send("a", "a3");
  await send("b", "b2");
  const deliveries = await fn.receive("orders.fifo");
  expect(deliveries).toHaveLength(5);
  const { batchItemFailures } = await fn.invoke(deliveries);
  const ofA = deliveries.filter(({ groupId }) => groupId === "a");
  expect(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier).sort()).toEqual(ids(ofA.slice(1)).sort());
  expect(ran.filter((line) => line.startsWith("b"))).toEqual(["b1 begins", "b1 ends", "b2 begins", "b2 ends"]);
  expect(ran.filter((line) => line.startsWith("a"))).toEqual(["a1 begins", "a1 ends"]);
  expect(ran.indexOf("b1 begins")).toBeLessThan(ran.indexOf("a1 ends"));
  expect(await last.state()).toBe("PENDING");
});

/** A task that takes a while, and how many of it have run at a time. */
function slowTask(app: Lovage) {
  let running = 0;
  let most = 0;
  const slow = app.task("shop.slow", async () => {
    most = Math.max(most, ++running);
    await settle();
    running--;
  });
  return { slow, most: () => most };
}

test.each([
  [{ workerConcurrency: 2 }, 2],
  [{ workerPool: "solo", workerConcurrency: 2 }, 1],
  [{ workerConcurrency: "auto" }, 6],
] as const)("with %j no more tasks of an invocation run at a time than %d", async (config, expected) => {
  const app = new Lovage("shop", config);
  const { slow, most } = slowTask(app);
  const fn = testFunction(app);
  for (let i = 0; i < 6; i++) await slow.delay();
  await fn.invoke(await fn.receive());
  expect(most()).toBe(expected);
});

test("calls of a batch task run together, and no more of the others for that", async () => {
  const app = new Lovage("shop", { workerConcurrency: 1 });
  const { slow, most } = slowTask(app);
  const sizes: number[] = [];
  const index = app.batchTask("shop.index", { size: 100, wait: 1 }, (calls: readonly BatchCall<[number]>[]) => {
    sizes.push(calls.length);
    return calls.map(({ args: [x] }) => x);
  });
  const fn = testFunction(app);
  const results = [];
  for (let i = 0; i < 4; i++) results.push(await slow.delay(), await index.delay(i));
  const invocation = fn.invoke(await fn.receive());
  await settle();
  expect(most()).toBe(1);
  fn.clock.moveTo(fn.clock.now() + 1_000);
  expect(await invocation).toEqual({ batchItemFailures: [] });
  expect(await Promise.all(results.map((result) => result.state()))).toEqual(Array(8).fill("SUCCESS"));
  expect({ most: most(), sizes }).toEqual({ most: 1, sizes: [4] });
});

test("a batch waits for nobody but the calls that are there, and not for those of them that do not run", async () => {
  const app = new Lovage("shop");
  const sizes: number[] = [];
  const index = app.batchTask("shop.index", { size: 100, wait: 300 }, (calls: readonly BatchCall<[number]>[]) => {
    sizes.push(calls.length);
    return calls.map(({ args: [x] }) => x);
  });
  const other = app.batchTask("shop.other", { size: 100, wait: 300 }, (calls: readonly BatchCall[]) => {
    sizes.push(-calls.length);
    return calls.map(() => null);
  });
  const fn = testFunction(app);
  await index.delay(0);
  // The clock stands still.
  expect(await fn.invoke(await fn.receive())).toEqual({ batchItemFailures: [] });
  expect(sizes).toEqual([1]);
  await (await index.delay(1)).revoke();
  await index.delay(2);
  await index.applyAsync([3], { countdown: 60 });
  await index.delay(4);
  await other.delay();
  expect(await fn.invoke(await fn.receive())).toEqual({ batchItemFailures: [] });
  expect(sizes.toSorted()).toEqual([-1, 1, 2]);
});

test("two invocations of one process gather their calls apart, and each answers for its own", async () => {
  const app = new Lovage("shop");
  const gathered: number[][] = [];
  const index = app.batchTask("shop.index", { size: 100, wait: 300 }, async (calls: readonly BatchCall<[number]>[]) => {
    gathered.push(calls.map(({ args: [n] }) => n));
    if (calls.some(({ args: [n] }) => n === 1)) await new Promise<never>(() => {});
    return calls.map(({ args: [n] }) => n);
  });
  const fn = testFunction(app);
  const stuck = await index.delay(1);
  const first = await fn.receive();
  const results = [await index.delay(2), await index.delay(3)];
  const second = await fn.receive();
  const invocations = [fn.invoke(first, 10_000), fn.invoke(second)];
  expect(await invocations[1]).toEqual({ batchItemFailures: [] });
  expect(await Promise.all(results.map((result) => result.get()))).toEqual([2, 3]);
  expect(gathered).toEqual([[1], [2, 3]]);
  fn.clock.moveTo(fn.clock.now() + 10_000);
  await invocations[0];
  expect(await stuck.result()).toMatchObject({ name: "TimeLimitExceeded" });
});

test("a batch task that a worker died of runs at once, by itself", async () => {
  const app = new Lovage("shop");
  const sizes: number[] = [];
  const index = app.batchTask("shop.index", { size: 100, wait: 300 }, (calls: readonly BatchCall[]) => {
    sizes.push(calls.length);
    return calls.map(() => null);
  });
  const fn = testFunction(app);
  const { id } = await index.delay();
  const now = fn.clock.now();
  const lost = { key: taskKey(id), owner: "lost", now, lease: now - 60_000, attempt: 0, result: "{}", hidden: false };
  await (await app.engine.backend()).apply([{ type: "claim", ...lost, ttl: app.engine.ttl() }]);
  const [delivery] = await fn.receive();
  expect(await fn.invoke([{ ...delivery, receiveCount: 2 } as Delivery])).toEqual({ batchItemFailures: [] });
  expect(sizes).toEqual([1]);
});

test("a run that would outlive its function ends as FAILURE TimeLimitExceeded, and what was not begun is handed back", async () => {
  const app = new Lovage("shop", { workerConcurrency: 1 });
  const forever = app.task("shop.forever", () => new Promise<void>(() => {}));
  const other = app.task("shop.other", () => 1);
  const fn = testFunction(app);
  const stuck = await forever.delay();
  const waiting = await other.delay();
  const deliveries = await fn.receive();
  const invocation = fn.invoke(deliveries, 65_000);
  await settle();
  fn.clock.moveTo(fn.clock.now() + 59_999);
  await settle();
  expect(await stuck.state()).toBe("STARTED");
  fn.clock.moveTo(fn.clock.now() + 1);
  expect(await invocation).toEqual({ batchItemFailures: [{ itemIdentifier: deliveries[1]?.messageId }] });
  expect(await stuck.state()).toBe("FAILURE");
  await expect(stuck.get()).rejects.toThrow("the time limit of 60 s passed");
  expect(await waiting.state()).toBe("PENDING");
  expect(await fn.receive()).toHaveLength(1);
});

test("of two invocations at a time in one process each has its own end, its own leases and its own id in the log", async () => {
  const app = new Lovage("shop", { taskQueues: { celery: {} } });
  const deadlines = new Map<string, number>();
  const gates = new Map<string, () => void>();
  let began = () => {};
  const wait = app.task("shop.wait", { bind: true }, async (self, name: string) => {
    began();
    await new Promise<void>((resolve) => gates.set(name, resolve));
    deadlines.set(name, self.remaining());
    self.log.info(name);
  });
  const written: Readonly<Record<string, unknown>>[] = [];
  const t = testFunction(app);
  const handler = createWorkerHandler(app, { write: (line) => written.push(JSON.parse(line)) });
  const invoke = async (awsRequestId: string, remaining: number) => {
    const { id } = await wait.delay(awsRequestId);
    const event = { Records: (await t.receive()).map(toRecord) };
    const beginning = new Promise<void>((resolve) => (began = resolve));
    const answer = handler(event, { awsRequestId, getRemainingTimeInMillis: () => remaining });
    await beginning;
    return { answer, id };
  };
  const long = await invoke("long", 600_000);
  const short = await invoke("short", 60_000);
  const start = t.clock.now();
  const leases = async () => {
    const rows = await (await app.engine.backend()).read([taskKey(long.id), taskKey(short.id)]);
    return rows.map((row) => row?.lease !== undefined && row.lease - start);
  };
  expect(await leases()).toEqual([600_000, 60_000]);
  gates.get("short")?.();
  expect(await short.answer).toEqual({ batchItemFailures: [] });
  // The end of the one is not that of the other.
  t.clock.moveTo(start + 300_000);
  await settle();
  expect((await leases())[0]).toBe(600_000);
  gates.get("long")?.();
  expect(await long.answer).toEqual({ batchItemFailures: [] });
  expect(Object.fromEntries(deadlines)).toEqual({ short: 55, long: 295 });
  const ofLines = written.filter(({ task }) => task === "shop.wait").map(({ id, requestId }) => [id, requestId]);
  expect(new Set(ofLines.map(String))).toEqual(new Set([`${long.id},long`, `${short.id},short`]));
});

test("a task is not begun in less time than it may take, and no death is counted for it", async () => {
  const app = new Lovage("shop", { workerConcurrency: 1, taskTimeLimit: 60 });
  const nap = app.task("shop.nap", (): Promise<void> => app.engine.clock.sleep(10_000));
  const fn = testFunction(app);
  await nap.delay();
  const second = await nap.delay();
  const deliveries = await fn.receive();
  const invocation = fn.invoke(deliveries, 70_000);
  await settle();
  fn.clock.moveTo(fn.clock.now() + 10_000);
  expect(await invocation).toEqual({ batchItemFailures: [{ itemIdentifier: deliveries[1]?.messageId }] });
  const again = await fn.receive();
  expect(ids(again)).toEqual([deliveries[1]?.messageId]);
  const next = fn.invoke(again, 70_000);
  await settle();
  fn.clock.moveTo(fn.clock.now() + 10_000);
  expect(await next).toEqual({ batchItemFailures: [] });
  expect(await second.state()).toBe("SUCCESS");
  const [row] = await (await app.engine.backend()).read([taskKey(second.id)]);
  expect(row?.runs).toBe(1);
});

test("a claim that is slow takes no task's time: what has too little of it left is handed back", async () => {
  const app = new Lovage("shop", { taskTimeLimit: 60 });
  let slow = true;
  const nap = app.task("shop.nap", (): Promise<void> => app.engine.clock.sleep(50_000));
  const fn = testFunction(app);
  const result = await nap.delay();
  const backend = await app.engine.backend();
  const apply = backend.apply.bind(backend);
  Object.assign(backend, {
    async apply(commands: Parameters<typeof apply>[0]) {
      if (slow && commands.some(({ type }) => type === "claim")) await app.engine.clock.sleep(30_000);
      return apply(commands);
    },
  });
  const deliveries = await fn.receive();
  const first = fn.invoke(deliveries, 70_000);
  await settle();
  fn.clock.moveTo(fn.clock.now() + 30_000);
  expect((await first).batchItemFailures).toHaveLength(1);
  expect(await result.state()).toBe("PENDING");
  slow = false;
  const second = fn.invoke(await fn.receive(), 70_000);
  await settle();
  fn.clock.moveTo(fn.clock.now() + 50_000);
  await second;
  expect(await result.state()).toBe("SUCCESS");
});

test("a task that a worker died of runs first and alone, and the rest of its batch is free for others at once", async () => {
  const app = new Lovage("shop");
  const ran: string[] = [];
  const note = app.task("shop.note", async (what: string) => {
    ran.push(`${what} begins`);
    if (what === "suspect") await app.engine.clock.sleep(20_000);
    ran.push(`${what} ends`);
  });
  const fn = testFunction(app);
  await note.delay("suspect");
  const [delivery] = await fn.receive();
  if (delivery === undefined) throw new Error("nothing was received");
  const dying = createWorker(app, { hostname: "celery@gone", log: silent, lease: () => fn.clock.now() + 1000 });
  await dying.admit(delivery);
  fn.clock.moveTo(fn.clock.now() + 400_000);
  await note.delay("one");
  await note.delay("two");
  const deliveries = await fn.receive();
  const invocation = fn.invoke([...deliveries].reverse(), 70_000);
  await settle();
  expect(ran).toEqual(["suspect begins"]);
  // Another invocation has them while this one still runs.
  const rest = await fn.receive();
  expect(ids(rest).sort()).toEqual(ids(deliveries.slice(1)).sort());
  expect(await fn.invoke(rest)).toEqual({ batchItemFailures: [] });
  fn.clock.moveTo(fn.clock.now() + 20_000);
  const { batchItemFailures } = await invocation;
  expect(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier).sort()).toEqual(ids(rest).sort());
  expect(ran).toEqual(["suspect begins", "one begins", "one ends", "two begins", "two ends", "suspect ends"]);
  expect(await fn.receive()).toEqual([]);
});

test("a heartbeat that is under way does not hide the rest of a batch after it was handed back", async () => {
  const app = new Lovage("shop");
  const note = app.task("shop.note", () => {});
  const fn = testFunction(app);
  await note.delay();
  const [delivery] = await fn.receive();
  if (delivery === undefined) throw new Error("nothing was received");
  const dying = createWorker(app, { hostname: "celery@gone", log: silent, lease: () => fn.clock.now() + 1000 });
  await dying.admit(delivery);
  fn.clock.moveTo(fn.clock.now() + 400_000);
  await note.delay();
  const deliveries = await fn.receive();
  const [broker, backend] = await Promise.all([app.engine.broker(), app.engine.backend()]);
  const { changeVisibility } = broker;
  const { apply } = backend;
  const claims = Promise.withResolvers<void>();
  const second = Promise.withResolvers<void>();
  const hides: number[][] = [];
  let asked = 0;
  backend.apply = async (commands, unit) => {
    if (commands.some(({ type }) => type === "claim")) await claims.promise;
    return apply(commands, unit);
  };
  broker.changeVisibility = async (entries) => {
    if (++asked === 2) await second.promise;
    hides.push(entries.map(({ visibility }) => visibility));
    return changeVisibility(entries);
  };
  const invocation = fn.invoke(deliveries, 70_000);
  await settle();
  fn.clock.moveTo(fn.clock.now() + 10_000);
  await settle();
  claims.resolve();
  await settle();
  expect([asked, hides]).toEqual([2, [[50_000, 50_000]]]);
  second.resolve();
  await invocation;
  expect(hides.map(({ length }) => length)).toEqual([2, 2, 1, 1]);
  expect(hides[3]).toEqual([0]);
});

test("what a function dies of while it reads it costs no neighbour a death: all that came before is read before any of it is claimed", async () => {
  const app = new Lovage("shop");
  const note = app.task("shop.note", () => "done");
  const fn = testFunction(app);
  const results = [await note.delay(), await note.delay(), await note.delay()];
  const deliveries = (await fn.receive()).map((delivery) => ({ ...delivery, receiveCount: 2 }));
  const { messageText } = app.engine;
  const poison = deliveries[1]?.body;
  Object.assign(app.engine, {
    messageText: (text: string) =>
      text === poison ? new Promise<never>(() => {}) : messageText.call(app.engine, text),
  });
  void fn.invoke(deliveries);
  await settle();
  const rows = await (await app.engine.backend()).read(results.map(({ id }) => taskKey(id)));
  expect(rows).toEqual([undefined, undefined, undefined]);
  Object.assign(app.engine, { messageText });
});

test.each([
  [{}, /none of an SQS event source/],
  [{ Records: [{ EventSource: "aws:sns", Sns: { Message: "x" } }] }, /none of an SQS event source.*aws:sns/],
  [null, /none of an SQS event source/],
  ["text", /none of an SQS event source.*"text"/],
])("an event that is none of SQS is refused, and says what it was: %j", async (event, message) => {
  const fn = testFunction(new Lovage("shop"));
  await expect(fn.handle(event as never)).rejects.toThrow(message);
});

test("a record of an event that was written by hand needs no attributes", async () => {
  const app = new Lovage("shop");
  const add = app.task("shop.add", (x: number, y: number) => x + y);
  const fn = testFunction(app);
  const results = await Promise.all([add.delay(1, 2), add.delay(3, 4)]);
  const [one, two] = (await fn.receive()).map(toRecord);
  const Records = [
    { ...one, attributes: undefined, messageAttributes: undefined },
    { ...two, attributes: {}, messageAttributes: null },
  ] as unknown as SqsRecord[];
  expect(await fn.handle({ Records })).toEqual({ batchItemFailures: [] });
  expect(await Promise.all(results.map((result) => result.get()))).toEqual([3, 7]);
  const [latest] = fn.metrics;
  expect(latest?.["QueueToStart"]).toEqual([0, 0]);
});

test.each([
  undefined,
  null,
  "text",
  {},
  { httpMethod: "GET", headers: {} },
  { Records: [null] },
  { Records: [{ Sns: {} }] },
  { Records: [{ eventSource: "aws:s3", s3: {} }] },
  { Records: [{ receiptHandle: "r", body: "{}", eventSourceARN: "arn:aws:sqs:eu-west-1:1:celery" }] },
])("an event that is none of SQS's is an error that says so: %j", async (event) => {
  const fn = testFunction(new Lovage("shop"));
  const handling = fn.handle(event as unknown as SqsEvent);
  await expect(handling).rejects.toThrow(ImproperlyConfigured);
  await expect(handling).rejects.toThrow("event: is none of an SQS event source");
});

test.each([undefined, null, {}])("a context that is none of Lambda's is an error that says so: %j", async (context) => {
  const handling = createWorkerHandler(new Lovage("shop"))({ Records: [] }, context as unknown as LambdaContext);
  await expect(handling).rejects.toThrow(ImproperlyConfigured);
  await expect(handling).rejects.toThrow("context: is none of Lambda's");
});

test.each([undefined, null, "text"])("the board refuses what is no request: %j", async (event) => {
  const handling = createBoardHandler(new Lovage("shop"))(event as unknown as HttpEvent);
  await expect(handling).rejects.toThrow("event: is no request");
});

test.each([{ source: "serverless-plugin-warmup" }, { warmer: true }, { source: "aws.events", detail: {} }])(
  "a call to keep the function warm does nothing, and says so: %j",
  async (event) => {
    const app = new Lovage("shop");
    const fn = testFunction(app);
    expect(await fn.handle(event as never)).toEqual({ batchItemFailures: [] });
    expect(fn.lines).toMatchObject([{ level: "INFO", message: expect.stringContaining("kept warm") }]);
    expect(app.engine.isOpen).toBe(false);
  },
);

test("before SQS would make a message a dead letter without a word, its row and the letter say what happened", async () => {
  const app = new Lovage("shop");
  const told: unknown[] = [];
  const add = app.task("shop.add", (x: number) => x + 1);
  app.task("shop.tell", (id: string) => void told.push(id));
  const fn = testFunction(app, {
    broker: (broker) => ({ ...broker, limits: { ...broker.limits, maxReceives: 1000 } }),
  });
  const result = await add.applyAsync([1], { linkError: app.signature("shop.tell", [], { immutable: false }) });
  const [delivery] = await fn.receive();
  if (delivery === undefined) throw new Error("nothing was received");
  // What is not begun goes back, however often: no time is left.
  const early = {
    ...toRecord(delivery),
    attributes: { ...toRecord(delivery).attributes, ApproximateReceiveCount: "900" },
  };
  expect((await fn.handle({ Records: [early] }, 0)).batchItemFailures).toHaveLength(1);
  expect(await result.state()).toBe("PENDING");
  const late = {
    ...toRecord(delivery),
    attributes: { ...toRecord(delivery).attributes, ApproximateReceiveCount: "995" },
  };
  expect((await fn.handle({ Records: [late] }, 0)).batchItemFailures).toEqual([]);
  expect(await result.state()).toBe("FAILURE");
  await expect(result.get()).rejects.toThrow(/handed out 995 times.*came back each time/);
  expect((await fn.deadLetters())[0]?.attributes["reason"]).toContain("handed out 995 times");
  await fn.invoke(await fn.receive());
  expect(told).toEqual([result.id]);
});

test("a message whose task runs elsewhere is hidden for the rest of the lease", async () => {
  const app = new Lovage("shop");
  const note = app.task("shop.note", () => 1);
  const fn = testFunction(app);
  await note.delay();
  const deliveries = await fn.receive();
  const other = createWorker(app, { hostname: "celery@other", log: silent, lease: () => fn.clock.now() + 30_000 });
  await other.admit(deliveries[0] as never);
  expect((await fn.invoke(deliveries)).batchItemFailures).toHaveLength(1);
  fn.clock.moveTo(fn.clock.now() + 29_000);
  expect(await fn.receive()).toEqual([]);
});

test("a queue is known by its name on SQS, with prefix and translation, declared or not", async () => {
  const app = new Lovage("shop", {
    taskQueues: { celery: {}, "media.large": {} },
    brokerTransportOptions: { queueNamePrefix: "shop." },
  });
  const queues: string[] = [];
  const where = app.task("shop.where", { bind: true }, (self) => void queues.push(self.request.queue));
  const fn = testFunction(app);
  await where.delay();
  await where.delay();
  const deliveries = await fn.receive();
  const names = ["shop-media-large", "shop-undeclared"];
  const Records = deliveries.map((delivery, index) => ({
    ...toRecord(delivery),
    eventSourceARN: `arn:aws:sqs:eu-west-1:1:${names[index]}`,
  }));
  expect(await fn.handle({ Records })).toEqual({ batchItemFailures: [] });
  expect(queues.sort()).toEqual(["media.large", "undeclared"]);
});

test("a record of a queue outside of the app's prefix is left to that queue, and the others run", async () => {
  const app = new Lovage("shop", { brokerTransportOptions: { queueNamePrefix: "shop-" } });
  const add = app.task("shop.add", (x: number) => x + 1);
  const fn = testFunction(app);
  await add.delay(1);
  const result = await add.delay(2);
  const [foreign, own] = (await fn.receive()).map(toRecord);
  if (foreign === undefined || own === undefined) throw new Error("two were sent");
  const answer = await fn.handle({
    Records: [foreign, { ...own, eventSourceARN: "arn:aws:sqs:eu-west-1:1:shop-celery" }],
  });
  expect(answer).toEqual({ batchItemFailures: [{ itemIdentifier: foreign.messageId }] });
  expect(await result.get()).toBe(3);
  expect(fn.lines.find(({ level }) => level === "ERROR")?.["message"]).toContain("queue_name_prefix");
});

test("a task that is revoked with terminate learns of it at the heartbeat, from its tenth second on", async () => {
  const app = new Lovage("shop");
  const wait = app.task(
    "shop.wait",
    { bind: true },
    (self) =>
      new Promise<void>((_, reject) => {
        self.signal.addEventListener("abort", () => reject(self.signal.reason as Error));
      }),
  );
  const fn = testFunction(app);
  const result = await wait.delay();
  const invocation = fn.invoke(await fn.receive());
  await settle();
  await result.revoke({ terminate: true });
  fn.clock.moveTo(fn.clock.now() + 9_999);
  await settle();
  expect(await result.state()).toBe("STARTED");
  fn.clock.moveTo(fn.clock.now() + 1);
  expect(await invocation).toEqual({ batchItemFailures: [] });
  expect(await result.state()).toBe("REVOKED");
});

test("log lines are Lambda's JSON, with task, id, queue and attempt", async () => {
  const app = new Lovage("shop");
  const add = app.task("shop.add", (x: number) => x + 1);
  const fn = testFunction(app);
  const { id } = await add.delay(1);
  await fn.invoke(await fn.receive());
  const facts = { requestId: "request-1", level: "INFO", task: "shop.add", id, queue: "celery", attempt: 1 };
  const timestamp = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  expect(fn.lines).toEqual([
    { timestamp, message: `Received task: shop.add[${id}]`, ...facts },
    { timestamp, message: `Task shop.add[${id}] succeeded in 0.000s: 2`, ...facts, state: "SUCCESS", runtime: 0 },
  ]);
});

test("metrics are by queue alone unless by task is asked for, and there are none where they are switched off", async () => {
  const linesOf = async (metrics: MetricsChoice | undefined) => {
    const app = new Lovage("shop", metrics === undefined ? {} : { metrics });
    const add = app.task("shop.add", (x: number) => x + 1);
    const inc = app.task("shop.inc", (x: number) => x + 1);
    const fn = testFunction(app, metrics === undefined ? {} : { config: { metrics } });
    await add.delay(1);
    await inc.delay(2);
    await fn.invoke(await fn.receive());
    return fn.metrics;
  };
  const [line, ...more] = await linesOf(undefined);
  expect(more).toEqual([]);
  expect(line).toMatchObject({
    _aws: { CloudWatchMetrics: [{ Dimensions: [["QueueName"]] }] },
    QueueName: "celery",
    Received: 2,
    Succeeded: 2,
    RunTime: [0, 0],
  });
  expect(line).not.toHaveProperty("TaskName");
  expect(await linesOf("task")).toHaveLength(2);
  expect(await linesOf(false)).toEqual([]);
});

test("what expires or is revoked before it starts is received, and neither has waited for a start nor run", async () => {
  const app = new Lovage("shop");
  const add = app.task("shop.add", (x: number) => x + 1);
  const fn = testFunction(app);
  await add.applyAsync([1], { expires: new Date(0) });
  await (await add.delay(2)).revoke();
  await fn.invoke(await fn.receive());
  expect(fn.metrics).toMatchObject([{ Received: 2 }]);
  expect(fn.metrics[0]).not.toHaveProperty("QueueToStart");
  expect(fn.metrics[0]).not.toHaveProperty("RunTime");
});

test("metrics are in CloudWatch's embedded format, by queue and by queue and task; names that nobody registered are one", async () => {
  const settings = { brokerTransportOptions: { queueNamePrefix: "p." }, metrics: "task" } as const;
  const app = new Lovage("shop", settings);
  const add = app.task("shop.add", (x: number) => x + 1);
  app.task("shop.fail", () => {
    throw new RangeError("no");
  });
  const again = app.task("shop.again", { bind: true }, (self) => self.retry({ countdown: 5 }));
  const fn = testFunction(app, { config: settings });
  await add.delay(1);
  await add.delay(2);
  await app.sendTask("shop.fail");
  await again.delay();
  await app.sendTask("shop.nobody-1");
  await fn.put("garbage");
  fn.clock.moveTo(fn.clock.now() + 250);
  const deliveries = await fn.receive();
  await fn.handle({
    Records: deliveries.map((delivery) => ({
      ...toRecord(delivery),
      eventSourceARN: "arn:aws:sqs:eu-west-1:1:p-celery",
    })),
  });
  const byTask = new Map(fn.metrics.map((line) => [line["TaskName"], line]));
  expect([...byTask.keys()].sort()).toEqual(["shop.add", "shop.again", "shop.fail", "unknown"]);
  expect(byTask.get("shop.add")).toEqual({
    _aws: {
      Timestamp: fn.clock.now(),
      CloudWatchMetrics: [
        {
          Namespace: "Lovage",
          Dimensions: [["QueueName"], ["QueueName", "TaskName"]],
          Metrics: [
            { Name: "Received", Unit: "Count" },
            { Name: "QueueToStart", Unit: "Milliseconds" },
            { Name: "Succeeded", Unit: "Count" },
            { Name: "RunTime", Unit: "Milliseconds" },
          ],
        },
      ],
    },
    QueueName: "p-celery",
    TaskName: "shop.add",
    Received: 2,
    QueueToStart: [250, 250],
    Succeeded: 2,
    RunTime: [0, 0],
  });
  expect(byTask.get("shop.fail")).toMatchObject({ Received: 1, Failed: 1 });
  expect(byTask.get("shop.again")).toMatchObject({ Received: 1, Retried: 1 });
  expect(byTask.get("unknown")).toMatchObject({ Received: 2, DeadLettered: 1 });
});
