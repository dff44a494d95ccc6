import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { type Broker, type Delivery, isFifo } from "../../src/brokers/broker.ts";
import * as memory from "../../src/brokers/memory.ts";
import * as sqlite from "../../src/brokers/sqlite.ts";
import { ImproperlyConfigured, OperationalError } from "../../src/errors.ts";
import { describeBroker } from "./broker.ts";

const features = { virtualTime: true, deduplicatesPlain: true, exactSizes: true, countsPurged: true, patience: 0 };

/** A clock that moves by hand. */
function clock() {
  let time = Date.now();
  const advance = (ms: number) => {
    time += ms;
  };
  return { now: () => time, advance };
}

let stores = 0;

describeBroker(
  "memory",
  async () => {
    const { now, advance } = clock();
    return {
      broker: memory.open(`memory://contract-${++stores}`, { now, random: () => 0.5, options: {} }),
      advance,
      close: () => undefined,
    };
  },
  features,
);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lovage-contract-"));
});
afterAll(() => rm(folder, { recursive: true }));

describeBroker(
  "SQLite",
  async () => {
    const { now, advance } = clock();
    const url = `sqlite:///${join(folder, `${++stores}.db`)}`;
    return { broker: await sqlite.open(url, { now, random: () => 0.5, options: {} }), advance, close: () => undefined };
  },
  features,
);

/** What a run does, and to which of the deliveries it holds. */
type Step =
  | {
      readonly type: "send";
      readonly queue: string;
      readonly priority: number;
      readonly delay: number;
      readonly group: string;
      readonly id: string | undefined;
    }
  | { readonly type: "receive"; readonly queue: string; readonly max: number; readonly visibility: number }
  | { readonly type: "delete" | "purge"; readonly pick: number }
  | { readonly type: "hide"; readonly pick: number; readonly visibility: number }
  | { readonly type: "advance"; readonly ms: number };

const queue = fc.constantFrom("plain", "ordered.fifo");
const pick = fc.nat(50);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant("send" as const),
      queue,
      priority: fc.nat(3),
      delay: fc.constantFrom(0, 0, 0, 1, 2),
      group: fc.constantFrom("a", "b", "c"),
      id: fc.option(fc.constantFrom("x", "y", "z"), { nil: undefined }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant("receive" as const),
      queue,
      max: fc.integer({ min: 1, max: 4 }),
      visibility: fc.constantFrom(0, 1000, 3000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("delete" as const), pick }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("purge" as const), pick: fc.constantFrom(0, 1) }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant("hide" as const), pick, visibility: fc.constantFrom(0, 1000, 3000) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant("advance" as const), ms: fc.constantFrom(500, 1000, 2000, 300_000) }),
  },
);

test("memory and SQLite give the same answers to the same calls", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const { now, advance } = clock();
      const context = { now, random: () => 0.5, options: {} };
      const brokers = [
        memory.open(`memory://alike-${++stores}`, context),
        await sqlite.open(`sqlite:///${join(folder, `alike-${stores}.db`)}`, context),
      ] as const;
      const both = async <T>(call: (broker: Broker) => Promise<T>): Promise<T> => {
        const [inMemory, inFile] = await Promise.all([call(brokers[0]), call(brokers[1])]);
        expect(inFile).toEqual(inMemory);
        return inFile;
      };
      const held: Delivery[] = [];
      let sent = 0;
      for (const step of steps) {
        const chosen = "pick" in step ? held[step.pick % Math.max(1, held.length)] : undefined;
        switch (step.type) {
          case "send": {
            const { queue, priority, delay, group: groupId, id: deduplicationId } = step;
            const delaySeconds = queue === "plain" ? delay : 0;
            sent++;
            await both((broker) =>
              broker.send([
                {
                  queue,
                  body: `${sent}`,
                  priority,
                  delaySeconds,
                  // Whose turn it is among tenants is each broker's own; within one the order is the same.
                  groupId: isFifo(queue) ? groupId : "a",
                  ...(deduplicationId && { deduplicationId }),
                },
              ]),
            );
            break;
          }
          case "receive":
            held.push(
              ...(await both((broker) =>
                broker.receive(step.queue, { max: step.max, visibility: step.visibility, wait: 0 }),
              )),
            );
            break;
          case "delete":
            if (chosen) await both((broker) => broker.delete([chosen]));
            break;
          case "purge":
            await both((broker) => broker.purge(["plain", "ordered.fifo"][step.pick] ?? ""));
            break;
          case "hide":
            if (chosen)
              await both((broker) => broker.changeVisibility([{ delivery: chosen, visibility: step.visibility }]));
            break;
          case "advance":
            advance(step.ms);
            break;
          default:
            step satisfies never;
        }
        for (const queue of ["plain", "ordered.fifo"]) await both((broker) => broker.size(queue));
      }
      await both((broker) => broker.queues());
      await both((broker) => broker.close());
    }),
    { numRuns: 40 },
  );
});

