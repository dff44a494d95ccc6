import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRouter } from "../../src/brokers/routes.ts";
import { matchGlob } from "../../src/glob.ts";
import { type ConfigInput, resolveConfig, type TaskRoutes } from "../../src/config/config.ts";
import { ImproperlyConfigured, QueueNotFound } from "../../src/errors.ts";

/** Routes a call of a task without arguments. */
const router = (config: ConfigInput) => {
  const route = createRouter(resolveConfig(config));
  return (name: string, options: Record<string, unknown> = {}) => route(name, [], {}, options);
};
const queueOf = (taskRoutes: TaskRoutes, name: string): string => router({ taskRoutes })(name).queue;

describe("a call without a route", () => {
  it("goes to the default queue by the anonymous exchange", () => {
    expect(router({})("add")).toEqual({ queue: "celery", exchange: "", routingKey: "celery" });
    expect(router({ taskDefaultQueue: "jobs" })("add").queue).toBe("jobs");
  });

  it("keeps its options", () => {
    expect(router({})("add", { countdown: 5, queue: "media" })).toEqual({
      countdown: 5,
      queue: "media",
      exchange: "",
      routingKey: "media",
    });
  });
});

describe("patterns", () => {
  it("are looked up after exact names, in their order", () => {
    const routes = { "feeds.*": "first", "*": "second", "feeds.add": "exact" };
    expect(queueOf(routes, "feeds.add")).toBe("exact");
    expect(queueOf(routes, "feeds.sub")).toBe("first");
    expect(queueOf(routes, "video.cut")).toBe("second");
  });

  it("are globs only with a *, whose ? and [] then work as well", () => {
    expect(queueOf({ "x?": "q" }, "xy")).toBe("celery");
    expect(queueOf({ "x?": "q" }, "x?")).toBe("q");
    expect(queueOf({ "x?*": "q" }, "xy")).toBe("q");
    expect(queueOf({ "x?*": "q" }, "x")).toBe("celery");
  });

  it("can be regular expressions, which match at the start and need not match to the end", () => {
    const routes: TaskRoutes = [[[/(video|image)\./g, "media"]]];
    expect(queueOf(routes, "image.crop")).toBe("media");
    expect(queueOf(routes, "my.image.crop")).toBe("celery");
    const route = router({ taskRoutes: routes });
    expect([route("video.a").queue, route("video.a").queue]).toEqual(["media", "media"]);
  });

  it("are each tried against the whole name", () => {
    expect(queueOf({ "a*c": "q" }, "abcd")).toBe("celery");
    expect(queueOf({ "a*c": "q" }, "a.b\n.c")).toBe("q");
  });
});

describe("matchGlob", () => {
  // As Python's fnmatch has it.
  it.each([
    ["a*", "abc", true],
    ["**a**", "xax", true],
    ["a.b*", "axb", false],
    ["[abc]*", "b1", true],
    ["[abc]*", "d1", false],
    ["[!abc]*", "d1", true],
    ["[!abc]*", "a1", false],
    ["[a-c]*", "b", true],
    ["[c-a]*", "b", false],
    ["[!c-a]*", "b", true],
    ["[]]*", "]", true],
    ["[!]]*", "]", false],
    ["[!]]*", "x", true],
    ["[a-]*", "-", true],
    ["[^a]*", "^", true],
    ["[^a]*", "b", false],
    ["[*", "[x", true],
    ["[\\]*", "\\", true],
    ["a+(b)|$^{c}*", "a+(b)|$^{c}", true],
  ])("%s and %s: %s", (glob, name, expected) => {
    expect(matchGlob(glob)(name)).toBe(expected);
  });

  it("matches every text to itself between stars, and makes of no text a broken expression", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string(), (text, around) => {
        matchGlob(`*${text}*`);
        const literal = text.replace(/[*?[\]]/g, "x");
        expect(matchGlob(`*${literal}*`)(around + literal + around)).toBe(true);
      }),
    );
  });
});

describe("routers", () => {
  it("are asked in order until one answers", () => {
    const asked: string[] = [];
    const routes: TaskRoutes = [
      { "feeds.*": "feeds" },
      (name) => {
        asked.push(name);
        return name === "video.cut" ? { queue: "media", priority: 9 } : null;
      },
      [["*", "rest"]],
    ];
    expect(queueOf(routes, "feeds.add")).toBe("feeds");
    expect(asked).toEqual([]);
    expect(router({ taskRoutes: routes })("video.cut")).toMatchObject({ queue: "media", priority: 9 });
    expect(queueOf(routes, "mail.send")).toBe("rest");
  });

  it("can be a function alone, which sees the call", () => {
    const seen: unknown[] = [];
    const route = createRouter(resolveConfig({ taskRoutes: (...call) => void seen.push(...call) }));
    const task = { name: "add" };
    expect(route("add", [1], { a: 2 }, { countdown: 3 }, task).queue).toBe("celery");
    expect(seen).toEqual(["add", [1], { a: 2 }, { countdown: 3 }, task]);
  });

  it("have their answers checked", () => {
    const route = router({ taskRoutes: (() => ({ queu: "media" })) as unknown as TaskRoutes });
    expect(() => route("add")).toThrow('taskRoutes (for add).queu: is not known; did you mean "queue"?');
  });
});

