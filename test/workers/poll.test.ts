import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { Lovage, OperationalError, QueueNotFound } from "lovage";
import { expect, onTestFinished, test, vi } from "vitest";
import type { Delivery } from "../../src/brokers/broker.ts";
import { systemClock } from "../../src/clock.ts";
import { BEAT_MS } from "../../src/control/rows.ts";
import { taskKey } from "../../src/results/backend.ts";
import { startPoller, startWorker } from "../../src/workers/poll.ts";

test("a worker whose queue is gone says so and stops", async () => {
  await using app = new Lovage("tasks", { brokerUrl: "memory://gone" });
  const broker = await app.engine.broker();
  // As SQS answers; a broker in memory has every queue.
  broker.receive = async (queue) => {
    throw new QueueNotFound(queue, []);
  };
  const lines: string[] = [];
  const worker = await startWorker(app, { concurrency: 1, log: (_, line) => void lines.push(line) });
  expect(await worker.ended).toBe("stopped");
  expect(lines.join("\n")).toMatch(/Queue celery could not be read[\s\S]*The worker stops/);
});

/** A worker of a broker that hands out ten at most, and shares nothing with the backend, as SQS does. Every request is kept. */
async function onTens(concurrency: number, tasks: number) {
  const app = new Lovage("tens", { brokerUrl: `memory://tens-${crypto.randomUUID()}` });
  const sum = { ran: 0 };
  // They end at different times, as tasks do.
  const count = app.task("count", async () => {
    await new Promise((resolve) => setTimeout(resolve, sum.ran++ % 7));
  });
  const broker = await app.engine.broker();
  Object.assign(broker, { limits: { ...broker.limits, maxReceive: 10 }, store: undefined });
  const { receive, delete: remove } = broker;
  const receives = { open: 0, most: 0, long: 0, mostLong: 0 };
  const deletes: number[] = [];
  let out = 0;
  let mostOut = 0;
  broker.receive = async (queue, options) => {
    expect(options.max).toBeLessThanOrEqual(10 * concurrency);
    const isLong = options.wait > 0;
    receives.most = Math.max(receives.most, ++receives.open);
    if (isLong) receives.mostLong = Math.max(receives.mostLong, ++receives.long);
    // The network's share, so that requests overlap where they can.
    await new Promise((resolve) => setTimeout(resolve, 2));
    const deliveries = await receive(queue, { ...options, max: Math.min(options.max, 10) });
    receives.open--;
    if (isLong) receives.long--;
    out += deliveries.length;
    mostOut = Math.max(mostOut, out);
    return deliveries;
  };
  broker.delete = (deliveries) => {
    deletes.push(deliveries.length);
    out -= deliveries.length;
    return remove(deliveries);
  };
  const results = await Promise.all(Array.from({ length: tasks }, () => count.delay()));
  const from = performance.now();
  const worker = await startWorker(app, { concurrency });
  await Promise.all(results.map((result) => result.get({ timeout: 20 })));
  await worker.stop();
  const ms = performance.now() - from;
  const left = await broker.size("celery");
  await app.close();
  return { ran: sum.ran, receives, deletes, mostOut, left, ms };
}

test("a queue that has more than a request brings is asked several times at once, and an idle one by one poll", async () => {
  const { ran, receives, mostOut } = await onTens(20, 500);
  expect(ran).toBe(500);
  expect(receives.most).toBeGreaterThan(2);
  expect(receives.mostLong).toBe(1);
  // No more is taken than is prefetched, but for what is being acknowledged.
  expect(mostOut).toBeLessThanOrEqual(20 * 4 + 10 + 20);
});

test("messages of tasks that end about the same time are deleted together", async () => {
  const { ran, deletes, left, ms } = await onTens(20, 1000);
  expect(ran).toBe(1000);
  expect(deletes.reduce((a, b) => a + b)).toBe(1000);
  const requests = deletes.reduce((sum, count) => sum + Math.ceil(count / 10), 0);
  // Full ones, and what had waited for 50 ms.
  expect(requests).toBeLessThanOrEqual(100 + ms / 50 + 2);
  expect(left).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
});

test("the next of a FIFO group begins as soon as the message before it is deleted, whoever else ends", async () => {
  // Time stands still: whatever waits for it waits for ever.
  const clock = {
    now: Date.now,
    sleep: (_: number, signal?: AbortSignal) =>
      new Promise<void>((resolve) => signal?.addEventListener("abort", () => resolve())),
  };
  const config = { brokerUrl: "memory://fifo-poll", taskQueues: ["orders.fifo"], taskDefaultQueue: "orders.fifo" };
  const app = new Lovage("fifo", config, { clock });
  const { promise: all, resolve } = Promise.withResolvers<void>();
  const ran: number[] = [];
  const order = app.task("order", (n: number) => {
    if (ran.push(n) === 20) resolve();
  });
  for (let n = 0; n < 20; n++) await order.delay(n);
  const worker = await startWorker(app, { concurrency: 2 });
  await all;
  await worker.stop();
  await app.close();
  expect(ran).toEqual(Array.from({ length: 20 }, (_, n) => n));
});

