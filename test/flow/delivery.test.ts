import {
  type AsyncResult,
  chain,
  ContextSettledError,
  currentTask,
  group,
  Ignore,
  Lovage,
  Reject,
  type RunningTask,
  type Task,
  WorkerLostError,
} from "lovage";
import { describe, expect, test } from "vitest";
import { taskKey } from "../../src/results/backend.ts";
import { inMemory, everywhere, stores } from "./stores.ts";

const never = () => new Promise<never>(() => {});

describe.each(everywhere)("on %s", (_, start) => {
  test("a task that does not claim, and whose worker died after its outcome was stored, is followed by what follows", async () => {
    const app = new Lovage("tasks");
    const told: unknown[] = [];
    const tell = app.task("tasks.tell", (value: unknown) => void told.push(value));
    const note = app.task("tasks.note", { claim: false }, () => "noted");
    let isDead = false;
    const t = start(app, {
      broker: (broker) => ({ ...broker, send: (entries) => (isDead ? new Promise(() => {}) : broker.send(entries)) }),
    });
    const result = await note.applyAsync([], { link: tell.s() });
    isDead = true;
    await t.advance({ seconds: 1 });
    expect(await result.get()).toBe("noted");
    t.crash();
    isDead = false;
    await t.advance({ hours: 1 });
    expect(told).toEqual(["noted"]);
  });

  test("when a worker dies, another takes its task over after the lease, and sees that it did", async () => {
    const app = new Lovage("tasks");
    const seen: unknown[] = [];
    const task = app.task("tasks.task", async () => {
      const { deliveries, deliveryInfo } = currentTask()?.request ?? {};
      seen.push([deliveries, deliveryInfo?.redelivered]);
      if (seen.length === 1) await never();
      return "done";
    });
    const t = start(app);
    const result = await task.delay();
    await t.advance({ seconds: 1 });
    t.crash();
    await t.advance({ seconds: 20 });
    expect(seen).toHaveLength(1);
    await t.advance({ minutes: 2 });
    expect(await result.get()).toBe("done");
    expect(seen).toEqual([
      [1, false],
      [expect.any(Number), true],
    ]);
  });

  test("a worker that dies while it claims a task does not begin it", async () => {
    const app = new Lovage("tasks");
    const begun: number[] = [];
    const task = app.task("tasks.task", { rateLimit: "10/s" }, () => void begun.push(t.clock.now()));
    const t = start(app);
    const { limits } = app.engine;
    const sent = t.clock.now();
    await task.delay();
    let asked = 0;
    app.engine.limits = async () => {
      const found = await limits.call(app.engine);
      // The first time nothing has been received yet.
      if (++asked === 2) t.crash();
      return found;
    };
    await t.advance({ seconds: 5 });
    expect(asked).toBeGreaterThanOrEqual(2);
    expect(begun).toEqual([]);
    await t.advance({ minutes: 5 });
    expect(begun).toHaveLength(1);
    expect((begun[0] ?? 0) - sent).toBeGreaterThan(5000);
  });

  test("a run that lost its claim stores and sends nothing more", async () => {
    const app = new Lovage("tasks");
    const notes: string[] = [];
    const note = app.task("tasks.note", (text: string) => void notes.push(text));
    let wake: () => void = () => {};
    let runs = 0;
    const task = app.task("tasks.task", async () => {
      const run = ++runs;
      if (run === 1) await new Promise<void>((resolve) => (wake = resolve));
      return `run ${run}`;
    });
    const t = start(app);
    const result = await task.applyAsync([], { link: note.s() });
    await t.advance({ seconds: 1 });
    t.crash();
    await t.advance({ minutes: 2 });
    wake();
    await t.advance({ minutes: 2 });
    expect([await result.get(), notes]).toEqual(["run 2", ["run 2"]]);
  });

  test("what a task sends and does not await is sent before it ends", async () => {
    const app = new Lovage("tasks");
    const leaf = app.task("tasks.leaf", (n: number) => n);
    const careless = app.task("tasks.careless", () => {
      for (let n = 0; n < 3; n++) void leaf.applyAsync([n], { taskId: `leaf-${n}` });
      void currentTask()?.updateState({ state: "SENDING" });
      return "sent";
    });
    const t = start(app);
    const result = await careless.delay();
    await t.drain();
    expect(await result.get()).toBe("sent");
    expect((await result.children()).map(({ id }) => id).sort()).toEqual(["leaf-0", "leaf-1", "leaf-2"]);
    expect(await app.result("leaf-2").get()).toBe(2);
  });

  test("a generator's members are all sent before the task ends that did not await them", async () => {
    const app = new Lovage("tasks");
    const ran: number[] = [];
    const leaf = app.task("tasks.leaf", (n: number) => void ran.push(n));
    const careless = app.task("tasks.careless", () => {
      async function* members() {
        for (let n = 0; n < 5; n++) {
          await new Promise((resolve) => setImmediate(resolve));
          yield leaf.s(n);
        }
      }
      void group(members()).delay();
    });
    const t = start(app);
    const result = await careless.delay();
    await t.drain();
    expect([ran, await result.state()]).toEqual([[0, 1, 2, 3, 4], "SUCCESS"]);
  });
});