const real = { now: Date.now, random: Math.random, options: {} };

// JavaScript puts the second of these before the first and the third, UTF-8 behind both.
test.each([
  ["memory", () => memory.open(`memory://names-${++stores}`, real)],
  ["SQLite", () => sqlite.open(`sqlite:///${join(folder, `names-${++stores}.db`)}`, real)],
])(
  "%s: behind hundreds of texts of blocked groups the next group is found, whatever their names are",
  async (_, open) => {
    const broker = await open();
    onTestFinished(() => broker.close());
    const [one, two, three] = ["\uFF01", "\u{1F600}", "\uFF02"];
    const send = (groupId: string, count: number) =>
      broker.send(
        Array.from({ length: count }, (_, index) => ({ queue: "q.fifo", body: `${groupId} ${index}`, groupId })),
      );
    const take = async () => (await broker.receive("q.fifo", { max: 1, wait: 0 })).map(({ groupId }) => groupId);
    await send(one, 2);
    expect(await take()).toEqual([one]);
    await send(two, 300);
    expect(await take()).toEqual([two]);
    await send(three, 1);
    expect(await take()).toEqual([three]);
    expect(await take()).toEqual([]);
  },
);

test.each([
  ["memory", () => memory.open(`memory://real-${++stores}`, real)],
  ["SQLite", () => sqlite.open(`sqlite:///${join(folder, `real-${++stores}.db`)}`, real)],
])("%s: a receive from a closed broker fails", async (_, open) => {
  const broker = await open();
  await broker.receive("q", { max: 1, wait: 0 });
  const waiting = broker.receive("q", { max: 1, wait: 40_000 });
  await new Promise((resolve) => setImmediate(resolve));
  await broker.close();
  expect(await waiting).toEqual([]);
  await expect(broker.receive("q", { max: 1, wait: 40_000 })).rejects.toThrow(OperationalError);
});

test.each([
  ["memory", () => memory.open(`memory://real-${++stores}`, real)],
  ["SQLite", () => sqlite.open(`sqlite:///${join(folder, `real-${++stores}.db`)}`, real)],
])("%s: a receive that waits gets a text when its delay, or its visibility, is over", async (_, open) => {
  const broker = await open();
  onTestFinished(() => broker.close());
  const from = performance.now();
  await broker.send([{ queue: "q", body: "x", delaySeconds: 0.03 }]);
  expect(await broker.receive("q", { max: 1, wait: 40_000, visibility: 30 })).toMatchObject([{ receiveCount: 1 }]);
  expect(await broker.receive("q", { max: 1, wait: 40_000 })).toMatchObject([{ receiveCount: 2 }]);
  expect(performance.now() - from).toBeGreaterThan(55);
  expect(performance.now() - from).toBeLessThan(20_000);
});

test("memory brokers of one name are one, of two names two, and the last to close takes the messages along", async () => {
  const name = `memory://shared-${++stores}`;
  const [a, b, other] = [memory.open(name, real), memory.open(name, real), memory.open(`${name}-other`, real)];
  await a.send([{ queue: "q", body: "x" }]);
  await a.close();
  await a.close();
  expect((await b.size("q")).ready).toBe(1);
  expect(await other.queues()).toEqual([]);
  await b.close();
  const again = memory.open(name, real);
  expect(await again.queues()).toEqual([]);
  await Promise.all([again.close(), other.close()]);
});

test("a memory URL with parameters is refused", () => {
  expect(() => memory.open("memory://?a=1", real)).toThrow(ImproperlyConfigured);
});

test("what is hidden again and again in memory keeps its place", async () => {
  const broker = memory.open(`memory://hidden-${++stores}`, real);
  onTestFinished(() => broker.close());
  await broker.send(["a", "b", "c"].map((body) => ({ queue: "q", body })));
  const [delivery] = (await broker.receive("q", { max: 1, wait: 0 })) as [Delivery];
  for (let beat = 0; beat < 500; beat++) await broker.changeVisibility([{ delivery, visibility: 60_000 + beat }]);
  expect(await broker.size("q")).toEqual({ ready: 2, delayed: 0, inFlight: 1 });
  for (let beat = 0; beat < 500; beat++) await broker.changeVisibility([{ delivery, visibility: 0 }]);
  expect((await broker.receive("q", { max: 9, wait: 0 })).map(({ body }) => body)).toEqual(["a", "b", "c"]);
});
