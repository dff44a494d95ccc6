import { EncodeError, Lovage } from "lovage";
import { describe, expect, test } from "vitest";
import { exceptionToData } from "../../src/protocol/exceptions.ts";
import { LONG } from "../../src/protocol/long-text.ts";
import { stores } from "./stores.ts";

class Lazy extends Error {
  override get message(): string {
    throw new Error("getter");
  }
}

class Stackless extends Error {
  override get stack(): string {
    throw new Error("getter");
  }
}

const withMessage = (message: unknown): Error => Object.assign(new RangeError("x"), { message });
const cycle: Record<string, unknown> = {};
cycle["self"] = cycle;
const looped = new Error("looped");
looped.cause = looped;

const odd: readonly (readonly [string, unknown])[] = [
  ["a message that throws", new Lazy()],
  ["a stack that throws", new Stackless("here")],
  ["a symbol for a message", withMessage(Symbol("s"))],
  ["a cycle for a message", withMessage(cycle)],
  ["a message without a text", withMessage(Object.create(null))],
  ["itself for a cause", looped],
  [
    "a name that throws",
    Object.defineProperty(new Error("x"), "name", {
      get: () => {
        throw new Error("getter");
      },
    }),
  ],
  ["nothing", undefined],
  ["a symbol", Symbol("s")],
  ["a function", () => 1],
  ["a value without a text", Object.create(null)],
  [
    "a proxy that was revoked",
    (() => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      return proxy;
    })(),
  ],
  [
    "reasons that contain it",
    (() => {
      const all = new AggregateError([], "all");
      all.errors.push(all);
      return all;
    })(),
  ],
];

const fails = (): never => {
  throw new Error("not to be read");
};
const { proxy: gone, revoke } = Proxy.revocable({}, {});
revoke();
const unreadable: readonly (readonly [string, object])[] = [
  ["a getter that throws", Object.defineProperty({}, "x", { enumerable: true, get: fails })],
  [
    "a getter that throws, after what is long",
    {
      long: "x".repeat(LONG),
      get x() {
        return fails();
      },
    },
  ],
  ["a proxy that throws", new Proxy({}, { ownKeys: fails })],
  ["a proxy that was revoked", gone],
];

describe.each(stores)("on %s", (_, start) => {
  test.each(odd)("a task that throws %s is FAILURE, and its hooks and signals come", async (_, thrown) => {
    const app = new Lovage("tasks");
    const heard: string[] = [];
    const fails = app.task("tasks.fails", { onFailure: () => void heard.push("onFailure") }, () => {
      throw thrown;
    });
    const again = app.task("tasks.again", { bind: true, maxRetries: 1 }, (self) =>
      self.retry({ countdown: 1, exc: thrown ?? null }),
    );
    app.on("taskFailure", () => void heard.push("taskFailure"));
    app.on("taskPostrun", () => void heard.push("taskPostrun"));
    const t = start(app);
    const result = await fails.delay();
    await t.drain();
    expect(await result.state()).toBe("FAILURE");
    expect(heard).toEqual(["onFailure", "taskFailure", "taskPostrun"]);
    await expect(result.get()).rejects.toThrow();
    const retried = await again.delay();
    await t.advance({ minutes: 5 });
    expect(await retried.state()).toBe("FAILURE");
    expect(t.log.filter(({ line }) => line.includes("handed back"))).toEqual([]);
  });

  test.each(unreadable)("a task that gives %s is FAILURE at once, and a call with it is refused", async (_, value) => {
    const app = new Lovage("tasks");
    const gives = app.task("tasks.gives", () => ({ inner: value }));
    const takes = app.task("tasks.takes", (_: object) => {});
    const t = start(app);
    const result = await gives.delay();
    await t.drain();
    await expect(result.get({ timeout: 0 })).rejects.toMatchObject({ name: "EncodeError" });
    expect(t.log.filter(({ line }) => line.includes("handed back"))).toEqual([]);
    await expect(takes.delay({ inner: value })).rejects.toThrow(EncodeError);
  });

  test("errors that stand for others say which, in row and log", async () => {
    const app = new Lovage("tasks");
    const any = app.task("tasks.any", () =>
      Promise.any([Promise.reject(new Error("smtp-1 refused")), Promise.reject(new TypeError("smtp-2 full"))]),
    );
    const connect = app.task("tasks.connect", () => {
      throw Object.assign(
        new AggregateError([new Error("connect ECONNREFUSED ::1:1"), new Error("connect ECONNREFUSED 127.0.0.1:1")]),
        { code: "ECONNREFUSED" },
      );
    });
    const suppressed = app.task("tasks.suppressed", () => {
      throw Object.assign(new Error("An error was suppressed during disposal"), {
        name: "SuppressedError",
        error: new Error("close failed"),
        suppressed: new Error("query failed"),
      });
    });
    const t = start(app);
    for (const [task, message] of [
      [any, "All promises were rejected: Error: smtp-1 refused; TypeError: smtp-2 full"],
      [connect, "Error: connect ECONNREFUSED ::1:1; Error: connect ECONNREFUSED 127.0.0.1:1"],
      [suppressed, "An error was suppressed during disposal: Error: close failed; Error: query failed"],
    ] as const) {
      const result = await task.delay();
      await t.drain();
      await expect(result.get()).rejects.toThrow(message);
      const traceback = await result.traceback();
      for (const reason of message.split(/: |; /).slice(2)) expect(traceback).toContain(reason);
      expect(t.log.at(-1)?.line).toContain(message);
    }
  });

  test("of an error of a megabyte its type, its beginning and its end are stored", async () => {
    const app = new Lovage("tasks");
    const huge = app.task("tasks.huge", () => {
      throw new RangeError(`begin ${"é".repeat(1_000_000)} end`);
    });
    const t = start(app);
    const result = await huge.delay();
    await t.drain();
    const error = await result.result();
    expect(error).toMatchObject({
      name: "RangeError",
      message: expect.stringMatching(/^begin .* … \[\d+ characters left out\] … .* end$/),
    });
    expect((error as Error).message.length).toBeLessThanOrEqual(10_000);
    expect(await result.traceback()).toMatch(/RangeError: begin.*at /s);
    expect((await result.traceback())?.length).toBeLessThanOrEqual(30_000);
  });

  test("a line about a large result is built as short as it is shown", async () => {
    const app = new Lovage("tasks");
    const render = app.task("tasks.render", () => Array(300_000).fill({ a: [1, 2] }));
    const t = start(app);
    await render.delay();
    await t.drain();
    const line = t.log.at(-1)?.line ?? "";
    expect(line).toMatch(/succeeded in .*: \[\{"a":\[1,2\]\},.*…$/);
    expect(line.length).toBeLessThan(1200);
  });
});

test("what is stored of any error fits beside the rest of a row", () => {
  const large = "\u0001".repeat(500_000);
  const errors = [
    new Error(large, { cause: new Error(large, { cause: new Error(large) }) }),
    new AggregateError(Array(1000).fill(new Error(large)), large),
    Object.assign(new Error("x"), { name: large }),
    large,
    { large },
    Array(100_000).fill(large),
  ];
  for (const error of errors) expect(JSON.stringify(exceptionToData(error)).length).toBeLessThan(300_000);
});
