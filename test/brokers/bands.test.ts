/** Priority on a broker that has none: a queue is its bands. Held to the contract of a broker, and to what bands promise. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { withBands } from "../../src/brokers/bands.ts";
import type { Broker, Delivery } from "../../src/brokers/broker.ts";
import * as memory from "../../src/brokers/memory.ts";
import { describeBroker } from "../contract/broker.ts";

const BANDS = [
  { priority: 0, weight: 1 },
  { priority: 5, weight: 2 },
  { priority: 9, weight: 4 },
];

let stores = 0;

/** A broker as SQS is one: it carries a priority, and hands out as it came, ten at a time. */
function plainBroker(now = () => Date.now()): Broker {
  const broker = memory.open(`memory://bands-${++stores}`, { now, random: () => 0.5, options: {} });
  return {
    ...broker,
    limits: { ...broker.limits, priority: false, maxReceive: 10 },
    send: (entries) => broker.send(entries.map(({ priority: _, ...entry }) => entry)),
    receive: (queue, options) => broker.receive(queue, { ...options, max: Math.min(options.max, 10) }),
  };
}

const banded = (broker: Broker, queue = "celery") => withBands(broker, new Map([[queue, BANDS]]));

describeBroker(
  "a queue of three bands",
  async () => {
    let time = Date.now();
    const advance = (ms: number) => {
      time += ms;
    };
    const broker = banded(
      plainBroker(() => time),
      "contract",
    );
    return { broker, advance, close: () => undefined };
  },
  { virtualTime: true, deduplicatesPlain: true, exactSizes: true, countsPurged: true, patience: 0 },
);

const take = (broker: Broker, max = 10) => broker.receive("celery", { max, wait: 0 });
const bodies = (deliveries: readonly Delivery[]) => deliveries.map(({ body }) => body);

test("a priority goes to the highest band that is not above it, and none to the lowest", async () => {
  const inner = plainBroker();
  const broker = banded(inner);
  const priorities = [undefined, 0, 4, 5, 8, 9, 255];
  await broker.send(
    priorities.map((priority) => ({
      queue: "celery",
      body: String(priority),
      ...(priority !== undefined && { priority }),
    })),
  );
  const of = async (queue: string) => bodies(await inner.receive(queue, { max: 10, wait: 0 }));
  expect(await of("celery")).toEqual(["undefined", "0", "4"]);
  expect(await of("celery-priority-5")).toEqual(["5", "8"]);
  expect(await of("celery-priority-9")).toEqual(["9", "255"]);
});

test("the bands are one queue for who lists, counts, takes, deletes, hands back and purges", async () => {
  const inner = plainBroker();
  const broker = banded(inner);
  await broker.send([0, 5, 9].map((priority) => ({ queue: "celery", body: String(priority), priority })));
  await broker.send([{ queue: "other", body: "x", priority: 9 }]);
  expect(await broker.queues()).toEqual(["celery", "other"]);
  expect(await broker.size("celery")).toEqual({ ready: 3, delayed: 0, inFlight: 0 });
  const [high, middle, low] = await take(broker);
  expect([high?.queue, middle?.queue, low?.queue]).toEqual(["celery", "celery", "celery"]);
  await broker.delete([high as Delivery]);
  await broker.changeVisibility([{ delivery: middle as Delivery, visibility: 0 }]);
  expect(await broker.size("celery")).toEqual({ ready: 1, delayed: 0, inFlight: 1 });
  expect(bodies(await take(broker))).toEqual(["5"]);
  expect(await broker.purge("celery")).toBe(2);
  expect(await broker.size("celery")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
});

test("what is higher is taken first, whatever was sent first, and a lower band never waits for ever", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(0, 5, 9), { minLength: 1, maxLength: 60 }),
      fc.integer({ min: 1, max: 12 }),
      async (priorities, max) => {
        const broker = banded(plainBroker());
        await broker.send(priorities.map((priority, at) => ({ queue: "celery", body: `${priority} ${at}`, priority })));
        const left = [...priorities];
        for (let receive = 1; left.length > 0; receive++) {
          const taken = bodies(await take(broker, max)).map((body) => Number(body.split(" ")[0]));
          // One receive of eight begins elsewhere.
          if (receive % 8 !== 0) {
            const best = left.toSorted((a, b) => b - a).slice(0, taken.length);
            expect(taken).toEqual(best);
          }
          expect(taken.length).toBeGreaterThan(0);
          for (const priority of taken) left.splice(left.indexOf(priority as 0 | 5 | 9), 1);
        }
      },
    ),
    { numRuns: 60 },
  );
});

test("under a load that the highest band alone could fill, each lower band has a receive in sixteen", async () => {
  const broker = banded(plainBroker());
  const many = (priority: number) =>
    Array.from({ length: 1000 }, (_, at) => ({ queue: "celery", body: `${priority} ${at}`, priority }));
  await broker.send([...many(0), ...many(5), ...many(9)]);
  const counts = { "0": 0, "5": 0, "9": 0 };
  for (let receive = 0; receive < 64; receive++) {
    const [first] = bodies(await take(broker));
    counts[(first as string).split(" ")[0] as keyof typeof counts]++;
  }
  expect(counts).toEqual({ "0": 4, "5": 4, "9": 56 });
});

test("who waits is given what comes into any band, and what is too much goes back", async () => {
  const inner = plainBroker();
  const broker = banded(inner);
  for (const priority of [0, 5, 9]) {
    const waiting = broker.receive("celery", { max: 1, wait: 20_000 });
    await broker.send([{ queue: "celery", body: `for ${priority}`, priority }]);
    const [delivery] = await waiting;
    expect(delivery?.body).toBe(`for ${priority}`);
    await broker.delete([delivery as Delivery]);
  }
  const waiting = broker.receive("celery", { max: 1, wait: 20_000 });
  await broker.send([0, 5, 9].map((priority) => ({ queue: "celery", body: String(priority), priority })));
  expect((await waiting).length).toBe(1);
  expect(await broker.size("celery")).toEqual({ ready: 2, delayed: 0, inFlight: 1 });
});

test("a wait ends with its signal, and a band that cannot be asked is said where nothing else was found", async () => {
  const inner = plainBroker();
  const controller = new AbortController();
  const broker = banded(inner);
  await inner.send([{ queue: "celery", body: "so that it is there" }]);
  await broker.purge("celery");
  const waiting = broker.receive("celery", { max: 1, wait: 20_000, signal: controller.signal });
  controller.abort("enough");
  expect(await waiting).toEqual([]);

  const gone: Broker = {
    ...inner,
    async receive(queue, options) {
      if (queue.endsWith("-5")) throw new Error("gone");
      return inner.receive(queue, options);
    },
  };
  await expect(banded(gone).receive("celery", { max: 1, wait: 0 })).rejects.toThrow("gone");
  await inner.send([{ queue: "celery-priority-9", body: "there" }]);
  expect(bodies(await banded(gone).receive("celery", { max: 5, wait: 0 }))).toEqual(["there"]);
});
