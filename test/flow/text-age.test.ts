/** A text that is kept elsewhere is there for as long as a message points to it, however often that is sent anew. */
import { randomBytes } from "node:crypto";
import { Lovage, Reject } from "lovage";
import { describe, expect, test } from "vitest";
import type { Delivery } from "../../src/brokers/broker.ts";
import { createPayloads } from "../../src/payloads/payloads.ts";
import { open } from "../../src/payloads/memory.ts";
import { encodeEnvelope } from "../../src/protocol/envelope.ts";
import { createMessage } from "../../src/protocol/message.ts";
import { readKey, readPointer } from "../../src/protocol/pointer.ts";
import { likeSqs } from "./like-sqs.ts";
import { inMemory } from "./stores.ts";

const DAY = 86_400_000;
/** As far ahead as a message is taken in a test of a hundred days: at each step its text is read. */
const A_DAY_AHEAD = 86_400;
/** In its queue, running, among the dead letters, and sent back from there: fourteen days each. */
const NEEDED = 56 * DAY;

let names = 0;

/** An app on a service like SQS, and what is sent to its queue. `maxDelaySeconds`: how far ahead that takes a message. */
function begin(maxDelaySeconds = 900) {
  const payloadStore = `memory://age-${++names}`;
  const app = new Lovage("tasks");
  const sent: string[] = [];
  let receives: readonly Delivery[] = [];
  const t = inMemory(app, {
    concurrency: 2,
    config: { payloadStore, brokerTransportOptions: { visibilityTimeout: 120 } },
    broker(broker) {
      const service = likeSqs(broker, () => t.clock.now());
      receives = service.receives;
      return {
        ...service.wrapped,
        limits: { ...service.wrapped.limits, maxDelaySeconds },
        send(entries) {
          sent.push(...entries.filter(({ queue }) => queue === "celery").map(({ body }) => body));
          return service.wrapped.send(entries);
        },
      };
    },
  });
  /** Puts a message into the queue whose text was put days ago, by who knew of no delay. */
  const put = async (task: string, text: string, days: number, eta: number | null = null): Promise<string> => {
    const at = t.clock.now() - days * DAY;
    const payloads = createPayloads(
      await open(payloadStore, { now: () => at }),
      () => crypto.randomUUID(),
      () => at,
    );
    const message = createMessage({
      id: "an-id",
      task,
      args: [text],
      kwargs: {},
      eta: eta === null ? null : new Date(eta).toISOString(),
      contentType: "application/json",
      compression: null,
    });
    const pointer = await payloads.put(await encodeEnvelope(message), "an-id", 56);
    await t.put(pointer);
    sent.length = 0;
    return pointer;
  };
  return { app, t, sent, put, receives: () => receives };
}

/** When a bucket's lifecycle takes the text that a body points to. */
function goesAt(body: string): number {
  const { at = Number.NaN, days = Number.NaN } = readKey(readPointer(body)?.key ?? "") ?? {};
  return at + days * DAY;
}

describe.each([
  [3, false],
  [50, true],
])("a text that was put %d days ago", (days, isRenewed) => {
  const prepare = () => {
    const { sent, ...rest } = begin();
    const expectSent = (pointer: string) => {
      expect(sent.length).toBeGreaterThan(0);
      for (const body of sent) {
        expect(body === pointer).toBe(!isRenewed);
        // An hour may have passed since.
        expect(goesAt(body)).toBeGreaterThan(rest.t.clock.now() + NEEDED - DAY / 24);
      }
    };
    return { ...rest, sent, expectSent };
  };

  test("is kept on where its message waits for a limit", async () => {
    const { app, t, put, expectSent } = prepare();
    const size = app.task("tasks.size", { rateLimit: "60/h" }, (text: string) => text.length);
    await size.delay("the first");
    await t.drain();
    const pointer = await put(size.name, "x".repeat(1000), days);
    await t.advance({ seconds: 10 });
    expectSent(pointer);
    await t.advance({ minutes: 3 });
    expect(await app.result("an-id").get()).toBe(1000);
  });

  test("is kept on where a dead letter is sent back, and where a failure runs again", async () => {
    const { app, t, put, expectSent, sent } = prepare();
    const errors: Error[] = [new Reject("no room"), new Error("it is down")];
    const size = app.task("tasks.size", (text: string) => {
      const error = errors.shift();
      if (error !== undefined) throw error;
      return text.length;
    });
    const pointer = await put(size.name, "x".repeat(1000), days);
    await t.drain();
    sent.length = 0;
    await app.control.deadLetters.redrive({ id: "an-id" });
    expectSent(pointer);
    await t.drain();
    sent.length = 0;
    await app.control.retry("an-id");
    expectSent(pointer);
    await t.drain();
    expect(await app.result("an-id").get()).toBe(1000);
  });

  test("is kept on where its message runs elsewhere, and is sent anew lest it be received too often", async () => {
    const { app, t, put, sent } = prepare();
    let runs = 0;
    const ends: (() => void)[] = [];
    const encode = app.task("tasks.encode", (text: string) => {
      runs++;
      return new Promise<number>((resolve) => ends.push(() => resolve(text.length)));
    });
    const pointer = await put(encode.name, "x".repeat(1000), days);
    await t.advance({ hours: 15 });
    expect(sent.length).toBeGreaterThan(0);
    for (const body of sent) {
      expect(body === pointer).toBe(!isRenewed);
      expect(goesAt(body)).toBeGreaterThan(t.clock.now() + NEEDED - DAY);
    }
    // Its worker dies: another one runs it, from the message that was sent anew.
    t.crash();
    await t.advance({ hours: 1 });
    expect(runs).toBe(2);
    for (const end of ends) end();
    await t.advance({ hours: 1 });
    expect(await app.result("an-id").get()).toBe(1000);
  });
});

test("the text of a message that is due in 100 days is there then, and for as long as a new one's", async () => {
  const { app, t, sent, receives } = begin(A_DAY_AHEAD);
  const size = app.task("tasks.size", (text: string) => text.length);
  const due = t.clock.now() + 100 * DAY;
  // What compression does not help.
  const text = randomBytes(2 ** 20).toString("base64");
  const result = await size.applyAsync([text], { eta: new Date(due) });
  for (const body of sent) expect(goesAt(body)).toBeGreaterThanOrEqual(due + NEEDED);
  await t.advance({ days: 100 });
  expect(receives().length).toBeGreaterThan(99);
  expect(new Set(sent).size).toBe(1);
  expect(await result.get()).toBe(text.length);
});

test("a message that is due later than its text would be there has a copy of it before that goes", async () => {
  const { app, t, sent, put } = begin(A_DAY_AHEAD);
  const size = app.task("tasks.size", (text: string) => text.length);
  const due = t.clock.now() + 100 * DAY;
  const pointer = await put(size.name, "x".repeat(1000), 3, due);
  await t.advance({ hours: 1 });
  expect(new Set(sent)).not.toContain(pointer);
  for (const body of sent) expect(goesAt(body)).toBeGreaterThanOrEqual(due + NEEDED);
  const copies = new Set(sent).size;
  await t.advance({ days: 100 });
  expect(await app.result("an-id").get()).toBe(1000);
  expect(new Set(sent).size).toBe(copies);
});
