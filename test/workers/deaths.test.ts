/** What counts as a death, step by step: the poller and a function stand on these. */
import fc from "fast-check";
import { Lovage, OperationalError, type RunningTask } from "lovage";
import { type TestApp, testApp } from "lovage/testing";
import { expect, onTestFinished, test, vi } from "vitest";
import type { Delivery } from "../../src/brokers/broker.ts";
import { taskKey } from "../../src/results/backend.ts";
import { silent } from "../../src/workers/log.ts";
import { createWorker, type Run } from "../../src/workers/worker.ts";

const VISIBILITY_MS = 30_000;

/** An app, and a worker of it that is led by hand. */
function scene(app: Lovage) {
  const t = testApp(app);
  onTestFinished(() => t.close());
  const worker = createWorker(app, {
    hostname: "celery@test",
    log: silent,
    lease: () => t.clock.now() + VISIBILITY_MS,
  });
  const receive = async (): Promise<Delivery> => {
    const broker = await app.engine.broker();
    const [delivery] = await broker.receive("celery", { max: 1, wait: 0, visibility: VISIBILITY_MS });
    if (delivery === undefined) throw new Error("nothing was received");
    return delivery;
  };
  const admit = async (delivery: Delivery): Promise<Run> => {
    const admission = await worker.admit(delivery);
    if (!("run" in admission)) throw new Error(`not admitted: ${admission.disposition.type}`);
    return admission.run;
  };
  const row = async (id: string) => (await (await app.engine.backend()).read([taskKey(id)]))[0];
  return { t, worker, receive, admit, row };
}

const reasonOf = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

const ends: readonly (readonly [string, (self: RunningTask) => Promise<unknown>])[] = [
  ["throws its signal's reason", (self) => reasonOf(self.signal)],
  [
    "throws what it makes of that",
    (self) => reasonOf(self.signal).catch((cause) => Promise.reject(new TypeError("terminated", { cause }))),
  ],
  ["asks for a retry", (self) => reasonOf(self.signal).catch(() => self.retry())],
];
test.each(ends)(
  "a task that its worker aborts, and that %s, waits again: no outcome, no retry, no death",
  async (_, end) => {
    const app = new Lovage("tasks");
    let runs = 0;
    const { t, receive, admit, row } = scene(app);
    const work = app.task("tasks.work", { bind: true, autoretryFor: [Error] }, async (self) =>
      ++runs === 1 ? end(self) : self.request.retries,
    );
    const result = await work.delay();
    const run = await admit(await receive());
    const executed = run.execute();
    for (let hops = 0; hops < 50; hops++) await undefined;
    run.abort();
    expect(await executed).toEqual({ disposition: { type: "handBack", visibility: 0 }, abandoned: false });
    expect(await result.state()).toBe("PENDING");
    expect(await row(result.id)).toMatchObject({ runs: 1, lease: undefined });
    t.clock.moveTo(t.clock.now() + VISIBILITY_MS);
    await t.drain();
    expect(await result.get()).toBe(0);
  },
);

test("a task that its worker aborts, and that ends all the same, has ended", async () => {
  const app = new Lovage("tasks");
  const { receive, admit } = scene(app);
  const work = app.task("tasks.work", { bind: true }, (self) => reasonOf(self.signal).catch(() => "in time"));
  const result = await work.delay();
  const run = await admit(await receive());
  const executed = run.execute();
  for (let hops = 0; hops < 50; hops++) await undefined;
  run.abort();
  expect((await executed).disposition).toMatchObject({ type: "delete" });
  expect(await result.get()).toBe("in time");
});

test("a task that was given up cannot hand its message back a second time", async () => {
  const app = new Lovage("tasks");
  const { receive, admit } = scene(app);
  const work = app.task("tasks.work", { bind: true }, (self) => reasonOf(self.signal));
  await work.delay();
  const run = await admit(await receive());
  const executed = run.execute();
  for (let hops = 0; hops < 50; hops++) await undefined;
  expect(await run.release()).toEqual({ type: "handBack", visibility: 0 });
  expect((await executed).disposition).toEqual({ type: "leave" });
});

