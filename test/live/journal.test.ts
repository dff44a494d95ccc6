/** What the journal costs in requests and write units, and that no outcome suffers from it, whatever becomes of its table. */
import { randomUUID } from "node:crypto";
import { group, type JournalEntry, Lovage } from "lovage";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import { type BackendContext, taskKey } from "../../src/results/backend.ts";
import * as dynamodb from "../../src/results/dynamodb.ts";
import type { Claim, Final } from "../../src/results/record.ts";
import { testFunction } from "../lambda/function.ts";
import { emulator, emulatorUrl } from "./emulators.ts";
import { type Fault, type FaultProxy, startFaultProxy, throttled } from "./fault-proxy.ts";

const dynamodbLocal = await emulator("dynamodb");

const ALWAYS = { failures: false, from: 0, to: Number.POSITIVE_INFINITY };

describe.skipIf(dynamodbLocal === undefined)("the journal on DynamoDB", () => {
  let proxy: FaultProxy;
  let url: string;
  beforeAll(async () => {
    proxy = await startFaultProxy((dynamodbLocal as Emulator).endpoint);
    url = emulatorUrl("dynamodb", proxy, "/celery");
    await dynamodb.createTable(url);
    await dynamodb.createJournalTable(url, "journal");
  });
  afterAll(() => proxy.close());
  beforeEach(() => proxy.reset());

  /** Statements of requests as they came. */
  interface Asked {
    readonly Statements: readonly {
      readonly Statement: string;
      readonly Parameters: readonly { readonly S?: string; readonly B?: string; readonly N?: string }[];
    }[];
  }

  /** What a write unit is counted by: names and values of an item, in bytes. */
  function unitsOf(asked: readonly Asked[]): readonly number[] {
    return asked
      .flatMap(({ Statements }) => Statements)
      .filter(({ Statement }) => Statement.includes('"journal"'))
      .map(({ Parameters }) => {
        const values = Parameters.map(
          ({ S = "", B = "", N = "" }) => S.length + Buffer.from(B, "base64").length + N.length,
        );
        const size = values.reduce((sum, value) => sum + value, "bucketatentriesttl".length);
        return Math.ceil(size / 1024);
      });
  }

  /** A function that is given ten messages at once, as SQS gives them; what it asked of DynamoDB. */
  async function tenTasks(work: (n: number) => unknown, config: { readonly journal?: boolean } = {}) {
    const app = new Lovage("shop", {});
    const resize = app.task("media.thumbnails.resize", (n: number, _: object) => work(n));
    const f = testFunction(app, {
      // Ahead of the emulator's own clock, which deletes what has expired by that.
      now: new Date(Date.UTC(2040, 0)),
      config: {
        ...config,
        resultBackend: url,
        resultBackendTransportOptions: { globalKeyprefix: `${randomUUID()}-` },
      },
    });
    // Ids as they are in production: nothing of them repeats.
    const members = Array.from({ length: 10 }, (_, n) => {
      const image = { key: `uploads/2026/11/${randomUUID()}.png`, width: 100 + n, height: 200 };
      return resize.s(n, image).set({ taskId: randomUUID() });
    });
    await group(members).applyAsync([], { taskId: randomUUID() });
    const asked: Asked[] = [];
    const record: Fault = {
      request(body) {
        asked.push(body as unknown as Asked);
        return body;
      },
    };
    proxy.reset();
    proxy.spoil("BatchExecuteStatement", record, 1000);
    const { batchItemFailures } = await f.invoke(await f.receive());
    expect(batchItemFailures).toEqual([]);
    const requests = proxy.count();
    const entries: JournalEntry[] = [];
    if (config.journal !== false) for await (const entry of app.journal.find()) entries.push(entry);
    return { requests, entries, units: unitsOf(asked) };
  }

  test("costs ten tasks of a batch no further request, and at most 0.2 write units a task", async () => {
    const without = await tenTasks((n) => n, { journal: false });
    const { requests, entries, units } = await tenTasks((n) => n);
    expect(entries).toHaveLength(10);
    expect([without.requests, requests]).toEqual([2, 2]);
    expect(units.reduce((sum, unit) => sum + unit, 0)).toBeLessThanOrEqual(2);
  });

  test("costs an item more where some fail, which waits for nobody", async () => {
    const { requests, entries, units } = await tenTasks((n) => {
      if (n % 5 === 0) throw new TypeError("Cannot read properties of undefined (reading 'width')");
      return n;
    });
    expect(entries.filter(({ state }) => state === "FAILURE")).toHaveLength(2);
    expect(entries).toHaveLength(10);
    expect(requests).toBe(2);
    expect(units.reduce((sum, unit) => sum + unit, 0)).toBeLessThanOrEqual(3);
  });

  describe("whose table", () => {
    const failed: unknown[] = [];
    let now: number;
    beforeEach(() => {
      failed.length = 0;
      now = Date.now();
    });

    async function open(make = true) {
      const table = `journal-${randomUUID()}`;
      if (make) await dynamodb.createJournalTable(url, table);
      const journal = { expires: 3600, table, scope: "", failed: (error: unknown) => void failed.push(error) };
      const context: BackendContext = { now: () => now, random: Math.random, options: {}, journal };
      const backend = dynamodb.open(url, context);
      onTestFinished(() => backend.close());
      /** Ten tasks, from their claims to their outcomes. */
      async function tenOutcomes(more: (n: number) => Partial<Final> = () => ({})) {
        const ids = Array.from({ length: 10 }, () => randomUUID());
        const claims = ids.map(
          (id): Claim => ({
            type: "claim",
            key: taskKey(id),
            now,
            attempt: 0,
            owner: id,
            lease: now + 60_000,
            result: "{}",
            hidden: false,
          }),
        );
        for (const outcome of await backend.apply(claims)) expect(outcome).toMatchObject({ type: "claimed" });
        proxy.reset();
        return {
          ids,
          finals: ids.map(
            (id, n): Final => ({
              type: "final",
              key: taskKey(id),
              now,
              attempt: 0,
              owner: id,
              result: "{}",
              done: true,
              hidden: false,
              entry: { time: now, kind: "task", id, state: "SUCCESS" },
              ...more(n),
            }),
          ),
        };
      }
      async function told(): Promise<(string | undefined)[]> {
        const entries: JournalEntry[] = [];
        for await (const page of backend.journal?.read(ALWAYS) ?? []) entries.push(...page);
        return entries.map(({ id }) => id).sort();
      }
      return { table, backend, tenOutcomes, told };
    }
    const written = Array.from({ length: 10 }, () => ({ type: "written", revoked: undefined }));
    const answering = (Code: string): Fault => ({
      response: (body, asked) => {
        const { Statements } = asked as unknown as Asked;
        const Responses = (body["Responses"] as unknown[]).map((one, index) =>
          Statements[index]?.Statement.includes('"journal-') ? { Error: { Code, Message: "as AWS says" } } : one,
        );
        return { ...body, Responses };
      },
    });
    /** AWS does not do what it then says it did not do. */
    const withoutJournal = (Code: string): Fault => ({
      request: (body) => {
        const { Statements } = body as unknown as Asked;
        return { ...body, Statements: Statements.filter(({ Statement }) => !Statement.includes('"journal-')) };
      },
      response: (body) => ({
        ...body,
        Responses: [...(body["Responses"] as unknown[]), { Error: { Code, Message: "as AWS says" } }],
      }),
    });

    test("is missing: outcomes are stored in as many requests, and it is asked again a minute later", async () => {
      const { table, backend, tenOutcomes, told } = await open(false);
      const first = await tenOutcomes();
      expect(await backend.apply(first.finals)).toEqual(written);
      expect(proxy.count()).toBe(1);
      expect(failed).toHaveLength(1);
      expect(String(failed[0])).toContain(`${table} took no entries (ResourceNotFound`);
      expect(String(failed[0])).toContain("deploy it (TaskQueues makes it), or turn the journal off (journal: false)");
      const second = await tenOutcomes();
      expect(await backend.apply(second.finals)).toEqual(written);
      expect(failed).toHaveLength(1);
      await expect(told()).rejects.toThrow(`there is no table "${table}"`);
      await dynamodb.createJournalTable(url, table);
      now += 60_000;
      const third = await tenOutcomes();
      expect(await backend.apply(third.finals)).toEqual(written);
      expect(await told()).toEqual(third.ids.toSorted());
    });

    test("may not be written: the warning says which right mends it", async () => {
      const { backend, tenOutcomes } = await open();
      const { finals } = await tenOutcomes();
      proxy.spoil("BatchExecuteStatement", answering("AccessDenied"));
      expect(await backend.apply(finals)).toEqual(written);
      expect(String(failed[0])).toContain("needs dynamodb:PartiQLInsert and dynamodb:PutItem");
      expect(proxy.count()).toBe(1);
    });

    test("is why the whole request is refused: outcomes are stored without it", async () => {
      const { backend, tenOutcomes } = await open();
      const { finals } = await tenOutcomes();
      proxy.spoil("BatchExecuteStatement", {
        reply: { status: 400, body: { __type: "x#AccessDeniedException", message: "no" } },
      });
      expect(await backend.apply(finals)).toEqual(written);
      expect([proxy.count("BatchExecuteStatement"), proxy.count()]).toEqual([2, 2]);
      expect(failed).toHaveLength(1);
    });

    test("is throttled: what it has not taken comes with the next", async () => {
      const { backend, tenOutcomes, told } = await open();
      const first = await tenOutcomes();
      proxy.spoil("BatchExecuteStatement", withoutJournal("ThrottlingError"));
      expect(await backend.apply(first.finals)).toEqual(written);
      expect(proxy.count()).toBe(1);
      const second = await tenOutcomes();
      expect(await backend.apply(second.finals)).toEqual(written);
      expect(await told()).toEqual([...first.ids, ...second.ids].sort());
    });

    test("is written in a request whose reply is lost: each entry is there once", async () => {
      const { backend, tenOutcomes, told } = await open();
      const { ids, finals } = await tenOutcomes();
      proxy.spoil("BatchExecuteStatement", { loseReply: true });
      expect(await backend.apply(finals)).toEqual(written);
      expect(await told()).toEqual(ids.toSorted());
    });

    test("is told of outcomes that were refused, or could not be stored: they are taken back", async () => {
      const { backend, tenOutcomes, told } = await open();
      const { ids, finals } = await tenOutcomes((n) => (n < 3 ? { owner: "somebody else" } : {}));
      expect((await backend.apply(finals)).slice(0, 3)).toMatchObject([
        { type: "refused" },
        { type: "refused" },
        { type: "refused" },
      ]);
      expect(await told()).toEqual(ids.slice(3).sort());
      const throttledTasks = await tenOutcomes();
      proxy.spoil("BatchExecuteStatement", throttled("DynamoDB"), 20);
      for (const outcome of await backend.apply(throttledTasks.finals)) expect(outcome).toBeInstanceOf(Error);
      proxy.reset();
      expect(await told()).toEqual(ids.slice(3).sort());
    });

    test("gets one item of tasks that end one after the other, with the outcome of the last", async () => {
      const { backend, tenOutcomes, told } = await open();
      const { ids, finals } = await tenOutcomes();
      for (const final of finals.slice(0, 9)) expect(await backend.apply([final])).toEqual(written.slice(0, 1));
      expect([proxy.count("UpdateItem"), proxy.count()]).toEqual([9, 9]);
      expect(await backend.apply(finals.slice(9))).toEqual(written.slice(0, 1));
      expect([proxy.count("BatchExecuteStatement"), proxy.count()]).toEqual([1, 10]);
      expect(await told()).toEqual(ids.toSorted());
    });

    test("hears of a failure at once, with what waited until then", async () => {
      const { backend, tenOutcomes, told } = await open();
      const { ids, finals } = await tenOutcomes((n) =>
        n === 1 ? { entry: { time: now, kind: "task", id: "failed", state: "FAILURE" } } : {},
      );
      await backend.apply(finals.slice(0, 1));
      expect(await told()).toEqual([]);
      await backend.apply(finals.slice(1, 2));
      expect(await told()).toEqual([ids[0], "failed"].sort());
    });

    test("gets what waits for others when nobody is left, and when the backend is closed", async () => {
      const { backend, tenOutcomes, told } = await open();
      const { ids, finals } = await tenOutcomes();
      expect(await backend.apply(finals.slice(0, 8))).toEqual(written.slice(0, 8));
      expect(await told()).toEqual([]);
      const [last, given] = [ids[8] ?? "", ids[9] ?? ""];
      await backend.apply([{ type: "release", key: taskKey(given), owner: given, now }]);
      expect(await told()).toEqual([]);
      await backend.apply([{ type: "release", key: taskKey(last), owner: last, now }]);
      expect(await told()).toEqual(ids.slice(0, 8).sort());
      const more = await tenOutcomes();
      await backend.apply(more.finals.slice(0, 2));
      await backend.close();
      expect(await told()).toEqual([...ids.slice(0, 8), ...more.ids.slice(0, 2)].sort());
    });
  });
});
