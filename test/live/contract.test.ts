/** The promise of delivery on SQS and DynamoDB as a long-lived worker keeps it: limits, revoking, order, pressure, bad input. */
import { randomBytes, randomUUID } from "node:crypto";
import { currentTask, Lovage, Reject, SoftTimeLimitExceeded, TimeLimitExceeded } from "lovage";
import { startWorker } from "lovage/worker";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import type { Delivery } from "../../src/brokers/broker.ts";
import * as sqs from "../../src/brokers/sqs.ts";
import * as dynamodb from "../../src/results/dynamodb.ts";
import { envelope } from "../flow/envelopes.ts";
import { emulator, emulatorUrl } from "./emulators.ts";
import { type FaultProxy, startFaultProxy, throttled } from "./fault-proxy.ts";

const [ministack, dynamodbLocal] = await Promise.all([emulator("ministack"), emulator("dynamodb")]);

const until = { timeout: 100_000, interval: 50 };
const patiently = { timeout: 100 };
const untilTold = (signal: AbortSignal | undefined) =>
  new Promise<unknown>((resolve) => signal?.addEventListener("abort", () => resolve(signal.reason)));

describe.skipIf(ministack === undefined || dynamodbLocal === undefined)("on SQS and DynamoDB", () => {
  let queues: FaultProxy;
  let rows: FaultProxy;
  let resultBackend: string;
  let app: Lovage;
  let ran: unknown[];
  const stopping: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    queues = await startFaultProxy((ministack as Emulator).endpoint);
    rows = await startFaultProxy((dynamodbLocal as Emulator).endpoint);
    resultBackend = emulatorUrl("dynamodb", rows, "/contract");
    await dynamodb.createTable(resultBackend);
  });
  afterAll(() => Promise.all([queues.close(), rows.close()]));

  beforeEach(async () => {
    const brokerUrl = emulatorUrl("sqs", queues, `?queue_name_prefix=${randomUUID()}-&wait_time_seconds=1`);
    await sqs.createQueues(brokerUrl, ["celery", "orders.fifo"]);
    app = new Lovage("tasks", {
      brokerUrl,
      resultBackend,
      taskQueues: { celery: {}, "orders.fifo": {} },
      brokerTransportOptions: { visibilityTimeout: 6 },
    });
    ran = [];
    queues.reset();
    rows.reset();
  });
  afterEach(async () => {
    queues.reset();
    rows.reset();
    for (const stop of stopping.splice(0)) await stop();
    await app.close();
  });

  async function work(concurrency = 4): Promise<void> {
    const worker = await startWorker(app, { concurrency });
    stopping.push(() => worker.stop());
  }
  const left = async (queue = "celery") => {
    const { ready, delayed, inFlight } = await (await app.engine.broker()).size(queue);
    return ready + delayed + inFlight;
  };
  const isEmpty = (queue?: string) => vi.waitUntil(async () => (await left(queue)) === 0, until);
  const put = async (body: string, queue = "celery") => {
    const [failed] = await (await app.engine.broker()).send([{ queue, body }]);
    if (failed !== undefined) throw failed;
  };
  const deadLetter = (queue = "celery-dlq"): Promise<Delivery> =>
    vi.waitUntil(async () => {
      const [letter] = await (await app.engine.broker()).receive(queue, { max: 1, wait: 1000 });
      return letter ?? false;
    }, until) as Promise<Delivery>;

  test("a retry keeps its id, its tenant, its limits and what else is its, and gets new arguments", async () => {
    const flaky = app.task("tasks.flaky", { bind: true }, (self, n: number) => {
      const { id, retries, properties, timeLimit, softTimeLimit, headers, expires } = self.request;
      ran.push([n, id, retries, properties["MessageGroupId"], timeLimit, softTimeLimit, headers["mine"], expires]);
      if (retries === 0) self.retry({ args: [n + 1], countdown: 1 });
      return n;
    });
    await work();
    const expires = new Date(Date.now() + 3_600_000);
    const options = { taskId: randomUUID(), tenant: "tenant", timeLimit: 30, softTimeLimit: 20, expires };
    const result = await flaky.applyAsync([1], { ...options, headers: { mine: "own" } });
    expect(await result.get(patiently)).toBe(2);
    const kept = ["tenant", 30, 20, "own", expect.any(String)];
    expect(ran).toEqual([
      [1, options.taskId, 0, ...kept],
      [2, options.taskId, 1, ...kept],
    ]);
    await isEmpty();
  });

  test("the soft limit can be caught, the hard one ends the task, with its errbacks", async () => {
    const tidy = app.task("tasks.tidy", { softTimeLimit: 1, timeLimit: 30 }, async () => {
      const reason = await untilTold(currentTask()?.signal);
      return reason instanceof SoftTimeLimitExceeded ? "tidied" : "?";
    });
    const hang = app.task("tasks.hang", { timeLimit: 1 }, () => new Promise<never>(() => {}));
    const tell = app.task("tasks.tell", (id: string) => void ran.push(id));
    await work();
    const [tidied, hung] = await Promise.all([tidy.delay(), hang.applyAsync([], { linkError: tell.s() })]);
    expect(await tidied.get(patiently)).toBe("tidied");
    await expect(hung.get(patiently)).rejects.toThrow(TimeLimitExceeded);
    // Its process was to make room for another: here a second worker takes its place.
    await work();
    await vi.waitUntil(() => ran.length === 1, until);
    expect(ran).toEqual([hung.id]);
    await isEmpty();
  });

  test("a task that is revoked before it starts never runs; one that runs ends by its signal; an outcome stays", async () => {
    const quick = app.task("tasks.quick", (word: string) => {
      ran.push(word);
      return word;
    });
    const slow = app.task("tasks.slow", async () => {
      ran.push("slow");
      throw await untilTold(currentTask()?.signal);
    });
    const early = await quick.applyAsync(["early"], { countdown: 1 });
    await early.revoke();
    await work();
    const [running, done] = await Promise.all([slow.delay(), quick.delay("done")]);
    expect(await done.get(patiently)).toBe("done");
    await vi.waitUntil(() => ran.includes("slow"), until);
    await done.revoke({ terminate: true });
    await running.revoke({ terminate: true });
    await vi.waitUntil(async () => (await running.state()) === "REVOKED", until);
    await isEmpty();
    expect([await early.state(), await app.result(done.id).state()]).toEqual(["REVOKED", "SUCCESS"]);
    expect(ran.toSorted()).toEqual(["done", "slow"]);
  });

  test("of a batch with one bad message the others are done, and that one is kept with all that is known of it", async () => {
    const note = app.task("tasks.note", (word: string) => void ran.push(word));
    await Promise.all(["a", "b"].map((word) => note.delay(word)));
    const body = envelope({ task: "tasks.note", id: 'it\'s "bad"\n', args: [{ __type__: "alien", __value__: 1 }] });
    await put(body);
    await Promise.all(["c", "d"].map((word) => note.delay(word)));
    await work();
    await isEmpty();
    expect(ran.toSorted()).toEqual(["a", "b", "c", "d"]);
    const letter = await deadLetter();
    expect(letter.body).toBe(body);
    expect(letter.attributes).toEqual({
      reason: expect.stringContaining("alien"),
      error: "DecodeError",
      task: "tasks.note",
      id: 'it\'s "bad"\n',
      queue: "celery",
      deliveries: expect.stringMatching(/^\d+$/),
      sentAt: expect.stringMatching(/^20\d\d-/),
      deadAt: expect.stringMatching(/^20\d\d-/),
    });
  });

  test("a FIFO group stops at its first failure of the system, and keeps its order over a retry", async () => {
    const note = app.task("tasks.note", { bind: true }, (self, group: string, n: number) => {
      if (group === "a" && n === 2 && self.request.retries === 0) self.retry({ countdown: 2 });
      ran.push(`${group}${n}`);
    });
    for (const n of [1, 2, 3, 4]) {
      for (const MessageGroupId of ["a", "b"])
        await note.applyAsync([MessageGroupId, n], { queue: "orders.fifo", MessageGroupId });
    }
    rows.spoil("PutItem", throttled("DynamoDB"), 4);
    await work();
    await vi.waitUntil(() => ran.length === 8, until);
    const of = (group: string) => ran.filter((word) => String(word).startsWith(group));
    expect([of("a"), of("b")]).toEqual([
      ["a1", "a2", "a3", "a4"],
      ["b1", "b2", "b3", "b4"],
    ]);
    await isEmpty("orders.fifo");
  });

  test("while SQS and DynamoDB throttle, nothing fails, nothing is lost and no retry is used up", async () => {
    const then = app.task("tasks.then", (n: number) => void ran.push(n));
    const once = app.task("tasks.once", { bind: true, maxRetries: 0 }, (_self, n: number) => n);
    const results = await Promise.all(Array.from({ length: 10 }, (_, n) => once.applyAsync([n], { link: then.s() })));
    for (const action of ["PutItem", "UpdateItem", "BatchExecuteStatement"])
      rows.spoil(action, throttled("DynamoDB"), 6);
    for (const action of ["SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"])
      queues.spoil(action, throttled("SQS"), 3);
    await work();
    expect(await Promise.all(results.map((result) => result.get(patiently)))).toEqual(results.map((_, n) => n));
    await vi.waitUntil(() => ran.length === 10, until);
    await isEmpty();
    expect(ran.toSorted()).toEqual(results.map((_, n) => n));
    expect(await left("celery-dlq")).toBe(0);
  });

  test("a body of exactly 1 MiB runs, in characters of several bytes too; a larger one is compressed, or refused", async () => {
    const measure = app.task("tasks.measure", (text: string) => text.length);
    const rest = Buffer.byteLength(envelope({ task: "tasks.measure", id: "full", args: [""] }));
    const room = 2 ** 20 - rest;
    await put(
      envelope({ task: "tasks.measure", id: "full", args: ["漢".repeat(Math.floor(room / 3)) + "x".repeat(room % 3)] }),
    );
    await work();
    expect(await app.result("full").get(patiently)).toBe(Math.floor(room / 3) + (room % 3));
    const compressed = await measure.delay("x".repeat(2 ** 20));
    expect(await compressed.get(patiently)).toBe(2 ** 20);
    const large = randomBytes(800_000).toString("base64");
    queues.reset();
    await expect(measure.delay(large)).rejects.toMatchObject({ name: "PayloadTooLarge", limit: 2 ** 20 });
    expect(queues.count("SendMessageBatch")).toBe(0);
  });

  test("a result over 400 KB is compressed, or the task fails and says so", async () => {
    const make = app.task("tasks.make", (kind: string) =>
      kind === "text" ? "x".repeat(500_000) : randomBytes(500_000).toString("base64"),
    );
    await work();
    const [text, noise] = [await make.delay("text"), await make.delay("noise")];
    expect(await text.get(patiently)).toHaveLength(500_000);
    await expect(noise.get(patiently)).rejects.toMatchObject({
      name: "PayloadTooLarge",
      message: expect.stringContaining("the limit is 409600"),
    });
    await isEmpty();
  });

  test("a task runs once whatever text its id is, and its dead letter is kept", async () => {
    const texts = [
      `it's "quoted" \\ \`so\``,
      "one\ntwo\u0000\u001b[2J",
      "\u{1f49a} \u00e4 \u6f22\u5b57",
      "\ud83d",
      "i".repeat(10_000),
      "\u6f22".repeat(1_000),
    ];
    const ids = texts.map((text) => `${text} ${randomUUID()}`);
    app.task("tasks.note", () => void ran.push(currentTask()?.request.id));
    app.task("tasks.refuse", () => {
      throw new Reject("a reason\u0000 with \ud83d what SQS refuses");
    });
    for (const id of ids) {
      for (let copy = 0; copy < 2; copy++) await put(envelope({ task: "tasks.note", id }));
      await put(envelope({ task: "tasks.refuse", id: `${id}!` }));
    }
    await work();
    await isEmpty();
    expect(ran.toSorted()).toEqual(ids.toSorted());
    for (const id of ids)
      expect([await app.result(id).state(), await app.result(`${id}!`).state()]).toEqual(["SUCCESS", "FAILURE"]);
    const reasons = [];
    for (const _ of ids) reasons.push((await deadLetter()).attributes["reason"]);
    expect(reasons).toEqual(ids.map(() => "a reason\ufffd with \ufffd what SQS refuses"));
  });
});