test("a claim whose answer is lost, time and again, is no death", async () => {
  const app = new Lovage("tasks", { maxDeliveries: 1 });
  const { t } = scene(app);
  let lost = 0;
  const add = app.task("tasks.add", (a: number, b: number) => a + b);
  const backend = await app.engine.backend();
  const { apply } = backend;
  backend.apply = async (commands) => {
    const outcomes = await apply(commands);
    return outcomes.map((outcome, at) =>
      commands[at]?.type === "claim" && lost < 6 && ++lost > 0
        ? new OperationalError("no answer", { retryable: true })
        : outcome,
    );
  };
  const result = await add.delay(1, 2);
  await t.advance({ hours: 1 });
  expect([lost, await result.state(), await t.deadLetters()]).toEqual([6, "SUCCESS", []]);
});

/** Has a run end while its table is out of reach. What is returned brings it back. */
async function runWithoutTable(app: Lovage, { clock }: TestApp, run: Run): Promise<() => void> {
  const backend = await app.engine.backend();
  const { apply } = backend;
  backend.apply = async (commands) => commands.map(() => new OperationalError("out of reach", { retryable: true }));
  const executed = run.execute();
  for (let tries = 0; tries < 16; tries++) {
    for (let hops = 0; hops < 50; hops++) await undefined;
    clock.moveTo(clock.now() + 16_000);
  }
  expect((await executed).disposition.type).toBe("handBack");
  return () => {
    backend.apply = apply;
  };
}

test("a death that another worker counted while a table was out of reach is taken back when it is there again", async () => {
  const app = new Lovage("tasks");
  const { t, worker, receive, admit, row } = scene(app);
  const work = app.task("tasks.work", () => "done");
  const result = await work.delay();
  const run = await admit(await receive());
  const mend = await runWithoutTable(app, t, run);
  await worker.releaseLate();
  mend();
  const other = createWorker(app, {
    hostname: "celery@other",
    log: silent,
    lease: () => t.clock.now() + VISIBILITY_MS,
  });
  const taken = await other.admit(await receive());
  expect(await row(result.id)).toMatchObject({ runs: 2 });
  await worker.releaseLate();
  expect(await row(result.id)).toMatchObject({ runs: 1 });
  expect("run" in taken && (await taken.run.execute()).disposition.type).toBe("delete");
  expect(await result.get()).toBe("done");
});

test("a claim that is given up late shows that its task waits", async () => {
  const app = new Lovage("tasks");
  const { t, worker, receive, admit } = scene(app);
  const work = app.task("tasks.work", () => "done");
  const result = await work.delay();
  const run = await admit(await receive());
  const mend = await runWithoutTable(app, t, run);
  mend();
  expect(await result.state()).toBe("STARTED");
  await worker.releaseLate();
  expect(await result.state()).toBe("PENDING");
});

test("what comes before a task begins takes nothing of its time", async () => {
  const app = new Lovage("tasks");
  const { t, receive, admit } = scene(app);
  const work = app.task("tasks.work", { timeLimit: 10 }, () => "in time");
  app.on("taskPrerun", async () => void t.clock.moveTo(t.clock.now() + 60_000));
  const result = await work.delay();
  const deadlines: number[] = [];
  await (await admit(await receive())).execute((deadline) => deadlines.push(deadline));
  expect(deadlines[0]).toBe(t.clock.now() + 10_000);
  expect(await result.get()).toBe("in time");
});

test("a suspect is what two workers died of, or what one more death would end", async () => {
  for (const [maxDeliveries, suspects] of [
    [1, [false, true]],
    [2, [false, true, true]],
    [4, [false, false, true, true, true]],
  ] as const) {
    const app = new Lovage("tasks", { maxDeliveries });
    const { t, receive, admit } = scene(app);
    await app.task("tasks.work", () => {}).delay();
    const seen: Run[] = [];
    for (let death = 0; death <= maxDeliveries; death++) {
      seen.push(await admit(await receive()));
      t.clock.moveTo(t.clock.now() + 2 * VISIBILITY_MS);
    }
    expect(seen.map(({ suspect }) => suspect)).toEqual(suspects);
    expect(seen.map(({ decided }) => decided)).toEqual([...Array<boolean>(maxDeliveries).fill(false), true]);
  }
});

const never = () => new Promise<never>(() => {});

/** A message as it comes when workers have met it so often. */
const receivedOften = (delivery: Delivery, receiveCount: number): Delivery => ({ ...delivery, receiveCount });