test("what kills a worker before it can be claimed becomes a dead letter, read in processes of its own", async () => {
  await using app = new Lovage("unread", {
    brokerUrl: `memory://unread-${crypto.randomUUID()}`,
    brokerTransportOptions: { visibilityTimeout: 60 },
  });
  const broker = await app.engine.broker();
  const result = await app.sendTask("poison");
  // As often as workers have died of it.
  for (let deaths = 0; deaths < 20; deaths++) {
    const got = await broker.receive("celery", { max: 1, wait: 0, visibility: 60_000 });
    await broker.changeVisibility(got.map((delivery) => ({ delivery, visibility: 0 })));
  }
  let apart = 0;
  const worker = await startPoller(app, {
    concurrency: 1,
    apart: {
      run: async () => {
        apart++;
        return { type: "died", claim: undefined };
      },
    },
  });
  await expect(result.get({ timeout: 5 })).rejects.toThrow("3 workers died of this message");
  await worker.stop();
  expect(apart).toBe(3);
  expect((await broker.size("celery-dlq")).ready).toBe(1);
});

test("without a process of its own a suspect runs alone, and nothing that was fetched waits behind it", async () => {
  await using app = new Lovage("alone", { brokerUrl: `memory://alone-${crypto.randomUUID()}`, maxDeliveries: 2 });
  // Not one store with the backend, so that a worker fetches ahead.
  Object.assign(await app.engine.broker(), { store: undefined });
  const events: string[] = [];
  const othersEnded = Promise.withResolvers<void>();
  let others = 4;
  const note = app.task("note", async (what: string) => {
    events.push(`${what} begins`);
    if (what === "long") await othersEnded.promise;
    events.push(`${what} ends`);
    if (what === "behind" && --others === 0) othersEnded.resolve();
  });
  const backend = await app.engine.backend();
  const long = await note.delay("long");
  const suspect = await note.delay("suspect");
  const now = Date.now();
  const claim = { key: taskKey(suspect.id), now, owner: "the dead one" } as const;
  await backend.apply([
    { type: "claim", ...claim, attempt: 0, lease: now + 1000, result: "{}", hidden: false },
    { type: "release", ...claim, died: true },
  ]);
  const behind = await Promise.all(Array.from({ length: others }, () => note.delay("behind")));
  const isSetApart = Promise.withResolvers<void>();
  const log = (_: unknown, line: string) => {
    if (/note\[.*\] is to run alone, when nothing else runs here: 1 of its workers died/.test(line))
      isSetApart.resolve();
  };
  const worker = await startPoller(app, { concurrency: 2, log });
  await isSetApart.promise;
  const other = await startPoller(app, { concurrency: 1 });
  await Promise.all([long, suspect, ...behind].map((result) => result.get({ timeout: 60 })));
  await Promise.all([worker.stop(), other.stop()]);
  const row = (await backend.read([taskKey(suspect.id)]))[0];
  expect(row).toMatchObject({ runs: 2, done: true });
  // What it had fetched ran elsewhere, and the task that ran beside it had ended before it began.
  expect(events.slice(-3)).toEqual(["long ends", "suspect begins", "suspect ends"]);
});

/** A machine that has much else to do takes longer. */
const PATIENT = { timeout: 30_000 };