describe.each(stores)("in the queues themselves, on %s", (_, start) => {
  test("a task that does not claim runs although it was revoked, stays REVOKED, and its message is gone", async () => {
    const app = new Lovage("tasks");
    let runs = 0;
    const note = app.task("tasks.note", { claim: false }, () => ++runs);
    const after = app.task("tasks.after", () => "after");
    const t = start(app);
    const last = await chain(note.s(), after.si()).delay();
    const first = last.parent;
    await first?.revoke();
    await t.advance({ hours: 1 });
    expect([runs, await app.result(first?.id ?? "").state(), await last.state()]).toEqual([1, "REVOKED", "REVOKED"]);
    expect(await (await app.engine.broker()).size("celery")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
  });

  test("a task that kills its workers is given up: FAILURE, errbacks, a dead letter", async () => {
    const app = new Lovage("tasks");
    const told: unknown[] = [];
    const tell = app.task("tasks.tell", (id: string) => void told.push(id));
    let runs = 0;
    const poison = app.task("tasks.poison", () => {
      runs++;
      return never();
    });
    const t = start(app);
    const result = await poison.applyAsync([], { linkError: tell.s() });
    for (let deaths = 0; deaths < 6; deaths++) {
      await t.advance({ minutes: 2 });
      t.crash();
    }
    await t.advance({ minutes: 2 });
    expect(runs).toBe(3);
    await expect(result.get()).rejects.toThrow(WorkerLostError);
    expect(told).toEqual([result.id]);
    expect(await t.deadLetters()).toMatchObject([{ attributes: { id: result.id, error: "WorkerLostError" } }]);
  });

  test("of two messages with one id one runs, and the other changes nothing", async () => {
    const app = new Lovage("tasks");
    const ran: number[] = [];
    const note = app.task("tasks.note", (n: number) => {
      ran.push(n);
      return n;
    });
    const t = start(app, { concurrency: 2 });
    await note.applyAsync([1], { taskId: "id" });
    await note.applyAsync([2], { taskId: "id" });
    await t.advance({ minutes: 5 });
    expect([ran, await app.result("id").get()]).toEqual([[1], 1]);
    expect(await (await app.engine.broker()).size("celery")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
  });

  test("a task that does not claim runs for every message, and the first outcome stays", async () => {
    const app = new Lovage("tasks");
    let runs = 0;
    const note = app.task("tasks.note", { claim: false }, () => ++runs);
    const t = start(app);
    await note.applyAsync([], { taskId: "id" });
    await note.applyAsync([], { taskId: "id" });
    await t.advance({ hours: 1 });
    expect([runs, await app.result("id").get()]).toEqual([2, 1]);
    expect(await (await app.engine.broker()).size("celery")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
  });
});

test("a send that a task did not await and that failed makes the task fail", async () => {
  const app = new Lovage("tasks");
  const careless = app.task("tasks.careless", () => {
    void app.sendTask("tasks.other", [Symbol("no")]);
    return "sent";
  });
  const t = inMemory(app);
  const result = await careless.delay();
  await t.drain();
  await expect(result.get()).rejects.toMatchObject({ name: "EncodeError" });
});

describe("what a task does not await is sent before", () => {
  const ends = {
    "a retry": (self: RunningTask): never => self.retry({ countdown: 60 }),
    "a replacement": (self: RunningTask): never => self.replace(self.app.signature("tasks.leaf", [1])),
    "a failure": (): never => {
      throw new RangeError("no");
    },
    Ignore: (): never => {
      throw new Ignore();
    },
    Reject: (): never => {
      throw new Reject("no");
    },
  };
  const taskOf = (app: Lovage, end: (self: RunningTask) => never) =>
    app.task("tasks.careless", { bind: true }, (self): never => {
      void self.app.sendTask("tasks.leaf", [0]);
      return end(self);
    });

  test.each(Object.entries(ends))("%s is stored", async (_, end) => {
    const app = new Lovage("tasks");
    const careless = taskOf(app, end);
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    const t = inMemory(app, {
      broker: (broker) => ({
        ...broker,
        send: async (entries) => {
          if (entries.some(({ body }) => body.includes('"tasks.leaf"') && body.includes("[[0]"))) await gate;
          return broker.send(entries);
        },
      }),
    });
    const result = await careless.delay();
    await t.advance({ seconds: 1 });
    const row = async () => (await (await app.engine.backend()).read([taskKey(result.id)]))[0];
    expect((await row())?.settled).toBeUndefined();
    open();
    await t.advance({ seconds: 1 });
    expect((await row())?.settled).toBe(true);
  });

  test.each(["a retry", "a replacement", "Ignore"] as const)(
    "%s is stored, and where it fails that is the outcome",
    async (name) => {
      const app = new Lovage("tasks");
      const careless = app.task("tasks.careless", { bind: true }, (self): never => {
        void self.app.sendTask("tasks.leaf", [Symbol("no")]);
        return ends[name](self);
      });
      const t = inMemory(app);
      const result = await careless.delay();
      await t.drain();
      await expect(result.get({ timeout: 0 })).rejects.toMatchObject({ name: "EncodeError" });
    },
  );
});

describe("a send that fails before its task ends, where the task", () => {
  /** Until what was begun before has come to its end. */
  const turns = async () => {
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  const unsendable = Symbol("no");
  const sends: Record<string, (self: RunningTask) => Promise<unknown>> = {
    sendTask: ({ app }) => app.sendTask("tasks.leaf", [unsendable]),
    "delay of a signature": ({ app }) => app.signature("tasks.leaf", [unsendable]).delay(),
    "delay of a group": ({ app }) => group([app.signature("tasks.leaf", [unsendable])]).delay(),
    sendMany: ({ app }) => app.sendMany([app.signature("tasks.leaf", [unsendable])]),
    updateState: (self) => self.updateState({ state: "HALF", meta: unsendable }),
    write: (self) => self.write(unsendable),
  };
  const runs: Record<string, (app: Lovage, task: Task) => Promise<AsyncResult>> = {
    "in a worker": async (app, task) => {
      const t = inMemory(app);
      const result = await task.delay();
      await t.drain();
      return result;
    },
    "in its caller": (app, task) => {
      inMemory(app);
      return task.apply();
    },
  };

  describe.each(Object.entries(runs))("runs %s and", (where, run) => {
    test.each(Object.entries(sends))("does not look at %s, fails the task", async (name, send) => {
      // Nobody can look at a state or a stream before a task has ended that runs in its caller: they are not sent there.
      if (where === "in its caller" && (name === "updateState" || name === "write")) return;
      const app = new Lovage("tasks");
      const careless = app.task("tasks.careless", { bind: true }, async (self) => {
        void send(self);
        await turns();
        return "sent";
      });
      const result = await run(app, careless as unknown as Task);
      await expect(result.get({ timeout: 0 })).rejects.toThrow(/symbol/i);
    });

    test.each(Object.entries(sends))("looks at %s later, leaves the task its error", async (_, send) => {
      const app = new Lovage("tasks");
      const careful = app.task("tasks.careful", { bind: true }, async (self) => {
        const sending = [send(self), send(self), send(self)] as const;
        await turns();
        const ends = await Promise.allSettled([sending[0]]);
        await sending[1].catch(() => {});
        try {
          await sending[2];
        } catch {
          return ends.length;
        }
        return ends.length;
      });
      const result = await run(app, careful as unknown as Task);
      expect(await result.get({ timeout: 0 })).toBe(1);
    });
  });

  test("did not look at it in a hook, is told to the hook's log, and once", async () => {
    const app = new Lovage("tasks");
    const onSuccess = async () => {
      void app.sendTask("tasks.leaf", [unsendable]);
      await turns();
    };
    const task = app.task("tasks.hooked", { onSuccess, afterReturn: () => {} }, () => 1);
    const t = inMemory(app);
    const result = await task.delay();
    await t.drain();
    expect(await result.get({ timeout: 0 })).toBe(1);
    expect(t.log.filter(({ level }) => level === "error").map(({ line }) => line)).toEqual([
      expect.stringMatching(/onSuccess[\s\S]*symbol/i),
    ]);
  });
});

test("a context can do nothing after its task has ended", async () => {
  const app = new Lovage("tasks");
  const leaf = app.task("tasks.leaf", () => 1);
  const seen: string[] = [];
  let late: Promise<void> | undefined;
  const early = app.task("tasks.early", { bind: true }, (self) => {
    const calls: Record<string, () => Promise<unknown>> = {
      updateState: () => self.updateState({ state: "LATE" }),
      retry: async () => self.retry(),
      replace: async () => self.replace(leaf.s()),
      addToChord: () => self.addToChord(leaf.s()),
    };
    late = (async () => {
      for (let turns = 0; turns < 50; turns++) await new Promise((resolve) => setImmediate(resolve));
      for (const [name, call] of Object.entries(calls)) {
        await call().then(
          () => seen.push(`${name} did something`),
          (error: unknown) => {
            if (!(error instanceof ContextSettledError)) seen.push(`${name} threw ${String(error)}`);
          },
        );
      }
    })();
  });
  const t = inMemory(app);
  const result = await early.delay();
  await t.drain();
  await late;
  expect(seen).toEqual([]);
  expect([await result.state(), await t.drain()]).toEqual(["SUCCESS", []]);
});

test("what a task makes for the whole process sends after it, in nobody's name", async () => {
  const app = new Lovage("tasks");
  const leaf = app.task("tasks.leaf", { bind: true }, ({ request }) => [
    request.parentId,
    request.rootId === request.id,
  ]);
  const made = new EventTarget();
  const failed: unknown[] = [];
  const sent: Promise<unknown>[] = [];
  const other = app.result("other");
  const calls: (() => Promise<unknown>)[] = [
    () => leaf.delay(),
    () => app.sendTask("tasks.leaf"),
    () => app.sendMany([leaf.s()]),
    () => chain(leaf.s(), leaf.si()).delay(),
    () => group([leaf.s()]).delay(),
    () =>
      group(
        (function* () {
          yield leaf.s();
        })(),
      ).delay(),
    () => leaf.apply(),
    () => other.revoke(),
    () => other.forget(),
    () => app.beat.put("late", { task: "tasks.leaf", schedule: 10 }),
    () => app.beat.pause("late"),
    () => app.beat.remove("late"),
  ];
  const flush = () => {
    expect(currentTask()).toBeUndefined();
    for (const call of calls) sent.push(call().catch((error: unknown) => failed.push(error)));
  };
  const early = app.task("tasks.early", () => {
    // A timer, a client's listener, and a promise that nobody awaits.
    setTimeout(flush, 20);
    made.addEventListener("drain", flush);
    void new Promise((resolve) => setTimeout(resolve, 20)).then(flush);
  });
  const t = inMemory(app);
  const result = await early.delay();
  await t.drain();
  made.dispatchEvent(new Event("drain"));
  await new Promise((resolve) => setTimeout(resolve, 50));
  await Promise.all(sent);
  expect([failed, sent.length]).toEqual([[], 3 * calls.length]);
  const runs = (await t.drain()).filter(({ task }) => task === "tasks.leaf");
  // Seven for each: a chain's second step is a child of its first.
  expect(runs).toHaveLength(3 * 7);
  expect(runs.filter(({ result }) => JSON.stringify(result) === "[null,true]")).toHaveLength(3 * 6);
  expect((await result.children()) ?? []).toEqual([]);
});

test("maxDeliveries says how many workers a task may kill", async () => {
  const app = new Lovage("tasks", { maxDeliveries: 1 });
  let runs = 0;
  const poison = app.task("tasks.poison", () => {
    runs++;
    return never();
  });
  const t = inMemory(app);
  const result = await poison.delay();
  await t.advance({ seconds: 1 });
  t.crash();
  await t.advance({ minutes: 5 });
  expect([runs, await result.state()]).toEqual([1, "FAILURE"]);
});
