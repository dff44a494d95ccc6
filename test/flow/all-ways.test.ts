/**
 * One task, run in each way that there is: by a worker that is led by a test, by a poller, by a function, and in its caller.
 * What the task, its hooks, the steps around it and those who listen see is the same.
 */
import { setImmediate } from "node:timers/promises";
import { type AsyncResult, type CallOptions, chain, chord, group, Ignore, Lovage, Reject, Task } from "lovage";
import { createWorkerHandler } from "lovage/lambda";
import type { TestApp } from "lovage/testing";
import { describe, expect, test } from "vitest";
import { startWorker } from "../../src/workers/poll.ts";
import { toRecord } from "../lambda/function.ts";
import { inMemory, stores } from "./stores.ts";

const SIGNALS = ["taskPrerun", "taskSuccess", "taskFailure", "taskRetry", "taskRevoked", "taskPostrun"] as const;

class Busy extends Error {}

/** Is stopped by its signal alone. */
const untilTold = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));

interface Scene {
  readonly app: Lovage;
  readonly say: (line: string) => void;
  readonly Noting: typeof Task;
}

type Call = readonly [task: Task, args?: readonly unknown[], options?: CallOptions];

const cases: readonly (readonly [what: string, declare: (scene: Scene) => Call])[] = [
  ["succeeds", ({ app, Noting }) => [app.task("t", { base: Noting }, (a: number, b: number) => a + b), [1, 2]]],
  [
    "fails",
    ({ app, Noting }) => [
      app.task("t", { base: Noting }, () => {
        throw new Busy("no");
      }),
    ],
  ],
  [
    "is retried until that is no use any more",
    ({ app, Noting }) => [
      app.task("t", { base: Noting, autoretryFor: [Busy], maxRetries: 2, retryBackoff: true }, () => {
        throw new Busy("no");
      }),
    ],
  ],
  [
    "asks for a retry, with other arguments",
    ({ app, Noting }) => [
      app.task("t", { base: Noting, bind: true }, (self, n: number) =>
        n < 2 ? self.retry({ countdown: 5, args: [n + 1] }) : n,
      ),
      [0],
    ],
  ],
  [
    "is ignored",
    ({ app, Noting }) => [
      app.task("t", { base: Noting }, () => {
        throw new Ignore();
      }),
    ],
  ],
  [
    "rejects its message",
    ({ app, Noting }) => [
      app.task("t", { base: Noting }, () => {
        throw new Reject("unreadable");
      }),
    ],
  ],
  [
    "is replaced",
    ({ app, Noting }) => {
      const other = app.task("other", { base: Noting }, (n: number) => n + 1);
      return [app.task("t", { base: Noting, bind: true }, (self) => self.replace(other.s(1)))];
    },
  ],
  [
    "is replaced by a chord",
    ({ app, Noting }) => {
      const one = app.task("one", { base: Noting }, (n: number) => n + 1);
      const sum = app.task("sum", { base: Noting }, (xs: number[]) => xs.length);
      return [
        app.task("t", { base: Noting, bind: true }, (self) => self.replace(chord([one.s(1), one.s(2)], sum.s()))),
      ];
    },
  ],
  [
    "is replaced by a chord that fails, and has an errback",
    ({ app, Noting }) => {
      const one = app.task("one", { base: Noting }, (n: number) => {
        if (n > 1) throw new Busy();
        return n;
      });
      const sum = app.task("sum", { base: Noting }, (xs: number[]) => xs.length);
      const err = app.task("err", { base: Noting }, (id: string) => id.length);
      return [
        app.task("t", { base: Noting, bind: true }, (self) => self.replace(chord([one.s(1), one.s(2)], sum.s()))),
        [],
        { linkError: [err.s()] },
      ];
    },
  ],
  [
    "is replaced by a chain, and has a step after it",
    ({ app, Noting }) => {
      const one = app.task("one", { base: Noting }, (n: number) => n + 1);
      return [
        app.task("t", { base: Noting, bind: true }, (self) => self.replace(chain(one.s(1), group([one.s(), one.s()])))),
        [],
        { link: [app.task("all", { base: Noting }, (xs: unknown) => JSON.stringify(xs)).s()] },
      ];
    },
  ],
  [
    "calls an errback of Celery's that takes the request, and fails as foreseen",
    ({ app, Noting }) => {
      const err = app.task(
        "err",
        { params: ["request", "exc", "traceback"] },
        (request: { id: string }, exc: Error) => [request.id, exc.name],
      );
      return [
        app.task("t", { base: Noting, throws: [Busy] }, () => {
          throw new Busy();
        }),
        [],
        { linkError: [err.s()] },
      ];
    },
  ],
  [
    "ignores its result, but for errors",
    ({ app, Noting }) => [
      app.task("t", { base: Noting, ignoreResult: true, storeErrorsEvenIfIgnored: true }, () => {
        throw new Busy("no");
      }),
    ],
  ],
  ["is not claimed", ({ app, Noting }) => [app.task("t", { base: Noting, claim: false }, (n: number) => n), [3]]],
  [
    "ends in time at its soft limit",
    ({ app, Noting }) => [
      app.task("t", { base: Noting, bind: true, softTimeLimit: 3 }, (self) =>
        untilTold(self.signal).catch((reason: Error) => `${reason.name}, ${self.remaining()} s are left`),
      ),
    ],
  ],
  [
    "goes on from a checkpoint",
    ({ app, Noting }) => [
      app.task("t", { base: Noting, bind: true }, (self) => {
        const at = (self.request.checkpoint as number | undefined) ?? 0;
        return at < 2 ? self.checkpoint(at + 1) : at;
      }),
    ],
  ],
  ["returns what cannot be stored", ({ app, Noting }) => [app.task("t", { base: Noting }, (): unknown => () => 1)]],
  [
    "has steps after it, for both ends",
    ({ app, Noting }) => {
      const next = app.task("next", { base: Noting }, (n: number) => n + 1);
      const err = app.task("err", { base: Noting }, (id: string) => id.length);
      const options = { link: [next.s()], linkError: [err.s()] };
      return [app.task("t", { base: Noting }, () => 1), [], options];
    },
  ],
  [
    "fails, and has an errback",
    ({ app, Noting }) => {
      const err = app.task("err", { base: Noting }, (id: string) => id.length);
      return [
        app.task("t", { base: Noting }, () => {
          throw new Busy();
        }),
        [],
        { linkError: [err.s()] },
      ];
    },
  ],
  [
    "has another one run in its place",
    ({ app, Noting }) => {
      const other = app.task("other", { base: Noting }, () => 2);
      return [app.task("t", { base: Noting }, async () => (await other.apply()).get())];
    },
  ],
  ["has expired", ({ app, Noting }) => [app.task("t", { base: Noting }, () => 1), [], { expires: new Date(0) }]],
  [
    "ignores its result",
    ({ app, Noting }) => [app.task("t", { base: Noting, bind: true, ignoreResult: true }, () => 1)],
  ],
  [
    "is one of a batch",
    ({ app, say }) => [
      app.batchTask("t", { size: 10, wait: 1 }, (calls) => {
        say(`a batch of ${calls.length}`);
        return calls.map(({ args }) => args);
      }),
      [1],
    ],
  ],
  [
    "goes beyond its soft limit",
    ({ app, Noting }) => [
      app.task("t", { base: Noting, bind: true, softTimeLimit: 3, timeLimit: 9 }, ({ signal }) => untilTold(signal)),
    ],
  ],
  ["goes beyond its limit", ({ app }) => [app.task("t", { timeLimit: 3 }, () => new Promise<never>(() => {}))]],
  [
    "goes beyond the limit of its call",
    ({ app }) => [app.task("t", { timeLimit: 30 }, () => new Promise<never>(() => {})), [], { timeLimit: 3 }],
  ],
  [
    "goes beyond the limit of its queue",
    ({ app }) => [app.task("t", { queue: "quick" }, () => new Promise<never>(() => {}))],
  ],
  ["goes beyond the limit of the app", ({ app }) => [app.task("t", () => new Promise<never>(() => {}))]],
];

