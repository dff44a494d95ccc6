/** What a task costs in requests, and what becomes of it when AWS throttles, loses replies or does half of what it is asked. */
import { randomBytes, randomUUID } from "node:crypto";
import {
  type AttributeValue,
  CreateTableCommand,
  DynamoDBClient,
  PutItemCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { GetQueueUrlCommand, SetQueueAttributesCommand, SQSClient } from "@aws-sdk/client-sqs";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { Lovage } from "../../src/app.ts";
import type { Emulator } from "../../scripts/emulator.ts";
import { type Broker, type Delivery, LEAST_MAX_BYTES } from "../../src/brokers/broker.ts";
import * as sqs from "../../src/brokers/sqs.ts";
import { OperationalError, PayloadTooLarge, QueueNotFound } from "../../src/errors.ts";
import { type Backend, joinKey, taskKey } from "../../src/results/backend.ts";
import { open as openLimits } from "../../src/limits/dynamodb.ts";
import * as dynamodb from "../../src/results/dynamodb.ts";
import type { Claim, Command, Final, Join, Joined, Outcome } from "../../src/results/record.ts";
import { emulator, emulatorUrl } from "./emulators.ts";
import { type Fault, type FaultProxy, startFaultProxy, throttled } from "./fault-proxy.ts";

const [ministack, dynamodbLocal] = await Promise.all([emulator("ministack"), emulator("dynamodb")]);

// Waits between tries are a random share of some milliseconds; here of none.
const context = { now: Date.now, random: () => 0, options: {} };

describe.skipIf(dynamodbLocal === undefined)("DynamoDB", () => {
  let proxy: FaultProxy;
  let backend: Backend;
  beforeAll(async () => {
    const { endpoint } = dynamodbLocal as Emulator;
    proxy = await startFaultProxy(endpoint);
    const url = emulatorUrl("dynamodb", proxy, "/faults");
    await dynamodb.createTable(url);
    backend = dynamodb.open(url, context);
  });
  afterAll(async () => {
    await backend.close();
    await proxy.close();
  });
  beforeEach(() => proxy.reset());

  const started = JSON.stringify({ status: "STARTED" });
  const success = JSON.stringify({ status: "SUCCESS" });
  const claim = (key: string, owner: string, more: Partial<Claim> = {}): Claim => {
    const now = Date.now();
    return {
      type: "claim",
      key,
      now,
      attempt: 0,
      owner,
      lease: now + 60_000,
      result: started,
      hidden: false,
      ttl: Math.ceil(now / 1000) + 600,
      ...more,
    };
  };
  const final = (key: string, owner: string, more: Partial<Final> = {}): Final => {
    const now = Date.now();
    return {
      type: "final",
      key,
      now,
      attempt: 0,
      owner,
      result: success,
      done: true,
      hidden: false,
      ttl: Math.ceil(now / 1000) + 600,
      ...more,
    };
  };
  const apply = async (command: Command) => (await backend.apply([command]))[0];
  const newKey = () => taskKey(randomUUID());

  test("a task is two requests: its claim and its outcome", async () => {
    const key = newKey();
    expect(await apply(claim(key, "a"))).toMatchObject({ type: "claimed" });
    expect(await apply(final(key, "a"))).toMatchObject({ type: "written" });
    expect(proxy.count()).toBe(2);
  });

  test.each<[string, readonly (readonly [string, "HASH" | "RANGE", "S" | "N"])[]]>([
    ["another name", [["pk", "HASH", "S"]]],
    ["another type", [["id", "HASH", "N"]]],
    [
      "a sort key",
      [
        ["id", "HASH", "S"],
        ["sk", "RANGE", "S"],
      ],
    ],
  ])("a table whose key has %s is an error that says which key it must be", async (_, keys) => {
    const TableName = `keys-${randomUUID()}`;
    const client = new DynamoDBClient({
      endpoint: proxy.endpoint,
      region: "us-east-1",
      credentials: { accessKeyId: "test", secretAccessKey: "test" },
    });
    onTestFinished(() => client.destroy());
    await client.send(
      new CreateTableCommand({
        TableName,
        KeySchema: keys.map(([AttributeName, KeyType]) => ({ AttributeName, KeyType })),
        AttributeDefinitions: keys.map(([AttributeName, , AttributeType]) => ({ AttributeName, AttributeType })),
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
    const url = emulatorUrl("dynamodb", proxy, `/${TableName}`);
    const other = dynamodb.open(url, context);
    const limits = openLimits(url, context);
    onTestFinished(async () => void (await Promise.all([other.close(), limits.close()])));
    const key = newKey();
    const thrown = (error: unknown) => error;
    const answers = [
      ...(await other.apply([claim(key, "a")])),
      ...(await other.apply([claim(newKey(), "a"), claim(newKey(), "a")])),
      ...(await other.apply([final(key, "a")])),
      await other.read([key]).catch(thrown),
      await limits.decide("rate", () => ({ write: { state: "x", expires: 0 }, answer: 0 })).catch(thrown),
    ];
    for (const answer of answers) {
      expect(answer).toMatchObject({ name: "OperationalError", retryable: true });
      expect(String(answer)).toMatch(/the table "keys-.*" has another key .* it must be the text "id" alone/);
    }
  });

  test("a retry is two more", async () => {
    const key = newKey();
    await apply(claim(key, "a"));
    await apply(final(key, "a", { done: false, next: "{}" }));
    expect(await apply(claim(key, "b", { attempt: 1 }))).toMatchObject({ type: "claimed", runs: 1 });
    expect(await apply(final(key, "b", { attempt: 1 }))).toMatchObject({ type: "written" });
    expect(proxy.count()).toBe(4);
    expect(await backend.read([key], { consistent: true })).toMatchObject([{ attempt: 1, owner: "b", done: true }]);
  });

  test("a heartbeat, a state of the user's and a hand-back are one each, and so is the next claim", async () => {
    const key = newKey();
    const now = Date.now();
    await apply(claim(key, "a"));
    proxy.reset();
    await apply({ type: "extend", key, now, owner: "a", lease: now + 90_000 });
    await apply({ type: "update", key, now, owner: "a", result: JSON.stringify({ status: "PROGRESS" }) });
    await apply({ type: "release", key, now, owner: "a" });
    expect(await apply(claim(key, "b"))).toEqual({ type: "claimed", runs: 1, revoked: undefined });
    expect(proxy.count()).toBe(4);
  });

  test("a duplicate costs one request, which tells all of the row", async () => {
    const key = newKey();
    await apply(claim(key, "a"));
    await apply(final(key, "a", { next: "{}" }));
    proxy.reset();
    expect(await apply(claim(key, "b"))).toMatchObject({
      type: "settled",
      row: { owner: "a", result: success, next: "{}" },
    });
    expect(proxy.count()).toBe(1);
  });

  test("nothing is claimed over an outcome that is the last, not by a later attempt either", async () => {
    const key = newKey();
    await apply(claim(key, "a"));
    await apply(final(key, "a"));
    expect(await apply(claim(key, "b", { attempt: 1 }))).toMatchObject({ type: "superseded", row: { owner: "a" } });
  });

  test("a task that does not claim, and ends without an outcome, makes no row", async () => {
    const key = newKey();
    expect(await apply(final(key, "a", { unclaimed: true, result: undefined }))).toMatchObject({ type: "written" });
    expect(await backend.read([key], { consistent: true })).toEqual([undefined]);
    expect(proxy.count("PutItem") + proxy.count("UpdateItem")).toBe(0);
  });

  test("ttl_seconds is the least that a row is kept for, and below zero for ever", async () => {
    const now = 1_800_000_000_500;
    const ttlOf = async (query: string, ttl: number | undefined) => {
      const other = dynamodb.open(emulatorUrl("dynamodb", proxy, `/faults${query}`), { ...context, now: () => now });
      onTestFinished(() => other.close());
      const key = newKey();
      await other.apply([claim(key, "a", { now, ttl })]);
      return (await other.read([key], { consistent: true }))[0]?.ttl;
    };
    expect(await ttlOf("", undefined)).toBeUndefined();
    expect(await ttlOf("", 1_800_000_060)).toBe(1_800_000_060);
    expect(await ttlOf("?ttl_seconds=3600", undefined)).toBe(1_800_003_601);
    expect(await ttlOf("?ttl_seconds=3600", 1_800_000_060)).toBe(1_800_003_601);
    expect(await ttlOf("?ttl_seconds=3600", 1_800_009_999)).toBe(1_800_009_999);
    expect(await ttlOf("?ttl_seconds=-1", 1_800_000_060)).toBeUndefined();
  });

  test("a take-over is two, and whoever got in between keeps the row", async () => {
    const key = newKey();
    await apply(claim(key, "dead", { lease: Date.now() - 10_000 }));
    proxy.reset();
    proxy.spoil("PutItem", {});
    proxy.spoil("PutItem", {
      async before() {
        expect(await apply(claim(key, "quick"))).toMatchObject({ type: "claimed", runs: 2 });
      },
    });
    expect(await apply(claim(key, "slow"))).toMatchObject({ type: "running" });
    expect(await backend.read([key], { consistent: true })).toMatchObject([{ owner: "quick", runs: 2 }]);
  });

  test.each<[string, (key: string) => Command, string]>([
    ["a claim", (key) => claim(key, "a"), "PutItem"],
    ["a revoke", (key) => ({ type: "revoke", key, now: Date.now(), terminate: false, result: success }), "PutItem"],
    ["a dead letter's row", (key) => ({ type: "bury", key, now: Date.now(), result: success }), "PutItem"],
  ])("%s whose reply is lost is written once, and told as written", async (_, command, action) => {
    const key = newKey();
    proxy.spoil(action, { loseReply: true });
    const outcome = await apply(command(key));
    expect(outcome).toMatchObject({ type: outcome && "runs" in outcome ? "claimed" : "written" });
    expect(proxy.count(action)).toBe(2);
  });

  test("a claim whose reply was lost still keeps others out, and owns its outcome", async () => {
    const key = newKey();
    proxy.spoil("PutItem", { loseReply: true });
    expect(await apply(claim(key, "a"))).toEqual({ type: "claimed", runs: 1, revoked: undefined });
    expect(await apply(claim(key, "b"))).toMatchObject({ type: "running" });
    proxy.spoil("UpdateItem", { loseReply: true });
    expect(await apply(final(key, "a"))).toEqual({ type: "written", revoked: undefined });
  });

  describe("a join", () => {
    const hash = (n: number) => `member-${String(n).padStart(4, "0")}`;
    const joinOf = (key: string, more: Partial<Join> = {}): Join => ({
      type: "join",
      key,
      now: Date.now(),
      ttl: Math.ceil(Date.now() / 1000) + 600,
      ...more,
    });
    const newJoin = () => joinKey(randomUUID());
    /** As Celery writes and reads it. */
    const asPython = () => {
      const { endpoint } = dynamodbLocal as Emulator;
      const credentials = { accessKeyId: "test", secretAccessKey: "test" };
      const client = new DynamoDBClient({ endpoint, region: "us-east-1", credentials });
      onTestFinished(() => client.destroy());
      return {
        put: (key: string, more: Record<string, AttributeValue>) =>
          client.send(new PutItemCommand({ TableName: "faults", Item: { id: { S: key }, ...more } })),
        async increment(key: string) {
          const { Attributes } = await client.send(
            new UpdateItemCommand({
              TableName: "faults",
              Key: { id: { S: key } },
              UpdateExpression: "set chord_count = chord_count + :num",
              ExpressionAttributeValues: { ":num": { N: "1" } },
              ReturnValues: "UPDATED_NEW",
            }),
          );
          return Attributes;
        },
      };
    };

    test("is one request a member, one more for its size, and one for a member told twice", async () => {
      const key = newJoin();
      expect(await apply(joinOf(key, { size: 3 }))).toMatchObject({ count: 0, members: 0, size: 3 });
      for (const n of [1, 2, 3]) {
        expect(await apply(joinOf(key, { member: hash(n) }))).toMatchObject({ count: n, members: n, size: 3 });
      }
      expect(await apply(joinOf(key, { member: hash(2) }))).toMatchObject({ count: 3, members: 3, size: 3 });
      expect(await apply(joinOf(key, { added: "more" }))).toMatchObject({ count: 3, added: ["more"] });
      expect(proxy.count()).toBe(6);
      const [row] = await backend.read([key], { consistent: true });
      expect(row).toMatchObject({ chord_count: 3, size: 3, added: JSON.stringify(["more"]) });
    });

    test("of 100 members that end at once is 100 requests, and one of them is told that it was the last", async () => {
      const key = newJoin();
      const members = Array.from({ length: 100 }, (_, n) => joinOf(key, { member: hash(n), size: 100 }));
      const told = (await Promise.all(members.map(apply))).map((outcome) => (outcome as Joined).members);
      expect(told.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, n) => n + 1));
      expect(proxy.count()).toBe(100);
    });

    test("whose reply is lost counts its member once", async () => {
      const key = newJoin();
      proxy.spoil("UpdateItem", { loseReply: true });
      expect(await apply(joinOf(key, { member: hash(1), size: 2 }))).toMatchObject({ count: 1, members: 1, size: 2 });
      expect(proxy.count()).toBe(2);
    });

    test("continues the counter that Python made, which goes on counting in it", async () => {
      const key = newJoin();
      const python = asPython();
      await python.put(key, { chord_count: { N: "0" }, timestamp: { N: "1800000000.5" } });
      expect(await python.increment(key)).toEqual({ chord_count: { N: "1" } });
      expect(await apply(joinOf(key, { member: hash(1) }))).toMatchObject({ count: 2, members: 1, size: undefined });
      expect(await apply(joinOf(key, { size: 4 }))).toMatchObject({ count: 2, members: 1, size: 4 });
      expect(await python.increment(key)).toEqual({ chord_count: { N: "3" } });
      expect(await apply(joinOf(key, { member: hash(1) }))).toMatchObject({ count: 3, members: 1, size: 4 });
      expect(proxy.count()).toBe(3);
    });

    test("begins anew where the row has expired and is not deleted yet", async () => {
      const key = newJoin();
      const seconds = String(Math.floor(Date.now() / 1000) - 5);
      await asPython().put(key, { chord_count: { N: "7" }, timestamp: { N: seconds }, ttl: { N: seconds } });
      expect(await apply(joinOf(key, { member: hash(1) }))).toMatchObject({ count: 1, members: 1 });
    });

    test("of more members than a row can hold is refused before the first of them", async () => {
      const key = newJoin();
      expect(await apply(joinOf(key, { size: 40_000 }))).toBeInstanceOf(PayloadTooLarge);
      expect(await backend.read([key])).toEqual([undefined]);
      expect(await apply(joinOf(key, { size: 37_000 }))).toMatchObject({ size: 37_000 });
    });

    test("that no longer fits into a row says so", async () => {
      const key = newJoin();
      const members = Array.from({ length: 37_210 }, (_, n) => `${String(n).padStart(10, "0")}x`);
      await asPython().put(key, { chord_count: { N: "37210" }, timestamp: { N: "1" }, members: { SS: members } });
      let last: unknown;
      for (let n = 0; n < 30 && !(last instanceof Error); n++) last = await apply(joinOf(key, { member: hash(n) }));
      expect(last).toBeInstanceOf(PayloadTooLarge);
    });
  });

  describe("claims and finals of one turn", () => {
    /** DynamoDB's own answer, with an error in place of what it says of one statement. */
    const failing = (at: number, Code: string): Fault => ({
      response: (body) => ({
        ...body,
        Responses: (body["Responses"] as unknown[]).map((one, index) =>
          index === at ? { Error: { Code, Message: "as AWS says" } } : one,
        ),
      }),
    });
    const denied: Fault = { reply: { status: 400, body: { __type: "x#AccessDeniedException", message: "no" } } };
    const ten = () => Array.from({ length: 10 }, newKey);
    const claimed = { type: "claimed", runs: 1, revoked: undefined };
    const written = { type: "written", revoked: undefined };
    /** One that knows nothing of what others were told. */
    const another = () => {
      const other = dynamodb.open(emulatorUrl("dynamodb", proxy, "/faults"), context);
      onTestFinished(() => other.close());
      return other;
    };

    test("share a request, whoever gives them", async () => {
      const keys = ten();
      expect(await Promise.all(keys.map((key) => apply(claim(key, key))))).toEqual(keys.map(() => claimed));
      expect(proxy.count("BatchExecuteStatement")).toBe(1);
      expect(await Promise.all(keys.map((key) => apply(final(key, key))))).toEqual(keys.map(() => written));
      expect(proxy.count("BatchExecuteStatement")).toBe(2);
      expect(proxy.count()).toBe(2);
    });

    test("leave the rows that writes by themselves would have left", async () => {
      const shapes: readonly [Partial<Claim>, Partial<Final>][] = [
        [{}, {}],
        [{ ttl: undefined }, { ttl: undefined }],
        [{ next: "{}" }, { next: "{}", done: false }],
        [{ hidden: true }, { hidden: true }],
        [{}, { result: new Uint8Array([0, 1, 255]), buried: true }],
        [{ result: new Uint8Array() }, { hidden: true }],
        [{}, { result: undefined }],
      ];
      const now = Date.now();
      const ttl = Math.ceil(now / 1000) + 600;
      const told = async (together: boolean) => {
        const commands = shapes.map(([first, last]) => {
          const key = newKey();
          return [
            claim(key, "a", { now, ttl, lease: now + 1000, ...first }),
            final(key, "a", { now, ttl, ...last }),
          ] as const;
        });
        const rows = [];
        for (const at of [0, 1] as const) {
          const given = commands.map((pair) => pair[at]);
          if (together) await backend.apply(given);
          else for (const command of given) await apply(command);
          rows.push(
            await backend.read(
              given.map(({ key }) => key),
              { consistent: true },
            ),
          );
        }
        return rows;
      };
      expect(await told(true)).toEqual(await told(false));
    });

    test("fill requests of 25, and of half a megabyte", async () => {
      const many = Array.from({ length: 60 }, newKey);
      expect(await backend.apply(many.map((key) => claim(key, "a")))).toEqual(many.map(() => claimed));
      expect(proxy.count("BatchExecuteStatement")).toBe(3);
      proxy.reset();
      const large = JSON.stringify("x".repeat(200_000));
      const few = many.slice(0, 5);
      expect(await backend.apply(few.map((key) => final(key, "a", { result: large })))).toEqual(few.map(() => written));
      expect([proxy.count("BatchExecuteStatement"), proxy.count("UpdateItem")]).toEqual([2, 1]);
    });

    test("are written alone where they are alone, or meet the row of an attempt before", async () => {
      const keys = ten();
      await backend.apply(keys.map((key) => claim(key, "a")));
      await backend.apply(keys.map((key) => final(key, "a", { done: false, next: "{}" })));
      proxy.reset();
      expect(await backend.apply(keys.map((key) => claim(key, "b", { attempt: 1 })))).toEqual(keys.map(() => claimed));
      expect([proxy.count("PutItem"), proxy.count()]).toEqual([10, 10]);
    });

    test("keep their order where two are for one row", async () => {
      const [key, other] = [newKey(), newKey()];
      const outcomes = await backend.apply([claim(key, "a"), claim(other, "a"), final(key, "a"), claim(key, "b")]);
      expect(outcomes).toMatchObject([claimed, claimed, written, { type: "settled", row: { owner: "a" } }]);
    });

    test("that meet another row are told so, and no other is", async () => {
      const keys = ten();
      const [taken, settled, revoked, lost] = keys as [string, string, string, string];
      await apply(claim(taken, "b"));
      await apply(claim(settled, "b"));
      await apply(final(settled, "b"));
      await apply({ type: "revoke", key: revoked, now: Date.now(), terminate: false, result: success });
      const outcomes = await backend.apply(keys.map((key) => claim(key, "a")));
      expect(outcomes.slice(0, 3)).toMatchObject([{ type: "running" }, { type: "settled" }, { type: "settled" }]);
      expect(outcomes.slice(3)).toEqual(keys.slice(3).map(() => claimed));

      await apply({ type: "revoke", key: keys[4] as string, now: Date.now(), terminate: true, result: success });
      await backend.apply([{ type: "release", key: lost, now: Date.now(), owner: "a" }]);
      await apply(claim(lost, "c"));
      const finals = await backend.apply(keys.map((key) => final(key, "a")));
      expect(finals.map((outcome) => (outcome as Outcome).type)).toEqual([
        ...["refused", "refused", "refused", "refused"],
        ...keys.slice(4).map(() => "written"),
      ]);
      expect(finals[4]).toEqual({ type: "written", revoked: "terminate" });
    });

    test.each(["ThrottlingError", "ProvisionedThroughputExceeded", "InternalServerError", "TransactionConflict"])(
      "of which one fails by %s: it is written by itself, and counted once",
      async (code) => {
        const keys = ten();
        // It may have been written all the same.
        proxy.spoil("BatchExecuteStatement", failing(3, code));
        expect(await backend.apply(keys.map((key) => claim(key, "a")))).toEqual(keys.map(() => claimed));
        proxy.spoil("BatchExecuteStatement", failing(3, code));
        expect(await backend.apply(keys.map((key) => final(key, "a")))).toEqual(keys.map(() => written));
        expect([proxy.count("BatchExecuteStatement"), proxy.count()]).toEqual([2, 4]);
        const rows = await backend.read(keys, { consistent: true });
        expect(rows).toMatchObject(keys.map(() => ({ owner: "a", runs: 1, done: true, result: success })));
      },
    );

    test("settle while one of them is still throttled", async () => {
      const keys = ten();
      proxy.spoil("BatchExecuteStatement", failing(0, "ThrottlingError"));
      const { promise: held, resolve: letGo } = Promise.withResolvers<void>();
      proxy.spoil("PutItem", { before: () => held });
      const [slow, ...rest] = keys.map((key) => apply(claim(key, "a")));
      expect(await Promise.all(rest)).toEqual(rest.map(() => claimed));
      letGo();
      expect(await slow).toEqual(claimed);
    });

    test("whose reply is lost meet themselves, and are written once", async () => {
      const keys = ten();
      proxy.spoil("BatchExecuteStatement", { loseReply: true });
      expect(await backend.apply(keys.map((key) => claim(key, "a")))).toEqual(keys.map(() => claimed));
      proxy.spoil("BatchExecuteStatement", { loseReply: true });
      expect(await backend.apply(keys.map((key) => final(key, "a", { next: "{}" })))).toEqual(keys.map(() => written));
      const rows = await backend.read(keys, { consistent: true });
      expect(rows).toMatchObject(keys.map(() => ({ owner: "a", runs: 1, done: true, next: "{}" })));
      expect(proxy.count("BatchExecuteStatement")).toBe(4);
    });

    test("fail together where the request does, as what passes", async () => {
      proxy.spoil("BatchExecuteStatement", throttled("DynamoDB"), 20);
      const outcomes = await backend.apply([claim(newKey(), "a"), claim(newKey(), "a")]);
      expect(outcomes).toMatchObject(outcomes.map(() => ({ name: "OperationalError", retryable: true })));
      proxy.reset();
      expect(await backend.apply([claim(newKey(), "a"), claim(newKey(), "a")])).toEqual([claimed, claimed]);
      expect(proxy.count()).toBe(1);
    });

    test.each([
      ["as a whole", denied],
      [
        "as a whole, since there is no such action",
        { reply: { status: 400, body: { __type: "x#UnknownOperationException" } } },
      ],
      ["one by one", failing(1, "AccessDenied")],
    ])("are written by themselves, for good, where statements are refused %s", async (_, fault) => {
      const other = another();
      proxy.spoil("BatchExecuteStatement", fault);
      const claims = () => ten().map((key) => claim(key, "a"));
      expect(await other.apply(claims())).toEqual(ten().map(() => claimed));
      proxy.reset();
      expect(await other.apply(claims())).toEqual(ten().map(() => claimed));
      expect([proxy.count("PutItem"), proxy.count()]).toEqual([10, 10]);
    });
  });

  test("a throttled write is tried again, and reported as passing when it stays so", async () => {
    proxy.spoil("PutItem", throttled("DynamoDB"));
    expect(await apply(claim(newKey(), "a"))).toMatchObject({ type: "claimed" });
    proxy.spoil("PutItem", throttled("DynamoDB"), 20);
    const outcome = await apply(claim(newKey(), "a"));
    expect(outcome).toBeInstanceOf(OperationalError);
    expect(outcome).toMatchObject({ retryable: true, message: expect.stringContaining("throttled") });
  });

  test("one command's failure is its own", async () => {
    proxy.spoil("UpdateItem", { reply: { status: 400, body: { __type: "x#AccessDeniedException", message: "no" } } });
    const key = newKey();
    const [first, second] = await backend.apply([final(newKey(), "a"), claim(key, "a")]);
    expect(first).toMatchObject({ retryable: true, message: expect.stringContaining("allow dynamodb:UpdateItem") });
    expect(second).toMatchObject({ type: "claimed" });
  });

  test("keys that DynamoDB did not get to are asked for again", async () => {
    const keys = Array.from({ length: 30 }, newKey);
    await backend.apply(keys.map((key) => claim(key, key)));
    proxy.reset();
    proxy.spoil("BatchGetItem", {
      // It gets to the first ten of them.
      request: (body) => ({ RequestItems: pick(body["RequestItems"], 0, 10) }),
      response: (body, asked) => ({ ...body, UnprocessedKeys: pick(asked["RequestItems"], 10, 100) }),
    });
    const rows = await backend.read(keys, { consistent: true });
    expect(rows.map((row) => row?.owner)).toEqual(keys);
    expect(proxy.count("BatchGetItem")).toBe(2);
  });

  test("keys that it never gets to are an error that passes, not rows that are missing", async () => {
    proxy.spoil(
      "BatchGetItem",
      { response: (_, asked) => ({ Responses: {}, UnprocessedKeys: asked["RequestItems"] }) },
      100,
    );
    await expect(backend.read([newKey()])).rejects.toMatchObject({ name: "OperationalError", retryable: true });
  });

  test("a row that is too large is not sent", async () => {
    const outcome = await apply(claim(newKey(), "a", { result: JSON.stringify("x".repeat(backend.maxBytes)) }));
    expect(outcome).toBeInstanceOf(PayloadTooLarge);
    expect(outcome).toMatchObject({ limit: 400 * 1024 });
    expect(proxy.count()).toBe(0);
  });

  test("a row as large as is let through, is taken", async () => {
    const key = newKey();
    const room = 2 + key.length + 500;
    const result = `{${"x".repeat(backend.maxBytes - room)}}`;
    expect(await apply(claim(key, "a", { result }))).toMatchObject({ type: "claimed" });
  });

  test("a table that does not exist is named", async () => {
    const other = dynamodb.open(emulatorUrl("dynamodb", proxy, "/nowhere"), context);
    onTestFinished(() => other.close());
    expect(await other.apply([claim(newKey(), "a")])).toMatchObject([
      {
        name: "OperationalError",
        retryable: true,
        message: expect.stringMatching(/no table "nowhere" in us-east-1.*deploy/),
      },
    ]);
  });

  test("a key over DynamoDB's 2,048 bytes goes by its beginning and its hash, in Python's spelling too", async () => {
    const url = emulatorUrl("dynamodb", proxy, "/faults?keys=python");
    const python = dynamodb.open(url, context);
    onTestFinished(() => python.close());
    for (const each of [backend, python]) {
      const keys = ["a", "b"].map((end) => taskKey(`${randomUUID()}${"\u00fc".repeat(2_000)}${end}`));
      expect(await each.apply(keys.map((key) => claim(key, key.slice(-1))))).toMatchObject([
        { type: "claimed" },
        { type: "claimed" },
      ]);
      expect(await each.read(keys)).toMatchObject([{ owner: "a" }, { owner: "b" }]);
    }
  });

  test("a Python worker's spelling of the keys, for a table that it reads", async () => {
    const id = randomUUID();
    const url = emulatorUrl("dynamodb", proxy, "/faults");
    const python = dynamodb.open(`${url}?keys=python`, context);
    onTestFinished(() => python.close());
    await python.apply([claim(taskKey(id), "a")]);
    expect(await python.read([taskKey(id)])).toMatchObject([{ owner: "a" }]);
    expect(await backend.read([`b'celery-task-meta-${id}'`])).toMatchObject([{ owner: "a" }]);
  });
});

/** The keys from one place to another of a BatchGetItem that names one table. */
function pick(requestItems: unknown, from: number, to: number) {
  const [[table, request] = ["", { Keys: [] }]] = Object.entries(requestItems as Record<string, { Keys: unknown[] }>);
  return { [table]: { ...request, Keys: request.Keys.slice(from, to) } };
}

describe.skipIf(ministack === undefined)("SQS", () => {
  let proxy: FaultProxy;
  beforeAll(async () => {
    proxy = await startFaultProxy((ministack as Emulator).endpoint);
  });
  afterAll(() => proxy.close());

  async function setUp(): Promise<Broker> {
    const url = emulatorUrl("sqs", proxy, `?queue_name_prefix=${randomUUID()}.&wait_time_seconds=1`);
    await sqs.createQueues(url, ["media", "orders.fifo"]);
    const broker = sqs.open(url, context);
    onTestFinished(() => broker.close());
    proxy.reset();
    return broker;
  }
  const entries = (count: number, queue = "media") =>
    Array.from({ length: count }, (_, index) => ({ queue, body: `${index}` }));
  const drain = async (broker: Broker, queue = "media") => {
    const bodies: string[] = [];
    for (let some = await broker.receive(queue, { max: 10, wait: 0 }); some.length > 0; ) {
      bodies.push(...some.map(({ body }) => body));
      await broker.delete(some);
      some = await broker.receive(queue, { max: 10, wait: 0 });
    }
    return bodies;
  };
  const inOrder = (bodies: readonly string[]) => [...bodies].sort((a, b) => Number(a) - Number(b));

  /** SQS takes all entries of a request but some. */
  const refuse = (bodies: readonly string[], senderFault: boolean) => {
    const isRefused = (entry: { MessageBody: string }) => bodies.includes(entry.MessageBody);
    type Entries = { Id: string; MessageBody: string }[];
    return {
      request: (body: Record<string, unknown>) => ({
        ...body,
        Entries: (body["Entries"] as Entries).filter((entry) => !isRefused(entry)),
      }),
      response: (body: Record<string, unknown>, asked: Record<string, unknown>) => ({
        Successful: body["Successful"] ?? [],
        Failed: (asked["Entries"] as Entries).filter(isRefused).map(({ Id }) => ({
          Id,
          Code: senderFault ? "InvalidParameterValue" : "InternalError",
          SenderFault: senderFault,
        })),
      }),
    };
  };

  test("25 messages are three requests and one look-up of the queue", async () => {
    const broker = await setUp();
    expect(await broker.send(entries(25))).toEqual(entries(25).map(() => undefined));
    await broker.send(entries(1));
    expect(proxy.count("SendMessageBatch")).toBe(4);
    expect(proxy.count("GetQueueUrl")).toBe(1);
  });

  test("a request holds one mebibyte, and what does not fit goes into the next", async () => {
    const broker = await setUp();
    const large = Array.from({ length: 5 }, (_, index) => ({ queue: "media", body: String(index).repeat(400_000) }));
    expect(await broker.send(large)).toEqual(large.map(() => undefined));
    expect(proxy.count("SendMessageBatch")).toBe(3);
    expect((await drain(broker)).map((body) => body[0]).sort()).toEqual(["0", "1", "2", "3", "4"]);
  });

  test("entries that SQS failed to take are sent again, alone, and nothing is lost or doubled", async () => {
    const broker = await setUp();
    proxy.spoil("SendMessageBatch", refuse(["2", "7"], false));
    expect(await broker.send(entries(10))).toEqual(entries(10).map(() => undefined));
    expect(proxy.count("SendMessageBatch")).toBe(2);
    expect(inOrder(await drain(broker))).toEqual(entries(10).map(({ body }) => body));
  });

  test("the sender of an entry that SQS never takes is told so, and only he", async () => {
    const broker = await setUp();
    proxy.spoil("SendMessageBatch", refuse(["2"], false));
    proxy.spoil(
      "SendMessageBatch",
      {
        response: (_, asked) => ({
          Failed: (asked["Entries"] as { Id: string }[]).map(({ Id }) => ({
            Id,
            Code: "InternalError",
            SenderFault: false,
          })),
        }),
        request: (body) => body,
      },
      10,
    );
    const settled = await broker.send(entries(5));
    expect(settled.map((error) => error?.name)).toEqual([
      undefined,
      undefined,
      "OperationalError",
      undefined,
      undefined,
    ]);
    expect(settled[2]).toMatchObject({ retryable: true });
  });

  test("an entry that is the sender's own fault is refused for good, at once", async () => {
    const broker = await setUp();
    proxy.spoil("SendMessageBatch", refuse(["0"], true));
    const settled = await broker.send(entries(3));
    expect(settled[0]).toMatchObject({ name: "OperationalError", retryable: false });
    expect(settled.slice(1)).toEqual([undefined, undefined]);
    expect(proxy.count("SendMessageBatch")).toBe(1);
  });

  test("a request refused for one entry's sake is sent entry by entry", async () => {
    const broker = await setUp();
    const invalid = {
      reply: { status: 400, body: { __type: "com.amazonaws.sqs#InvalidMessageContents", message: "bad" } },
    };
    proxy.spoil("SendMessageBatch", invalid);
    proxy.spoil("SendMessageBatch", {});
    proxy.spoil("SendMessageBatch", invalid);
    const settled = await broker.send(entries(3));
    expect(settled.map((error) => error?.name)).toEqual([undefined, "OperationalError", undefined]);
    expect(inOrder(await drain(broker))).toEqual(["0", "2"]);
  });

  test("a throttled request is tried again, and each caller is told when it stays so", async () => {
    const broker = await setUp();
    proxy.spoil("SendMessageBatch", throttled("SQS"));
    expect(await broker.send(entries(3))).toEqual([undefined, undefined, undefined]);
    proxy.spoil("SendMessageBatch", throttled("SQS"), 20);
    for (const error of await broker.send(entries(3))) {
      expect(error).toMatchObject({ name: "OperationalError", retryable: true });
    }
    proxy.reset();
    expect(await drain(broker)).toHaveLength(3);
  });

  test("a FIFO queue keeps its order over an entry that had to be sent again and over requests", async () => {
    const broker = await setUp();
    proxy.spoil("SendMessageBatch", refuse(["9"], false));
    await broker.send(entries(25, "orders.fifo"));
    expect(await drain(broker, "orders.fifo")).toEqual(entries(25).map(({ body }) => body));
  });

  test("a FIFO entry that others of its group have overtaken is not sent behind them; its sender is told", async () => {
    const broker = await setUp();
    const grouped = entries(10, "orders.fifo").map((entry, index) => ({ ...entry, groupId: index === 5 ? "b" : "a" }));
    proxy.spoil("SendMessageBatch", refuse(["2", "5", "8", "9"], false));
    const settled = await broker.send(grouped);
    expect(settled.flatMap((error, index) => (error === undefined ? [] : [index]))).toEqual([2]);
    expect(settled[2]).toMatchObject({
      name: "OperationalError",
      retryable: true,
      message: expect.stringMatching(/InternalError.*not tried again, because a later message of its group was taken/),
    });
    // The last ones of a group, and those of others, are sent again.
    expect(proxy.count("SendMessageBatch")).toBe(2);
    const sent = await drain(broker, "orders.fifo");
    expect(sent.filter((body) => body !== "5")).toEqual(["0", "1", "3", "4", "6", "7", "8", "9"]);
    expect(sent).toContain("5");
  });

  test("a FIFO message whose reply was lost is in the queue once", async () => {
    const broker = await setUp();
    proxy.spoil("SendMessageBatch", { loseReply: true });
    expect(await broker.send(entries(1, "orders.fifo"))).toEqual([undefined]);
    expect(proxy.count("SendMessageBatch")).toBe(2);
    expect(await drain(broker, "orders.fifo")).toEqual(["0"]);
  });

  test("one of a standard queue is there twice, in the same words: nobody can know that it was taken", async () => {
    const broker = await setUp();
    proxy.spoil("SendMessageBatch", { loseReply: true });
    const letter = { queue: "media", body: "0", attributes: { deadAt: "2026-11-20T14:10:00Z" } };
    expect(await broker.send([letter])).toEqual([undefined]);
    const copies = await broker.receive("media", { max: 10, wait: 1000 });
    expect(copies.map(({ body, attributes }) => ({ queue: "media", body, attributes }))).toEqual([letter, letter]);
    expect(new Set(copies.map(({ messageId }) => messageId)).size).toBe(2);
    await broker.delete(copies);
  });

  /** A long poll that SQS has given a message, and whose reply is on its way until `arrive` is called. */
  async function pollUnderWay(broker: Broker) {
    const controller = new AbortController();
    const handedOut = Promise.withResolvers<void>();
    const { promise: arrival, resolve: arrive } = Promise.withResolvers<void>();
    await broker.send(entries(1));
    proxy.spoil("ReceiveMessage", {
      async response(body) {
        handedOut.resolve();
        await arrival;
        return body;
      },
    });
    const poll = broker.receive("media", { max: 10, wait: 20_000, signal: controller.signal });
    await handedOut.promise;
    return { poll, abort: () => controller.abort(), arrive };
  }

  test("what a long poll brings after it was aborted is handed back at once", async () => {
    const broker = await setUp();
    const { poll, abort, arrive } = await pollUnderWay(broker);
    abort();
    expect(await poll).toEqual([]);
    arrive();
    expect(await broker.receive("media", { max: 10, wait: 5000 })).toMatchObject([{ body: "0", receiveCount: 2 }]);
  });

  test("closing waits for what a long poll still brings, and hands it back", async () => {
    const broker = await setUp();
    const { poll, arrive } = await pollUnderWay(broker);
    const closed = broker.close();
    expect(await poll).toEqual([]);
    expect(proxy.count("ChangeMessageVisibilityBatch")).toBe(0);
    arrive();
    await closed;
    expect(proxy.count("ChangeMessageVisibilityBatch")).toBe(1);
  });

  test("closing waits for what is being sent, handed back and deleted", async () => {
    const broker = await setUp();
    await broker.send(entries(2));
    const [one, other] = await broker.receive("media", { max: 2, wait: 5000 });
    const gate = Promise.withResolvers<void>();
    const order: string[] = [];
    const response = (body: Record<string, unknown>) => {
      order.push("answered");
      return body;
    };
    for (const action of ["SendMessageBatch", "ChangeMessageVisibilityBatch", "DeleteMessageBatch"])
      proxy.spoil(action, { before: () => gate.promise, response });
    void broker.send(entries(1));
    void broker.changeVisibility([{ delivery: one as Delivery, visibility: 0 }]);
    void broker.delete([other as Delivery]);
    const closed = broker.close().then(() => order.push("closed"));
    gate.resolve();
    await closed;
    expect(order).toEqual(["answered", "answered", "answered", "closed"]);
  });

  test("a queue that nobody made is named, with what makes it, and the others' entries are sent", async () => {
    const broker = await setUp();
    const [missing, sent] = await broker.send([{ queue: "nowhere", body: "x" }, ...entries(1)]);
    expect(missing).toBeInstanceOf(QueueNotFound);
    expect(missing).toMatchObject({ queue: "nowhere", message: expect.stringMatching(/-nowhere".*cdk deploy/) });
    expect(sent).toBeUndefined();
    await expect(broker.receive("nowhere", { max: 1, wait: 0 })).rejects.toBeInstanceOf(QueueNotFound);
  });

  test("predefined queues are not looked up", async () => {
    const broker = await setUp();
    await broker.send(entries(1));
    const prefix = `${randomUUID()}-`;
    const url = emulatorUrl("sqs", proxy, `?queue_name_prefix=${prefix}`);
    await sqs.createQueues(url, ["media"]);
    const predefined = { [`${prefix}media`]: { url: `${proxy.endpoint}/000000000000/${prefix}media` } };
    const app = new Lovage("shop", {
      brokerUrl: url,
      resultBackend: "memory://",
      brokerTransportOptions: { predefinedQueues: predefined },
    });
    onTestFinished(() => app.close());
    proxy.reset();
    await app.sendTask("tasks.add", [], { queue: "media" });
    expect(proxy.count("GetQueueUrl")).toBe(0);
    expect(proxy.count("SendMessageBatch")).toBe(1);
  });

  test("a predefined queue that is gone is named, and is not taken for another of its name", async () => {
    const prefix = `${randomUUID()}-`;
    const url = emulatorUrl("sqs", proxy, `?queue_name_prefix=${prefix}`);
    await sqs.createQueues(url, ["media"]);
    const predefined = { [`${prefix}media`]: { url: `${proxy.endpoint}/000000000000/${prefix}elsewhere` } };
    const broker = sqs.open(url, { ...context, options: { predefined_queues: predefined } });
    onTestFinished(() => broker.close());
    proxy.reset();
    for (let time = 0; time < 2; time++) {
      const [missing] = await broker.send(entries(1));
      expect(missing).toBeInstanceOf(QueueNotFound);
      expect(missing?.message).toMatch(/SQS has none named .* in us-east-1 .* whether predefined_queues is right/);
    }
    expect(proxy.count("GetQueueUrl")).toBe(0);
    await sqs.createQueues(url, ["elsewhere"]);
    expect(await broker.send(entries(1))).toEqual([undefined]);
  });

  test("a queue that takes 256 KiB, as those do that are older or Python's, is sent what it takes, and who sends more is told", async () => {
    const prefix = `${randomUUID()}.`;
    const brokerUrl = emulatorUrl("sqs", proxy, `?queue_name_prefix=${prefix}`);
    await sqs.createQueues(brokerUrl, ["media"]);
    const client = new SQSClient({
      endpoint: proxy.endpoint,
      region: "us-east-1",
      credentials: { accessKeyId: "test", secretAccessKey: "test" },
    });
    onTestFinished(() => client.destroy());
    const { QueueUrl } = await client.send(new GetQueueUrlCommand({ QueueName: `${prefix.replace(".", "-")}media` }));
    await client.send(
      new SetQueueAttributesCommand({ QueueUrl, Attributes: { MaximumMessageSize: String(LEAST_MAX_BYTES) } }),
    );
    const app = new Lovage("shop", { brokerUrl, resultBackend: "memory://", taskQueues: { media: {} } });
    onTestFinished(() => app.close());
    proxy.reset();
    const send = (text: string) => app.sendTask("tasks.keep", [text], { queue: "media" });
    const [repeated, random, small] = await Promise.allSettled([
      send("abc".repeat(130_000)),
      send(randomBytes(250_000).toString("base64")),
      send("x"),
    ]);
    expect([repeated.status, small.status]).toEqual(["fulfilled", "fulfilled"]);
    expect(random).toMatchObject({ reason: { name: "PayloadTooLarge", limit: LEAST_MAX_BYTES } });
    const sizes = (await drain(await app.engine.broker())).map((body) => body.length);
    expect(sizes).toHaveLength(2);
    expect(Math.max(...sizes)).toBeLessThan(10_000);
    expect(proxy.count("GetQueueAttributes")).toBe(1);
  });

  test("a receive hides for as long as it says, else as visibility_timeout says, else as the queue does", async () => {
    const broker = await setUp();
    const asked: unknown[] = [];
    const remember = {
      response(body: Record<string, unknown>, request: Record<string, unknown>) {
        asked.push(request["VisibilityTimeout"]);
        return body;
      },
    };
    proxy.spoil("ReceiveMessage", remember, 3);
    const prefix = `${randomUUID()}-`;
    const url = emulatorUrl("sqs", proxy, `?queue_name_prefix=${prefix}`);
    await sqs.createQueues(url, ["media"]);
    const other = sqs.open(url, { ...context, options: { visibility_timeout: 3600 } });
    onTestFinished(() => other.close());
    await other.receive("media", { max: 1, wait: 0, visibility: 1500 });
    await other.receive("media", { max: 1, wait: 0 });
    await broker.receive("media", { max: 1, wait: 0 });
    expect(asked).toEqual([2, 3600, undefined]);
  });

  test("queues are listed by the prefix, without it, dead letters included", async () => {
    const broker = await setUp();
    expect(await broker.queues()).toEqual(["media", "media-dlq", "orders-dlq.fifo", "orders.fifo"]);
  });

  test("a size tells ready, delayed and in flight apart, and a purge empties", async () => {
    const broker = await setUp();
    await broker.send([...entries(3), { queue: "media", body: "later", delaySeconds: 60 }]);
    await broker.receive("media", { max: 1, wait: 0 });
    expect(await broker.size("media")).toEqual({ ready: 2, delayed: 1, inFlight: 1 });
    await broker.purge("media");
    expect(await drain(broker)).toEqual([]);
  });
});
