import { OperationalError } from "lovage";
import { type Faults, hostileBroker } from "lovage/testing";
import { expect, test } from "vitest";
import { open } from "../../src/brokers/memory.ts";

const NONE: Faults = { duplicate: 0, delay: 0, throttle: 0, loseReply: 0, loseDelete: 0, stale: 0 };
let count = 0;

/** A broker in which one fault always strikes. */
function broken(fault: Partial<Faults>, seed = 1) {
  let time = 0;
  const inner = open(`memory://hostile-${++count}`, { now: () => time, random: Math.random, options: {} });
  const wait = (ms: number) => {
    time += ms;
  };
  return { inner, broker: hostileBroker(inner, seed, { ...NONE, ...fault }), wait };
}
const one = { queue: "q", body: "text" };
const all = { max: 10, wait: 0 };

test("without faults it is the broker that it is laid around", async () => {
  const { broker } = broken({});
  expect(await broker.send([one])).toEqual([undefined]);
  const deliveries = await broker.receive("q", all);
  expect(deliveries).toMatchObject([{ body: "text", receiveCount: 1 }]);
  await broker.delete(deliveries);
  expect(await broker.size("q")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
});

test("a fault that is undefined has its default", async () => {
  const inner = open("memory://hostile-defaults", { now: () => 0, random: Math.random, options: {} });
  const broker = hostileBroker(inner, 1, { ...NONE, throttle: undefined });
  const answers = await broker.send(Array.from({ length: 200 }, () => one));
  expect(answers.filter(Boolean).length).toBeGreaterThan(0);
});

test("duplicate puts a text into the queue twice", async () => {
  const { broker } = broken({ duplicate: 1 });
  await broker.send([one]);
  expect(await broker.receive("q", all)).toHaveLength(2);
});

test("delay makes a text late, by a minute at most", async () => {
  const { broker, wait } = broken({ delay: 1 });
  await broker.send([one]);
  expect(await broker.receive("q", all)).toEqual([]);
  wait(60_000);
  expect(await broker.receive("q", all)).toHaveLength(1);
});

test("throttle refuses, does nothing, and names the seed", async () => {
  const { broker, inner } = broken({ throttle: 1 }, 42);
  const [error] = await broker.send([one]);
  expect(error).toBeInstanceOf(OperationalError);
  expect(error).toMatchObject({ retryable: true, message: "the hostile broker throttled a request (seed 42)" });
  await expect(broker.receive("q", all)).rejects.toThrow("seed 42");
  expect(await inner.size("q")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
});

test("a lost reply to a send is an error, and the text is there", async () => {
  const { broker } = broken({ loseReply: 1 });
  expect((await broker.send([one]))[0]).toBeInstanceOf(OperationalError);
  expect(await broker.receive("q", all)).toHaveLength(1);
});

test("a lost deletion is answered as done, and the text comes again", async () => {
  const { broker, wait } = broken({ loseDelete: 1 });
  await broker.send([one]);
  expect(await broker.delete(await broker.receive("q", all))).toEqual([undefined]);
  wait(30_000);
  expect(await broker.receive("q", all)).toMatchObject([{ receiveCount: 2 }]);
});

test("a stale receipt is one of two for the same text", async () => {
  const { broker } = broken({ stale: 1 });
  await broker.send([one]);
  const [first] = await broker.receive("q", all);
  const [second] = await broker.receive("q", all);
  expect(first?.messageId).toBe(second?.messageId);
  expect(first?.receipt).not.toBe(second?.receipt);
});

test("the same seed makes the same faults, another seed makes others", async () => {
  const run = async (seed: number) => {
    const { broker } = broken({ throttle: 0.5 }, seed);
    const answers = await broker.send(Array.from({ length: 40 }, () => one));
    return answers.map((answer) => answer === undefined);
  };
  expect(await run(7)).toEqual(await run(7));
  expect(await run(7)).not.toEqual(await run(8));
});
