/** Arguments of either spelling: how they find a task's parameters, and what a retry makes of them. */
import { describe, expect, test } from "vitest";
import { Lovage, type RunningTask, type Task } from "lovage";
import { testApp } from "lovage/testing";

type Kwargs = Record<string, unknown>;

/** Each as the Python function in its first column. */
const functions: readonly [
  python: string,
  params: readonly string[],
  // biome-ignore lint/suspicious/noExplicitAny: the parameters of each are what the test is about
  fn: (...args: any[]) => unknown,
  calls: readonly (readonly [args: unknown[], kwargs: Kwargs, result: unknown])[],
][] = [
  [
    "def f(x, y)",
    ["x", "y"],
    (x, y) => [x, y],
    [
      [[1, 2], {}, [1, 2]],
      [[1], { y: 2 }, [1, 2]],
      [[], { y: 2, x: 1 }, [1, 2]],
      [[null], { y: null }, [null, null]],
      [[5], {}, "f() missing 1 required positional argument: 'y'"],
      [[], {}, "f() missing 2 required positional arguments: 'x' and 'y'"],
      [[1, 2, 3, 4], {}, "f() takes 2 positional arguments but 4 were given"],
      [[1], { x: 1 }, "f() got multiple values for argument 'x'"],
    ],
  ],
  [
    "def f(x, y, z)",
    ["x", "y", "z"],
    (x, y, z) => [x, y, z],
    [[[], {}, "f() missing 3 required positional arguments: 'x', 'y', and 'z'"]],
  ],
  [
    "def f()",
    [],
    () => 0,
    [
      [[], {}, 0],
      [[1], {}, "f() takes 0 positional arguments but 1 was given"],
    ],
  ],
  [
    "def f(x, y=2)",
    ["x", "y"],
    (x, y = 2) => [x, y],
    [
      [[1], {}, [1, 2]],
      [[1, 3], {}, [1, 3]],
      [[1, 2, 3], {}, "f() takes from 1 to 2 positional arguments but 3 were given"],
    ],
  ],
  [
    "def f(x, y=None)",
    ["x", "y?"],
    (x, y) => [x, y ?? "none"],
    [
      [[1], {}, [1, "none"]],
      [[], { y: 1 }, "f() missing 1 required positional argument: 'x'"],
    ],
  ],
  [
    "def f(x, *args)",
    ["x", "...args"],
    (x, ...args) => [x, args],
    [
      [[1, 2, 3], {}, [1, [2, 3]]],
      [[1], {}, [1, []]],
      [[], { x: 1 }, [1, []]],
      [[], { args: [1], x: 1 }, "f() got an unexpected keyword argument 'args'; it takes x, ...args"],
    ],
  ],
  [
    "def f(*args, key=None)",
    ["*args", "key"],
    (args, key = null) => [args, key],
    [
      [[1, 2], { key: 3 }, [[1, 2], 3]],
      [[1, 2], {}, [[1, 2], null]],
    ],
  ],
  [
    "def f(x, *args, key, **kwargs)",
    ["x", "...args", "key", "**kwargs"],
    (x, args, key, kwargs) => [x, args, key, kwargs],
    [
      [[1, 2], { key: 3, more: 4 }, [1, [2], 3, { more: 4 }]],
      [[1], { more: 4 }, "f() missing 1 required keyword-only argument: 'key'"],
    ],
  ],
  [
    "def f(i, **kwargs)",
    ["i", "**kwargs"],
    (i, kwargs) => [i, kwargs],
    [
      [[1], { other: 2, ["__proto__"]: 3 }, [1, { other: 2, ["__proto__"]: 3 }]],
      [[1], {}, [1, {}]],
      [[1, { other: 2 }], {}, [1, { other: 2 }]],
      [[1, 2], {}, "f() takes 1 positional argument but 2 were given"],
    ],
  ],
  [
    "def f(a, *, key=1)",
    ["a", "*", "key"],
    (a, key = 1) => [a, key],
    [
      [[0], { key: 2 }, [0, 2]],
      [[0, 2], {}, "f() takes 1 positional argument but 2 were given"],
    ],
  ],
  [
    "def f(a, b=2, *, key, more=4)",
    ["a", "b?", "*", "key", "more?"],
    (a, b = 2, key, more = 4) => [a, b, key, more],
    [
      [[1], { key: 3 }, [1, 2, 3, 4]],
      [[1], {}, "f() missing 1 required keyword-only argument: 'key'"],
      [[], {}, "f() missing 1 required positional argument: 'a'"],
    ],
  ],
  [
    "def f(a, /, b, **kwargs)",
    ["a", "/", "b", "**kwargs"],
    (a, b, kwargs) => [a, b, kwargs],
    [
      [[1], { b: 2, a: 3 }, [1, 2, { a: 3 }]],
      [[], { a: 1, b: 2 }, "f() missing 1 required positional argument: 'a'"],
    ],
  ],
];