describe("a route and the options of the call", () => {
  const route = router({
    taskQueues: { celery: {}, feeds: { exchange: "f", routingKey: "k" } },
    taskRoutes: { queued: { queue: "media", priority: 3, expires: 60 }, bound: { exchange: "f", routingKey: "k" } },
  });

  it("merge, the options winning", () => {
    expect(route("queued", { priority: 9 })).toEqual({
      queue: "media",
      exchange: "",
      routingKey: "media",
      priority: 9,
      expires: 60,
    });
  });

  it("merge without options that are null or undefined", () => {
    expect(route("queued", { priority: null, queue: undefined })).toMatchObject({ queue: "media", priority: 3 });
  });

  it("have one destination: that of the call replaces the route's as a whole", () => {
    expect(route("bound").queue).toBe("feeds");
    expect(route("bound", { queue: "celery" }).queue).toBe("celery");
    expect(route("queued", { exchange: "f", routingKey: "k" })).toMatchObject({ queue: "feeds", priority: 3 });
  });

  it("leave the route's destination where an exchange or a routing key alone is given", () => {
    expect(route("queued", { exchange: "elsewhere" }).queue).toBe("media");
    expect(route("queued", { routingKey: "k" }).queue).toBe("media");
    expect(route("bound", { exchange: "f" }).queue).toBe("feeds");
  });
});

describe("exchanges and routing keys", () => {
  const route = router({
    taskQueues: {
      celery: {},
      feeds: { exchange: "feeds", routingKey: "import" },
      mail: { exchange: "post", routingKey: "out" },
      spam: { exchange: "post", routingKey: "import" },
    },
  });

  it("reach the queue that they bind, and the message names the queue", () => {
    expect(route("a", { exchange: "feeds", routingKey: "import" })).toEqual({
      queue: "feeds",
      exchange: "",
      routingKey: "feeds",
    });
  });

  it("reach a queue by its name where the exchange is the anonymous one", () => {
    expect(route("a", { exchange: "", routingKey: "mail" }).queue).toBe("mail");
    expect(route("a", { exchange: "", routingKey: "elsewhere" }).queue).toBe("elsewhere");
  });

  it("name a queue alone where no other has it, and else change nothing, as in Celery", () => {
    expect(route("a", { exchange: "feeds" }).queue).toBe("feeds");
    expect(route("a", { routingKey: "out" }).queue).toBe("mail");
    for (const alone of [{ exchange: "post" }, { exchange: "elsewhere" }, { routingKey: "import" }])
      expect(route("a", alone)).toEqual({ queue: "celery", exchange: "", routingKey: "celery" });
  });

  it("of Celery's default exchange, which has the name of the default queue, reach that one", () => {
    for (const given of [
      { exchange: "celery" },
      { routingKey: "celery" },
      { exchange: "celery", routingKey: "celery" },
    ])
      expect([given, route("a", given).queue]).toEqual([given, "celery"]);
    expect(
      router({ taskQueues: ["a", "b"], taskDefaultQueue: "a" })("t", { exchange: "a", routingKey: "b" }).queue,
    ).toBe("b");
  });

  it("are an error that names the bindings where they reach none", () => {
    expect(() => route("a", { exchange: "feeds", routingKey: "out" })).toThrow(ImproperlyConfigured);
    expect(() => route("a", { exchange: "feeds", routingKey: "out" })).toThrow(
      'exchange: exchange "feeds" and routing key "out" reach no queue (bound in taskQueues: celery by exchange "", routing key "celery"; feeds by exchange "feeds", routing key "import"; ',
    );
  });

  it("do not contradict a queue beside them, of which one alone is left aside, as in Celery", () => {
    expect(route("a", { queue: "feeds", exchange: "feeds", routingKey: "import" }).queue).toBe("feeds");
    expect(route("a", { queue: "mail", routingKey: "import" }).queue).toBe("mail");
    expect(() => route("a", { queue: "mail", exchange: "feeds", routingKey: "import" })).toThrow(
      'reach the queue "feeds", not "mail"',
    );
  });
});

describe("a queue that is not declared", () => {
  it("is taken by its name, if that can be one", () => {
    expect(router({})("a", { queue: "other" }).queue).toBe("other");
    expect(() => router({})("a", { queue: "größe" })).toThrow("queue: the queue name");
    expect(() => router({})("a", { queue: "celery-dlq" })).toThrow("is reserved");
  });

  it("is an error where missing queues are not created", () => {
    const route = router({ taskQueues: ["celery", "media"], taskCreateMissingQueues: false });
    expect(route("a", { queue: "media" }).queue).toBe("media");
    expect(() => route("a", { queue: "other" })).toThrow(QueueNotFound);
    expect(() => route("a", { queue: "other" })).toThrow("(known: celery, media)");
  });
});
