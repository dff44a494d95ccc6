/** What every broker keeps to, sentence by sentence. It assumes no more than the port says, so that SQS itself can pass. */
import type { ContractRunner } from "./contract-runner.ts";
import type { Broker, Delivery, Outgoing, ReceiveOptions } from "../brokers/broker.ts";
import { OperationalError, PayloadTooLarge } from "../errors.ts";

/** The queues that the suite uses. A broker that makes none by itself finds them made. */
export const CONTRACT_QUEUES = { plain: "contract", other: "contract-other", fifo: "contract.fifo" } as const;

/** A broker under test. */
export interface ContractBroker {
  /** Its queues are empty. */
  readonly broker: Broker;
  /** Lets so many milliseconds pass, on the broker's clock. */
  advance(ms: number): Promise<void> | void;
  /** Closes it, and removes what it left. */
  close(): Promise<void> | void;
}

/** What the broker under test can do beyond what all must. */
export interface ContractFeatures {
  /** Time costs nothing: minutes may pass. */
  readonly virtualTime: boolean;
  /** A deduplication id counts on queues that are not FIFO too. */
  readonly deduplicatesPlain: boolean;
  /** `size` is exact, and not late. */
  readonly exactSizes: boolean;
  /** `purge` says how many, and can be called at any time. */
  readonly countsPurged: boolean;
  /** How long a receive may take to find what is there, in milliseconds. */
  readonly patience: number;
}

/**
 * Tells a test runner what a broker must do. `make` gives a broker whose queues (`CONTRACT_QUEUES`) are empty, anew for
 * each test. Give it the functions of the runner, as `import * as vitest from "vitest"`.
 */