test.each([
  ["reads it", (app: Lovage) => Object.assign(app.engine, { messageText: never })],
  ["sends what follows from its outcome", (app: Lovage) => Object.assign(app.engine.outbox, { send: never })],
] as const)("who dies while it %s is counted from the 21st receive on, whoever it is that dies", async (what, die) => {
  const app = new Lovage("tasks");
  const { t, worker, receive } = scene(app);
  const next = app.task("tasks.next", () => {});
  const work = app.task("tasks.work", () => "done");
  const result = await work.applyAsync([], { link: next.si() });
  const delivery = await receive();
  if (what.startsWith("sends")) {
    // Its first worker stored the outcome, and died.
    const { send } = app.engine.outbox;
    const admission = await worker.admit(delivery);
    Object.assign(app.engine.outbox, { send: never });
    if ("run" in admission) void admission.run.execute();
    for (let hops = 0; hops < 200; hops++) await undefined;
    Object.assign(app.engine.outbox, { send });
    expect(await result.state()).toBe("SUCCESS");
  }
  const { messageText } = app.engine;
  const { send } = app.engine.outbox;
  die(app);
  for (let receives = 1; receives <= 23; receives++) {
    // Each time another process: none has anything but the store.
    const dying = createWorker(app, { hostname: "celery@dying", log: silent, lease: () => t.clock.now() + 1000 });
    void dying.admit(receivedOften(delivery, receives));
    for (let hops = 0; hops < 200; hops++) await undefined;
    t.clock.moveTo(t.clock.now() + 60_000);
  }
  Object.assign(app.engine, { messageText });
  Object.assign(app.engine.outbox, { send });
  expect(await worker.admit(receivedOften(delivery, 24))).toEqual({ disposition: { type: "delete" } });
  expect(await t.deadLetters()).toMatchObject([
    {
      attributes: {
        error: "WorkerLostError",
        id: result.id,
        reason: expect.stringContaining("3 workers died of this message"),
      },
    },
  ]);
  // An outcome that is stored stays.
  expect(await result.state()).toBe(what.startsWith("sends") ? "SUCCESS" : "FAILURE");
});

test("who reads a message and lives is no death, however often that was, and whatever became of it", async () => {
  const app = new Lovage("tasks");
  const { t, worker, receive } = scene(app);
  const work = app.task("tasks.work", () => "done");
  const result = await work.delay();
  const delivery = await receive();
  const backend = await app.engine.backend();
  const { apply } = backend;
  for (let receives = 21; receives < 40; receives++) {
    // Claimed and handed back; not known; a table that is out of reach.
    if (receives % 3 === 0) {
      const admission = await worker.admit(receivedOften(delivery, receives));
      if (!("run" in admission)) throw new Error("not admitted");
      await admission.run.release();
    } else if (receives % 3 === 1) {
      let calls = 0;
      // The claim of the reading is written, and nothing after it.
      backend.apply = async (commands) =>
        calls++ === 0 ? apply(commands) : commands.map(() => new OperationalError("throttled", { retryable: true }));
      const admitted = worker.admit(receivedOften(delivery, receives));
      for (let tries = 0; tries < 20; tries++) {
        for (let hops = 0; hops < 50; hops++) await undefined;
        t.clock.moveTo(t.clock.now() + 16_000);
      }
      expect(await admitted).toMatchObject({ disposition: { type: "handBack" } });
      backend.apply = apply;
      await worker.releaseLate();
    } else {
      const { messageText } = app.engine;
      Object.assign(app.engine, {
        messageText: async () => Promise.reject(new OperationalError("S3 is out of reach", { retryable: true })),
      });
      expect(await worker.admit(receivedOften(delivery, receives))).toMatchObject({
        disposition: { type: "handBack" },
      });
      Object.assign(app.engine, { messageText });
    }
    t.clock.moveTo(t.clock.now() + 60_000);
  }
  const admission = await worker.admit(receivedOften(delivery, 40));
  expect("run" in admission && (await admission.run.execute()).disposition.type).toBe("delete");
  expect(await result.get()).toBe("done");
});

/** What happens to readers of one message: another one gets it, the oldest lives or dies, and all leases end. */
const happenings = fc.array(fc.constantFrom("comes", "comes", "comes", "lives", "lives", "dies", "ends"), {
  maxLength: 60,
});