const cases = functions.flatMap(([python, params, fn, calls]) =>
  calls.flatMap((call) => [false, true].map((bind) => [python, bind, params, fn, ...call] as const)),
);

test.each(cases)("%s, bind %s: %#", async (_, bind, params, fn, args, kwargs, expected) => {
  const app = new Lovage("tasks");
  // A function that is bound has a parameter more; its length counts those without a default.
  const bound = Object.defineProperty((_self: unknown, ...given: unknown[]) => fn(...given), "length", {
    value: fn.length + 1,
  });
  const f = app.task("f", { bind: bind as never, params }, (bind ? bound : fn) as never) as unknown as Task;
  await using t = testApp(app);
  const result = await app.sendTask("f", args, { kwargs });
  await t.drain();
  const refused = typeof expected === "string";
  if (!refused) expect(await result.get()).toEqual(expected);
  else await expect(result.get()).rejects.toMatchObject({ name: "TypeError", message: expected });
  // Called as a task, it is refused where it is called, as in Celery.
  const called = f.applyAsync(args as never, { kwargs });
  if (refused) await expect(called).rejects.toThrow(new TypeError(expected));
  else await called;
});

test("a schema says by itself how many arguments there are", async () => {
  const app = new Lovage("tasks");
  const schema = { "~standard": { version: 1, vendor: "test", validate: (value: unknown) => ({ value }) } } as const;
  const f = app.task("f", { params: ["x", "y"], schema }, ((x: unknown, y: unknown) => [x, y]) as never);
  await using t = testApp(app);
  const result = await (f as unknown as Task).applyAsync([1] as never);
  await t.drain();
  expect(await result.get()).toEqual([1, null]);
});

describe("a retry that gives arguments in one spelling keeps what was given in the other", () => {
  const rows: readonly [params: readonly string[], args: unknown[], kwargs: Kwargs, retry: object, result: unknown][] =
    [
      [["foo", "bar", "label"], [], { foo: 1, bar: 2, label: "kept" }, { args: [2, 3] }, [2, 3, "kept"]],
      [["foo", "bar", "label?"], [1, 2], {}, { kwargs: { foo: 2 } }, [2, 2, null]],
      [["foo", "bar", "label?"], [1], { bar: 2 }, { kwargs: { foo: 2, bar: 3 } }, [2, 3, null]],
      [["foo", "bar", "label?"], [1, 2], { label: "old" }, { kwargs: { label: "new" } }, [1, 2, "new"]],
      [["foo", "bar", "label?"], [1, 2], { label: "old" }, { args: [5, 6], kwargs: {} }, [5, 6, null]],
      [["foo", "/", "bar", "**more"], [1, 2], { foo: 3 }, { args: [4, 5] }, [4, 5, { foo: 3 }]],
    ];
  test.each(rows)("%o: %o %o, then %o", async (params, args, kwargs, retry, expected) => {
    const app = new Lovage("tasks");
    const fn = (self: RunningTask, foo: unknown, bar: unknown, label: unknown = null) => {
      if (self.request.retries === 0) self.retry({ ...retry, countdown: 0 });
      return [foo, bar, label];
    };
    const f = app.task("f", { bind: true, params, maxRetries: 1 }, fn) as unknown as Task;
    await using t = testApp(app);
    const result = await app.sendTask("f", args, { kwargs });
    await t.drain();
    expect(await result.get()).toEqual(expected);
    expect(await (await f.apply(args as never, { kwargs })).get()).toEqual(expected);
  });
});