type Way = (t: TestApp, task: Task, args: readonly unknown[], options: CallOptions) => Promise<AsyncResult<unknown>>;

/** Moves the clock on beside what is under way. */
async function byClock(t: TestApp, each: () => Promise<void> = async () => {}): Promise<void> {
  for (let step = 0; step < 120; step++) {
    for (let turns = 0; turns < 6; turns++) await setImmediate();
    await each();
    t.clock.moveTo(t.clock.now() + 500);
  }
}

const eagerly: Way = async (t, task, args, options) => {
  const [result] = await Promise.all([task.apply([...args], options), byClock(t)]);
  return result;
};

const ways: readonly (readonly [name: string, start: (typeof stores)[number][1], way: Way])[] = [
  ...stores.map(
    ([name, start]) =>
      [
        `a worker on ${name}`,
        start,
        (async (t, task, args, options) => {
          const result = await task.applyAsync([...args], options);
          await t.advance({ minutes: 1 });
          return result;
        }) satisfies Way,
      ] as const,
  ),
  [
    "a poller",
    // A receive waits by the machine's clock, which is not moved.
    (app, options) =>
      inMemory(app, {
        ...options,
        broker: (broker) => ({
          ...broker,
          async receive(queue, asked) {
            await setImmediate();
            return broker.receive(queue, { ...asked, wait: 0 });
          },
        }),
      }),
    async (t, task, args, options) => {
      const result = await task.applyAsync([...args], options);
      const worker = await startWorker(t.app, { concurrency: 1 });
      await byClock(t);
      await Promise.all([worker.stop(), byClock(t)]);
      return result;
    },
  ],
  [
    "a function",
    inMemory,
    async (t, task, args, options) => {
      const result = await task.applyAsync([...args], options);
      const handler = createWorkerHandler(t.app, { write: () => {} });
      const broker = await t.app.engine.broker();
      await byClock(t, async () => {
        for (const queue of await broker.queues()) {
          if (queue.endsWith("-dlq")) continue;
          const deliveries = await broker.receive(queue, { max: 10, wait: 0, visibility: 360_000 });
          if (deliveries.length === 0) continue;
          const invoked = handler(
            { Records: deliveries.map(toRecord) },
            { awsRequestId: "one", getRemainingTimeInMillis: () => 65_000 },
          );
          void invoked.then(async ({ batchItemFailures }) => {
            const failed = new Set(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
            await broker.delete(deliveries.filter(({ messageId }) => !failed.has(messageId)));
          });
        }
      });
      return result;
    },
  ],
  ["its caller", inMemory, eagerly],
];

describe.each(cases)("a task that %s", (_, declare) => {
  async function seen([, start, way]: (typeof ways)[number]): Promise<readonly string[]> {
    const app = new Lovage("tasks", {
      taskTimeLimit: 20,
      workerConcurrency: 1,
      taskQueues: { celery: {}, quick: { timeLimit: 3 } },
      // What is ignored would stay so, with the name of its worker.
      taskTrackStarted: false,
    });
    const lines: string[] = [];
    const say = (line: string) => void lines.push(line);
    const textOf = (value: unknown) =>
      value instanceof Error ? `${value.name}: ${value.message}` : JSON.stringify(value);
    class Noting extends Task {
      override beforeStart(id: string, args: readonly unknown[]) {
        say(`beforeStart ${id} ${textOf(args)}`);
      }
      override onSuccess(value: unknown, id: string) {
        say(`onSuccess ${id} ${textOf(value)}`);
      }
      override onFailure(error: unknown, id: string) {
        say(`onFailure ${id} ${textOf(error)}`);
      }
      override onRetry(error: unknown, id: string) {
        say(`onRetry ${id} ${textOf(error)}`);
      }
      override afterReturn(state: string, value: unknown, id: string) {
        say(`afterReturn ${id} ${state} ${textOf(value)}`);
      }
    }
    const [task, args = [], options = {}] = declare({ app, say, Noting: Noting as typeof Task });
    const t = start(app, { seed: 7 });
    for (const signal of SIGNALS) {
      app.on(signal, (facts) => {
        const { timeLimit, softTimeLimit, ignoreResult, retries, queue, args: given } = facts.request;
        const request = { timeLimit, softTimeLimit, ignoreResult, retries, queue, given };
        const { task: name, taskId } = facts;
        const state = "state" in facts ? facts.state : "";
        const result = "result" in facts ? textOf(facts.result) : "";
        const error = "error" in facts ? textOf(facts.error) : "reason" in facts ? textOf(facts.reason) : "";
        say(`${signal} ${name}[${taskId}] ${state} ${result} ${error} ${JSON.stringify(request)}`);
      });
    }
    app.around({
      async run(_request, next) {
        say("around {");
        await next();
        say("} around");
      },
    });
    const result = await way(t, task, args, { ...options, taskId: "id" });
    // Who calls it in place gets its result, whether or not others may read it.
    if (task.options.ignoreResult !== true) say(`${await result.state()} ${textOf(await result.result())}`);
    // Ids are counted, and a stack has what called.
    const told = [/[0-9a-f]{8}-0000-4000-8000-\d{12}/g, /(\\n {4}at [^"\\]*)+/g];
    return lines.map((line) => told.reduce((text, what) => text.replace(what, "…"), line));
  }

  const first = ways[0];
  test.each(ways.slice(1))("is the same in %s", async (name, ...rest) => {
    if (first === undefined) throw new Error("there is a first");
    const expected = await seen(first);
    expect(expected).not.toEqual([]);
    expect(await seen([name, ...rest])).toEqual(expected);
  });
});