test("of readers of one message that come at any time, those who die are counted, and no others", async () => {
  await fc.assert(
    fc.asyncProperty(happenings, async (history) => {
      const app = new Lovage("tasks");
      const { t, receive } = scene(app);
      await app.task("tasks.work", () => {}).delay();
      const delivery = await receive();
      const reading: (() => void)[] = [];
      const gone = new OperationalError("S3 is out of reach", { retryable: true });
      Object.assign(app.engine, {
        messageText: () => new Promise((_, reject) => reading.push(() => reject(gone))),
      });
      let deaths = 0;
      for (const happening of history) {
        if (happening === "comes") {
          const lease = () => t.clock.now() + VISIBILITY_MS;
          const reader = createWorker(app, { hostname: "celery@reader", log: silent, lease });
          void reader.admit(receivedOften(delivery, 21));
        } else if (happening === "lives") reading.shift()?.();
        else if (happening === "dies") deaths += reading.shift() === undefined ? 0 : 1;
        // A reader is done before that, as a run is.
        else if (reading.length === 0) t.clock.moveTo(t.clock.now() + 2 * VISIBILITY_MS);
        for (let hops = 0; hops < 100; hops++) await undefined;
        const letters = await t.deadLetters();
        if (letters.length > 0) expect([history, deaths]).toEqual([history, app.config.maxDeliveries]);
        if (letters.length > 0) break;
        expect(deaths).toBeLessThanOrEqual(app.config.maxDeliveries);
      }
      await t.close();
    }),
  );
});

async function kindsOf(app: Lovage, id: string): Promise<readonly string[]> {
  const kinds: string[] = [];
  for await (const { kind, state } of app.journal.find({ id })) kinds.push(`${kind} ${state}`);
  return kinds;
}

test("a run that another worker took over while its process stood still is not told as running", async () => {
  const app = new Lovage("tasks");
  const { t, worker, receive, admit } = scene(app);
  const until = Promise.withResolvers<number>();
  let runs = 0;
  const work = app.task("tasks.work", () => (++runs === 1 ? until.promise : 2));
  const result = await work.delay();
  const run = await admit(await receive());
  const executed = run.execute();
  for (let hops = 0; hops < 50; hops++) await undefined;
  t.clock.moveTo(t.clock.now() + 2 * VISIBILITY_MS);
  const other = await admit(await receive());
  await run.noteRunning();
  expect(await kindsOf(app, result.id)).toEqual([]);
  await worker.handBack(other.delivery, (await other.execute()).disposition);
  t.clock.moveTo(t.clock.now() + 1000);
  await run.noteRunning();
  until.resolve(1);
  expect((await executed).disposition.type).toBe("leave");
  expect(await kindsOf(app, result.id)).toEqual(["task SUCCESS"]);
  expect(await app.control.inspect().active()).toEqual({});
});

/** A run that goes on until its promise is resolved, for so long that it may be told of. */
async function begun() {
  const app = new Lovage("tasks");
  const { t, receive, admit } = scene(app);
  const until = Promise.withResolvers<number>();
  const work = app.task("tasks.work", () => until.promise);
  const result = await work.delay();
  const run = await admit(await receive());
  const executed = run.execute();
  for (let hops = 0; hops < 50; hops++) await undefined;
  t.clock.moveTo(t.clock.now() + VISIBILITY_MS / 2);
  return { app, t, until, result, run, executed };
}

test("a run whose outcome is being stored is not told as running", async () => {
  const { app, t, until, result, run, executed } = await begun();
  const backend = await app.engine.backend();
  const storing = Promise.withResolvers<void>();
  const stored = Promise.withResolvers<void>();
  const { apply } = backend;
  const spy = vi.spyOn(backend, "apply").mockImplementation(async (commands) => {
    storing.resolve();
    await stored.promise;
    return apply.call(backend, commands);
  });
  onTestFinished(() => spy.mockRestore());
  until.resolve(1);
  await storing.promise;
  t.clock.moveTo(t.clock.now() + 1000);
  await run.noteRunning();
  stored.resolve();
  await executed;
  expect(await kindsOf(app, result.id)).toEqual(["task SUCCESS"]);
});

test("where the row cannot be read, a run is not told as running, and goes on", async () => {
  const { app, until, result, run, executed } = await begun();
  const spy = vi
    .spyOn(await app.engine.backend(), "read")
    .mockRejectedValue(new OperationalError("the table is out of reach", { retryable: true }));
  await run.noteRunning();
  spy.mockRestore();
  until.resolve(1);
  await executed;
  expect(await kindsOf(app, result.id)).toEqual(["task SUCCESS"]);
  expect(await result.get()).toBe(1);
});
