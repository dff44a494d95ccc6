/** Rows of limits on DynamoDB: the contract, and what they cost in requests. */
import { describe, expect, test } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import { MAX_ROUNDS, open } from "../../src/limits/dynamodb.ts";
import { askRate, parseRate } from "../../src/limits/rate.ts";
import { createTable } from "../../src/results/dynamodb.ts";
import { describeLimits } from "../contract/limits.ts";
import { emulator, emulatorUrl } from "./emulators.ts";
import { startFaultProxy } from "./fault-proxy.ts";

const dynamodbLocal = await emulator("dynamodb");

describe.skipIf(dynamodbLocal === undefined)("on DynamoDB", () => {
  async function openTwo() {
    const proxy = await startFaultProxy((dynamodbLocal as Emulator).endpoint);
    const url = emulatorUrl("dynamodb", proxy, "/limits");
    await createTable(url);
    let now = Date.now();
    const context = { now: () => now, random: Math.random, options: {} };
    const advance = (ms: number) => {
      now += ms;
    };
    const stores = [open(url, context), open(url, context)] as const;
    const close = async () => {
      await Promise.all(stores.map((store) => store.close()));
      await proxy.close();
    };
    return { stores, now: () => now, advance, close, proxy };
  }

  describeLimits("DynamoDB", openTwo, 5);

  test("the asks of a batch share one write, and who knows the row needs no read", async () => {
    const { stores, proxy, close, now } = await openTwo();
    const [store] = stores;
    const rate = parseRate("600/m", "rateLimit");
    const key = `cost-${now()}`;
    const ask = () => store.decide(key, (state) => askRate(state, { now: now(), rate, text: "r", patience: 0 }));
    await ask();
    proxy.reset();
    const answers = await Promise.all(Array.from({ length: 10 }, ask));
    expect(new Set(answers.map(({ at }) => at)).size).toBe(10);
    expect([proxy.count(), proxy.count("PutItem")]).toEqual([1, 1]);
    await close();
  });

  test("a row that is larger than DynamoDB takes is told with its size and the limit", async () => {
    const { stores, proxy, close, now } = await openTwo();
    const write = { state: "x".repeat(410_000), expires: now() + 60_000 };
    // In AWS's words: no emulator is asked what AWS would refuse.
    const message = "Item size has exceeded the maximum allowed size";
    proxy.spoil("PutItem", {
      reply: { status: 400, body: { __type: "com.amazon.coral.validate#ValidationException", message } },
    });
    const error = await stores[0].decide("large", () => ({ write, answer: 1 })).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: "PayloadTooLarge", size: 410_000, limit: 409_600 });
    await close();
  });

  test("a row that more is asked of than it can do is no limit that is left out: it says so, and what to do", async () => {
    const { stores, proxy, close, now } = await openTwo();
    const [store] = stores;
    const Item = { id: { S: "hot" }, limit: { S: "1" }, until: { N: String(now() + 60_000) } };
    const taken = {
      reply: {
        status: 400,
        body: { __type: "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", message: "no", Item },
      },
    };
    proxy.spoil("PutItem", taken, MAX_ROUNDS + 1);
    const write = { state: "2", expires: now() + 60_000 };
    const error = await store.decide(`hot-${now()}`, () => ({ write, answer: 1 })).catch((error: unknown) => error);
    expect(error).toMatchObject({ name: "OperationalError", retryable: true });
    expect(String(error)).toMatch(/hot-.*changed 40 times.*give the limit a key/);
    // Others go on with it.
    expect(await store.decide(`hot-${now()}`, () => ({ write, answer: 2 }))).toBe(2);
    await close();
  });
});