test.each(["memory", "sqlite"])(
  "a message that comes again while its task runs is gone when that has ended, on %s",
  async (kind) => {
    const folder = mkdtempSync(join(tmpdir(), "lovage-renewed-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const brokerUrl =
      kind === "memory" ? `memory://renewed-${crypto.randomUUID()}` : `sqlite:///${join(folder, "q.db")}`;
    await using app = new Lovage("renewed", { brokerUrl });
    const begun = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const task = app.task("task", async () => {
      begun.resolve();
      await goOn.promise;
    });
    const broker = await app.engine.broker();
    const { receive } = broker;
    const came: Delivery[] = [];
    broker.receive = (queue, { taken, ...options }) =>
      receive(queue, {
        ...options,
        taken(deliveries, unit) {
          came.push(...deliveries);
          taken?.(deliveries, unit);
        },
      });
    const result = await task.delay();
    const worker = await startPoller(app, { concurrency: 2 });
    await begun.promise;
    // As where the machine slept for longer than the message was hidden.
    await broker.changeVisibility(came.map((delivery) => ({ delivery, visibility: 0 })));
    await vi.waitFor(() => expect(came.map(({ receiveCount }) => receiveCount)).toEqual([1, 2]), PATIENT);
    goOn.resolve();
    await result.get({ timeout: 60 });
    await worker.stop();
    expect(await broker.size("celery")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
  },
);

test("a queue that is paused while it is asked several times at once is asked no more", async () => {
  const clock = {
    now: Date.now,
    // The worker hears of it at once.
    sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms === BEAT_MS ? 5 : ms, signal),
  };
  const app = new Lovage("paused", { brokerUrl: `memory://paused-${crypto.randomUUID()}` }, { clock });
  const task = app.task("nothing", () => {});
  const broker = await app.engine.broker();
  Object.assign(broker, { limits: { ...broker.limits, maxReceive: 10 }, store: undefined });
  const { receive } = broker;
  const isPaused = Promise.withResolvers<void>();
  const asked = { before: 0, after: 0, answered: 0 };
  let isHeard = false;
  broker.receive = async (queue, options) => {
    asked[isHeard ? "after" : "before"]++;
    if (asked.before > 1) await isPaused.promise;
    // The network's share.
    await new Promise((resolve) => setTimeout(resolve, 2));
    const deliveries = await receive(queue, { ...options, max: Math.min(options.max, 10) });
    asked.answered++;
    return deliveries;
  };
  await Promise.all(Array.from({ length: 200 }, () => task.delay()));
  const worker = await startWorker(app, {
    concurrency: 20,
    log(_, line) {
      if (!line.includes("is paused")) return;
      isHeard = true;
      isPaused.resolve();
    },
  });
  // All requests but the first are under way.
  await vi.waitFor(() => expect(asked.before).toBeGreaterThan(2), PATIENT);
  await app.control.pause("celery");
  await isPaused.promise;
  await vi.waitFor(() => expect(asked.answered).toBeGreaterThanOrEqual(asked.before), PATIENT);
  const left = { ready: 190, inFlight: 0 };
  await vi.waitFor(async () => expect(await broker.size("celery")).toMatchObject(left), PATIENT);
  expect(asked.after).toBe(0);
  await worker.stop();
  await app.close();
});

function inFile(): string {
  const folder = mkdtempSync(join(tmpdir(), "lovage-poll-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return `sqlite:///${join(folder, "lovage.db")}`;
}

const stores = [
  ["memory", () => `memory://closed-${crypto.randomUUID()}`],
  ["SQLite", inFile],
] as const;

test.each(stores)("%s: an app that is closed stops its workers first, and what they run ends well", async (_, url) => {
  const config = { brokerUrl: url() };
  const app = new Lovage("closed", config);
  await using other = new Lovage("other", config);
  await other.engine.backend();
  const begun = Promise.withResolvers<void>();
  const end = Promise.withResolvers<void>();
  const task = app.task("task", async () => {
    begun.resolve();
    await end.promise;
    return "done";
  });
  const result = await task.delay();
  const worker = await startWorker(app, { concurrency: 1 });
  await begun.promise;
  const closed = Promise.all([app.close(), app.close()]);
  expect(worker.readiness()).toMatchObject({ ready: false, reason: "stops" });
  end.resolve();
  await closed;
  expect(await worker.ended).toBe("stopped");
  expect(await other.result(result.id).get({ timeout: 20 })).toBe("done");
  await worker.stop();
});

/** What of a user's runs for a message: each closes the app. */
const CLOSERS: Readonly<Record<string, (app: Lovage) => void>> = {
  "a task": (app) => void app.task("closing", () => app.close()),
  "a task that waits to close": (app) => void app.task("closing", () => setImmediate().then(() => app.close())),
  "a hook of a task": (app) => {
    app.task("closing", { onSuccess: () => app.close() }, () => null);
  },
  "what is laid around a run": (app) => {
    app.around({ run: (_, next) => next().then(() => app.close()) });
    app.task("closing", () => null);
  },
  ...Object.fromEntries(
    (["taskReceived", "taskPrerun", "taskSuccess", "taskPostrun"] as const).map((signal) => [
      `a handler of ${signal}`,
      (app: Lovage) => {
        app.on(signal, () => app.close());
        app.task("closing", () => null);
      },
    ]),
  ),
};

test.each(
  stores.flatMap(([store, url]) => Object.entries(CLOSERS).map(([who, add]) => [store, who, url, add] as const)),
)("%s: %s that closes the app leaves it to the worker", async (_, _who, url, add) => {
  const config = { brokerUrl: url() };
  const app = new Lovage("closing", config);
  await using caller = new Lovage("closing", config);
  add(app);
  const ended = Promise.withResolvers<void>();
  let runs = 0;
  app.on("taskPostrun", () => {
    if (++runs === 2) ended.resolve();
  });
  const worker = await startWorker(app, { concurrency: 1 });
  for (let n = 0; n < 2; n++) expect(await (await caller.sendTask("closing")).get({ timeout: 20 })).toBeNull();
  await ended.promise;
  expect(worker.readiness().ready).toBe(true);
  await app.close();
  expect(await worker.ended).toBe("stopped");
});

test.each(stores)("%s: a worker whose app is closed while it starts does not start, and says so", async (_, url) => {
  const app = new Lovage("starting", { brokerUrl: url() });
  const { engine } = app;
  const isKnown = Promise.withResolvers<void>();
  const beforeClose = engine.beforeClose.bind(engine);
  engine.beforeClose = (...given) => {
    isKnown.resolve();
    return beforeClose(...given);
  };
  const starting = startWorker(app, { concurrency: 1 }).catch((error: unknown) => error);
  await isKnown.promise;
  await app.close();
  expect(String(await starting)).toContain("the worker was stopped before it had started");
});

test.each(stores)("%s: who waits for a result of an app that is closed learns so", async (_, url) => {
  const app = new Lovage("waiting", { brokerUrl: url() });
  const task = app.task("task", () => 1);
  const waiting = (await task.delay()).get({ timeout: 60 }).catch((error: unknown) => error);
  // Until it waits.
  await task.delay();
  await app.close();
  const error = await waiting;
  expect(error).toBeInstanceOf(OperationalError);
  expect(String(error)).toMatch(/is closed( already)?$/);
});

test.each(stores)(
  "%s: a worker whose machine has slept does not take its own task for a dead worker's",
  async (_, url) => {
    let slept = 0;
    const clock = { ...systemClock, now: () => Date.now() + slept };
    const app = new Lovage("asleep", { brokerUrl: url() }, { clock });
    const begun = Promise.withResolvers<void>();
    const end = Promise.withResolvers<void>();
    let runs = 0;
    const long = app.task("long", async () => {
      runs++;
      begun.resolve();
      await end.promise;
    });
    const quick = app.task("quick", () => {});
    await startWorker(app, { concurrency: 3 });
    const result = await long.delay();
    await begun.promise;
    // By now its message can be had again, and its lease has ended.
    slept = 60_000;
    await (await quick.delay()).get({ timeout: 20 });
    await (await quick.delay()).get({ timeout: 20 });
    end.resolve();
    expect(await result.get({ timeout: 20 })).toBeNull();
    expect(runs).toBe(1);
    await app.close();
  },
);

test("tasks in memory that wait for nothing leave the event loop to others too", async () => {
  const app = new Lovage("busy", { brokerUrl: `memory://busy-${crypto.randomUUID()}` });
  const ended = Promise.withResolvers<void>();
  let isTold = false;
  const again = app.task("again", async (runs: number) => {
    if (isTold || runs === 5_000) ended.resolve();
    else await again.delay(runs + 1);
  });
  const worker = await startWorker(app, { concurrency: 2 });
  setTimeout(() => {
    isTold = true;
  });
  await again.delay(0);
  await ended.promise;
  expect(isTold).toBe(true);
  await worker.stop();
  await app.close();
});

test("who is told that a worker has ended may close the app", async () => {
  const app = new Lovage("told", { brokerUrl: inFile() });
  app.on("workerShutdown", () => app.close());
  const worker = await startWorker(app, { concurrency: 1 });
  await worker.stop();
  expect(await worker.ended).toBe("stopped");
  await app.close();
});

test("a task that does not end when its worker is stopped is in no beat after it was handed back", async () => {
  const app = new Lovage("cold", {
    brokerUrl: `memory://cold-${crypto.randomUUID()}`,
    brokerTransportOptions: { visibilityTimeout: 0.15 },
  });
  const broker = await app.engine.broker();
  Object.assign(broker, { store: undefined });
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const wait = app.task("wait", () => {
    begin();
    return new Promise(() => {});
  });
  const { changeVisibility } = broker;
  let beats = 0;
  vi.spyOn(app.engine, "broker").mockImplementation(async () => {
    beats++;
    return broker;
  });
  const hides: number[] = [];
  broker.changeVisibility = async (entries) => {
    hides.push(...entries.map(({ visibility }) => visibility));
    const settled = await changeVisibility(entries);
    // The next beats come while the worker waits for this. Each asks for the broker first.
    if (hides.at(-1) === 0) {
      const before = beats;
      await vi.waitFor(() => expect(beats).toBeGreaterThan(before + 1));
    }
    return settled;
  };
  await wait.delay();
  const worker = await startWorker(app, { concurrency: 1 });
  await begun;
  await worker.abort();
  await app.close();
  expect(hides.at(-1)).toBe(0);
});