export function brokerContract(
  name: string,
  make: () => Promise<ContractBroker>,
  features: ContractFeatures,
  { describe, test, expect, afterEach }: ContractRunner,
): void {
  describe(`the contract of a broker: ${name}`, () => {
    const when = (condition: boolean) => (condition ? test : () => undefined);
    let finish: (() => Promise<void>)[] = [];
    afterEach(async () => {
      const all = finish;
      finish = [];
      for (const end of all) await end();
    });
    const { plain, other, fifo } = CONTRACT_QUEUES;

    async function setUp() {
      const { broker, advance, close } = await make();
      finish.push(async () => {
        await broker.close();
        await close();
      });
      const send = async (...entries: Outgoing[]) =>
        expect(await broker.send(entries)).toEqual(entries.map(() => undefined));
      const put = (queue: string, ...bodies: string[]) => send(...bodies.map((body) => ({ queue, body })));
      /** As many as are asked for: a broker may hand out fewer at a time. */
      const take = async (queue: string, count: number, options: Partial<ReceiveOptions> = {}) => {
        const all: Delivery[] = [];
        for (let tries = 0; all.length < count && tries < count + 3; tries++) {
          all.push(
            ...(await broker.receive(queue, {
              max: Math.min(10, count - all.length),
              wait: features.patience,
              ...options,
            })),
          );
        }
        expect(all).toHaveLength(count);
        return all;
      };
      const takeOne = async (queue: string, options?: Partial<ReceiveOptions>) =>
        (await take(queue, 1, options))[0] as Delivery;
      const glance = (queue: string) => broker.receive(queue, { max: 10, wait: 0 });
      return { broker, advance, send, put, take, takeOne, glance };
    }

    const bodies = (deliveries: readonly Delivery[]) => deliveries.map((delivery) => delivery.body);

    describe(`${name}: sending`, () => {
      test("a text is handed out as it was sent", async () => {
        const { put, takeOne } = await setUp();
        const text = '{"ünï":"\u{1F33F}\\u0000 \t\n \\" \'","中":"\u{10ABCD}"}';
        await put(plain, text);
        expect(await takeOne(plain)).toMatchObject({ queue: plain, body: text, receiveCount: 1 });
      });

      test("it carries the time of its sending", async () => {
        const { put, take } = await setUp();
        await put(plain, "first");
        await put(plain, "second");
        const [a, b] = (await take(plain, 2)).map((delivery) => delivery.sentAt) as [number, number];
        expect(a).toBeGreaterThan(1_600_000_000_000);
        expect(Math.abs(a - b)).toBeLessThan(60_000);
      });

      test("it carries its attributes, and none where there are none", async () => {
        const { send, take } = await setUp();
        const attributes = { reason: "nö", error: "line\nline" };
        await send({ queue: plain, body: "with", attributes }, { queue: plain, body: "without" });
        const found = await take(plain, 2);
        expect(found.find((delivery) => delivery.body === "with")?.attributes).toEqual(attributes);
        expect(found.find((delivery) => delivery.body === "without")?.attributes).toEqual({});
      });

      test("more entries than fit into one request are all sent, to the queue each names", async () => {
        const { send, take, glance } = await setUp();
        const entries = Array.from({ length: 25 }, (_, index) => ({
          queue: index % 5 === 0 ? other : plain,
          body: `${index}`,
        }));
        await send(...entries);
        const found = [...(await take(plain, 20)), ...(await take(other, 5))];
        expect(new Set(found.map(({ queue, body }) => `${queue} ${body}`))).toEqual(
          new Set(entries.map(({ queue, body }) => `${queue} ${body}`)),
        );
        expect(await glance(plain)).toEqual([]);
      });

      test("sending nothing is no error", async () => {
        const { broker } = await setUp();
        expect(await broker.send([])).toEqual([]);
      });

      test("a text that is too large is refused with its size and the limit, and the others are sent", async () => {
        const { broker, takeOne, glance } = await setUp();
        const { maxBytes } = broker.limits;
        const settled = await broker.send([
          { queue: plain, body: `${"x".repeat(maxBytes - 1)}é` },
          { queue: plain, body: "small" },
        ]);
        expect(settled[0]).toBeInstanceOf(PayloadTooLarge);
        expect(settled[0]).toMatchObject({ size: maxBytes + 1, limit: maxBytes });
        expect(settled[1]).toBeUndefined();
        expect((await takeOne(plain)).body).toBe("small");
        expect(await glance(plain)).toEqual([]);
      });

      test("a text as large as the limit is taken", async () => {
        const { broker, put, takeOne } = await setUp();
        const { maxBytes } = broker.limits;
        await put(plain, "x".repeat(maxBytes));
        expect((await takeOne(plain)).body).toHaveLength(maxBytes);
      });

      test("attributes count in the size", async () => {
        const { broker } = await setUp();
        const { maxBytes } = broker.limits;
        const [refused] = await broker.send([
          { queue: plain, body: "x".repeat(maxBytes - 3), attributes: { reason: "text" } },
        ]);
        expect(refused).toBeInstanceOf(PayloadTooLarge);
      });

      test("a delayed text is not handed out before its time", async () => {
        const { send, glance, advance, takeOne } = await setUp();
        await send({ queue: plain, body: "later", delaySeconds: 2 });
        expect(await glance(plain)).toEqual([]);
        await advance(2000);
        expect(await takeOne(plain)).toMatchObject({ body: "later", receiveCount: 1 });
      });

      test("a text that is due after its delay has ended comes after the delay at the earliest", async () => {
        const { broker, send, glance, advance, takeOne } = await setUp();
        // The broker's own time, which need not be that of the machine.
        await send({ queue: plain, body: "clock" });
        const clock = await takeOne(plain);
        await broker.delete([clock]);
        const due = { at: clock.sentAt + 4000, id: "later" };
        await send({ queue: plain, body: "later", delaySeconds: 2, due });
        expect(await glance(plain)).toEqual([]);
        await advance(5000);
        expect(await takeOne(plain)).toMatchObject({ body: "later", receiveCount: 1 });
      });

      test("a delay beyond the limit, or none at all, is refused for good", async () => {
        const { broker } = await setUp();
        const tooLong = Number.isFinite(broker.limits.maxDelaySeconds) ? broker.limits.maxDelaySeconds + 1 : Number.NaN;
        const settled = await broker.send([
          { queue: plain, body: "x", delaySeconds: tooLong },
          { queue: plain, body: "x", delaySeconds: -1 },
        ]);
        for (const reason of settled) {
          expect(reason).toBeInstanceOf(OperationalError);
          expect(reason).toMatchObject({ retryable: false });
        }
      });
    });

    describe(`${name}: receiving`, () => {
      test("an empty queue answers at once when nobody waits", async () => {
        const { glance } = await setUp();
        expect(await glance(plain)).toEqual([]);
      });

      test("no more are handed out than asked for", async () => {
        const { broker, put } = await setUp();
        await put(plain, "a", "b", "c");
        expect((await broker.receive(plain, { max: 2, wait: features.patience })).length).toBeLessThanOrEqual(2);
      });

      test("what is handed out is hidden from others, then handed out again under a new receipt", async () => {
        const { put, takeOne, glance, advance } = await setUp();
        await put(plain, "x");
        const first = await takeOne(plain, { visibility: 2000 });
        expect(await glance(plain)).toEqual([]);
        await advance(2000);
        const second = await takeOne(plain);
        expect(second).toMatchObject({ body: "x", messageId: first.messageId, sentAt: first.sentAt, receiveCount: 2 });
        expect(second.receipt).not.toBe(first.receipt);
      });

      test("without a visibility of its own a delivery stays hidden for a while", async () => {
        const { put, takeOne, glance } = await setUp();
        await put(plain, "x");
        await takeOne(plain);
        expect(await glance(plain)).toEqual([]);
      });

      test("two receivers share a queue and neither gets what the other got", async () => {
        const { broker, put } = await setUp();
        const sent = Array.from({ length: 20 }, (_, index) => `${index}`);
        await put(plain, ...sent);
        const drain = async () => {
          const found: Delivery[] = [];
          for (let empty = 0; empty < 2; ) {
            const some = await broker.receive(plain, { max: 3, wait: 0 });
            if (some.length === 0) empty++;
            found.push(...some);
          }
          return found;
        };
        const all = (await Promise.all([drain(), drain()])).flat();
        expect(bodies(all).sort()).toEqual(sent.sort());
      });

      test("a receive that waits gets a text that is sent meanwhile", async () => {
        const { broker, put } = await setUp();
        const waiting = broker.receive(plain, { max: 10, wait: 20_000 });
        await put(plain, "x");
        expect(bodies(await waiting)).toEqual(["x"]);
      });

      test("a receive that waits gets a text that is handed back meanwhile", async () => {
        const { broker, put, takeOne } = await setUp();
        await put(plain, "x");
        const delivery = await takeOne(plain);
        const waiting = broker.receive(plain, { max: 10, wait: 20_000 });
        await broker.changeVisibility([{ delivery, visibility: 0 }]);
        expect(bodies(await waiting)).toEqual(["x"]);
      });

      test("the signal ends the wait", async () => {
        const { broker } = await setUp();
        const controller = new AbortController();
        const waiting = broker.receive(plain, { max: 1, wait: 20_000, signal: controller.signal });
        setImmediate(() => controller.abort());
        expect(await waiting).toEqual([]);
      });

      test("closing the broker ends the wait", async () => {
        const { broker } = await setUp();
        const waiting = broker.receive(plain, { max: 1, wait: 20_000 });
        setImmediate(() => broker.close());
        expect(await waiting).toEqual([]);
      });
    });

    describe(`${name}: deleting and hiding`, () => {
      test("what is deleted does not come back", async () => {
        const { broker, put, takeOne, glance, advance } = await setUp();
        await put(plain, "x");
        const delivery = await takeOne(plain, { visibility: 1000 });
        expect(await broker.delete([delivery])).toEqual([undefined]);
        await advance(1000);
        expect(await glance(plain)).toEqual([]);
      });

      test("deleting twice is no error", async () => {
        const { broker, put, takeOne } = await setUp();
        await put(plain, "x");
        const delivery = await takeOne(plain);
        await broker.delete([delivery]);
        expect(await broker.delete([delivery])).toEqual([undefined]);
      });

      test("a stale receipt deletes nothing", async () => {
        const { broker, put, takeOne } = await setUp();
        await put(plain, "x");
        const stale = await takeOne(plain);
        await broker.changeVisibility([{ delivery: stale, visibility: 0 }]);
        const fresh = await takeOne(plain);
        expect(await broker.delete([stale])).toEqual([undefined]);
        await broker.changeVisibility([{ delivery: fresh, visibility: 0 }]);
        expect((await takeOne(plain)).body).toBe("x");
      });

      test("a stale receipt changes no visibility", async () => {
        const { broker, put, takeOne, glance } = await setUp();
        await put(plain, "x");
        const stale = await takeOne(plain);
        await broker.changeVisibility([{ delivery: stale, visibility: 0 }]);
        await takeOne(plain);
        expect(await broker.changeVisibility([{ delivery: stale, visibility: 0 }])).toEqual([undefined]);
        expect(await glance(plain)).toEqual([]);
      });

      test("a visibility of 0 hands back at once", async () => {
        const { broker, put, takeOne } = await setUp();
        await put(plain, "x");
        const delivery = await takeOne(plain);
        expect(await broker.changeVisibility([{ delivery, visibility: 0 }])).toEqual([undefined]);
        expect((await takeOne(plain)).receiveCount).toBe(2);
      });

      test("a visibility counts from the call, not from the receive", async () => {
        const { broker, put, takeOne, glance, advance } = await setUp();
        await put(plain, "x");
        const delivery = await takeOne(plain, { visibility: 2000 });
        await broker.changeVisibility([{ delivery, visibility: 3000 }]);
        await advance(2000);
        expect(await glance(plain)).toEqual([]);
        await advance(1000);
        expect((await takeOne(plain)).messageId).toBe(delivery.messageId);
      });

      test("many deliveries are deleted in one call, and no others", async () => {
        const { broker, put, take, takeOne } = await setUp();
        await put(plain, ...Array.from({ length: 13 }, (_, index) => `${index}`));
        const [spared, ...rest] = await take(plain, 13);
        expect(await broker.delete(rest)).toEqual(rest.map(() => undefined));
        await broker.changeVisibility([{ delivery: spared as Delivery, visibility: 0 }]);
        expect((await takeOne(plain)).body).toBe(spared?.body);
      });
    });

    describe(`${name}: queues`, () => {
      test("the queues that were used are listed, sorted", async () => {
        const { broker, put } = await setUp();
        await put(plain, "x");
        await put(other, "x");
        const known = await broker.queues();
        expect([plain, other].filter((queue) => known.includes(queue))).toEqual([plain, other]);
        expect(known).toEqual([...known].sort());
      });

      when(features.exactSizes)("a queue's size tells ready, delayed and in flight apart", async () => {
        const { broker, send, put, take, advance } = await setUp();
        expect(await broker.size(plain)).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
        await put(plain, "a", "b", "c");
        await send({ queue: plain, body: "d", delaySeconds: 5 });
        await take(plain, 1, { visibility: 2000 });
        expect(await broker.size(plain)).toEqual({ ready: 2, delayed: 1, inFlight: 1 });
        await advance(2000);
        expect(await broker.size(plain)).toEqual({ ready: 3, delayed: 1, inFlight: 0 });
        await advance(3000);
        expect(await broker.size(plain)).toEqual({ ready: 4, delayed: 0, inFlight: 0 });
      });

      when(features.countsPurged)(
        "a purge deletes what is ready, delayed and in flight, of that queue only",
        async () => {
          const { broker, send, put, take, takeOne, glance, advance } = await setUp();
          await put(plain, "a", "b");
          await put(other, "stays");
          await send({ queue: plain, body: "c", delaySeconds: 1 });
          const [inFlight] = await take(plain, 1, { visibility: 1000 });
          expect(await broker.purge(plain)).toBe(3);
          await advance(1000);
          await broker.changeVisibility([{ delivery: inFlight as Delivery, visibility: 0 }]);
          expect(await glance(plain)).toEqual([]);
          expect((await takeOne(other)).body).toBe("stays");
        },
      );

      when(features.countsPurged)("a receipt from before a purge names nothing that was sent after it", async () => {
        const { broker, put, takeOne } = await setUp();
        await put(plain, "old");
        const old = await takeOne(plain);
        await broker.purge(plain);
        await put(plain, "new");
        const young = await takeOne(plain);
        await broker.delete([old]);
        await broker.changeVisibility([{ delivery: young, visibility: 0 }]);
        expect((await takeOne(plain)).body).toBe("new");
      });
    });

    describe(`${name}: priority`, () => {
      test("the higher goes first, then the older, where the broker knows priorities", async () => {
        const { broker, send, take } = await setUp();
        if (!broker.limits.priority) return;
        await send(
          ...[undefined, 3, 9, 3, 0].map((priority, index) => ({
            queue: plain,
            body: `${index}`,
            ...(priority !== undefined && { priority }),
          })),
        );
        expect(bodies(await take(plain, 5))).toEqual(["2", "1", "3", "0", "4"]);
      });

      test("of two that become visible the higher goes first, not the one that was due first", async () => {
        const { broker, send, take, advance } = await setUp();
        if (!broker.limits.priority) return;
        await send(
          { queue: plain, body: "low", priority: 1, delaySeconds: 1 },
          { queue: plain, body: "high", priority: 5, delaySeconds: 2 },
          { queue: plain, body: "not yet", priority: 9, delaySeconds: 60 },
        );
        await advance(2000);
        expect(bodies(await take(plain, 2))).toEqual(["high", "low"]);
      });

      test("one that is handed back keeps its place", async () => {
        const { broker, put, takeOne, take } = await setUp();
        if (!broker.limits.priority) return;
        await put(plain, "a", "b");
        await broker.changeVisibility([{ delivery: await takeOne(plain), visibility: 0 }]);
        expect(bodies(await take(plain, 2))).toEqual(["a", "b"]);
      });
    });

    describe(`${name}: FIFO queues`, () => {
      let unique = 0;
      const entry = (body: string, groupId: string): Outgoing => ({
        queue: fifo,
        body,
        groupId,
        deduplicationId: `${body}-${++unique}`,
      });

      test("a group's texts come in the order in which they were sent, whatever their priority", async () => {
        const { send, take } = await setUp();
        await send(...Array.from({ length: 12 }, (_, index) => ({ ...entry(`${index}`, "a"), priority: index })));
        const first = await take(fifo, 1);
        expect(bodies(first)).toEqual(["0"]);
        expect(first[0]?.groupId).toBe("a");
      });

      test("a text without a group is in the group default", async () => {
        const { send, takeOne } = await setUp();
        await send({ queue: fifo, body: "x", deduplicationId: `x-${++unique}` });
        expect((await takeOne(fifo)).groupId).toBe("default");
      });

      test("a group is blocked while one of it is in flight, other groups are not", async () => {
        const { broker, send, takeOne, glance } = await setUp();
        await send(entry("a1", "a"), entry("a2", "a"));
        const a1 = await takeOne(fifo);
        expect(a1.body).toBe("a1");
        expect(await glance(fifo)).toEqual([]);
        await send(entry("b1", "b"));
        expect((await takeOne(fifo)).body).toBe("b1");
        await broker.delete([a1]);
        expect((await takeOne(fifo)).body).toBe("a2");
      });

      test("a receive that waits gets the next of a group when the one before it is deleted", async () => {
        const { broker, send, takeOne } = await setUp();
        await send(entry("a1", "a"), entry("a2", "a"));
        const a1 = await takeOne(fifo);
        const waiting = broker.receive(fifo, { max: 1, wait: 20_000 });
        await broker.delete([a1]);
        expect(bodies(await waiting)).toEqual(["a2"]);
      });

      test("one that is handed back comes before its group's next", async () => {
        const { broker, send, takeOne } = await setUp();
        await send(entry("a1", "a"), entry("a2", "a"));
        await broker.changeVisibility([{ delivery: await takeOne(fifo), visibility: 0 }]);
        const again = await takeOne(fifo);
        expect(again).toMatchObject({ body: "a1", receiveCount: 2 });
        await broker.delete([again]);
        expect((await takeOne(fifo)).body).toBe("a2");
      });

      test("one that is parked by its visibility blocks its group until then", async () => {
        const { broker, send, takeOne, glance, advance } = await setUp();
        await send(entry("a1", "a"), entry("a2", "a"));
        await broker.changeVisibility([{ delivery: await takeOne(fifo), visibility: 2000 }]);
        expect(await glance(fifo)).toEqual([]);
        await advance(2000);
        expect((await takeOne(fifo)).body).toBe("a1");
      });

      test("what one receive hands out of a group is in order", async () => {
        const { broker, send } = await setUp();
        await send(...Array.from({ length: 6 }, (_, index) => entry(`${index}`, index % 2 ? "odd" : "even")));
        const found = await broker.receive(fifo, { max: 10, wait: features.patience });
        for (const group of ["odd", "even"]) {
          const order = found.filter((delivery) => delivery.groupId === group).map((delivery) => Number(delivery.body));
          expect(order).toEqual([...order].sort());
        }
      });

      test("a second text of one deduplication id is accepted and dropped, also when the first is gone", async () => {
        const { broker, send, takeOne, glance } = await setUp();
        const twin = entry("x", "a");
        await send(twin, twin);
        const delivery = await takeOne(fifo);
        expect(delivery.deduplicationId).toBe(twin.deduplicationId);
        await broker.delete([delivery]);
        await send(twin);
        expect(await glance(fifo)).toEqual([]);
      });

      when(features.virtualTime)("a deduplication id is forgotten after five minutes", async () => {
        const { broker, send, takeOne, glance, advance } = await setUp();
        const twin = entry("x", "a");
        await send(twin);
        await broker.delete([await takeOne(fifo)]);
        await advance(299_999);
        await send(twin);
        expect(await glance(fifo)).toEqual([]);
        await advance(1);
        await send(twin);
        expect((await takeOne(fifo)).body).toBe("x");
      });

      test("a delay for a single text is refused for good", async () => {
        const { broker, glance } = await setUp();
        const [refused] = await broker.send([{ ...entry("x", "a"), delaySeconds: 1 }]);
        expect(refused).toBeInstanceOf(OperationalError);
        expect(refused).toMatchObject({ retryable: false });
        expect(await glance(fifo)).toEqual([]);
      });
    });

    when(features.deduplicatesPlain)(
      `${name}: a deduplication id counts on a plain queue too, for each queue by itself`,
      async () => {
        const { send, take, glance } = await setUp();
        await send(
          { queue: plain, body: "a", deduplicationId: "slot" },
          { queue: plain, body: "b", deduplicationId: "slot" },
          { queue: other, body: "c", deduplicationId: "slot" },
        );
        expect(bodies([...(await take(plain, 1)), ...(await take(other, 1))])).toEqual(["a", "c"]);
        expect(await glance(plain)).toEqual([]);
      },
    );
  });
}
