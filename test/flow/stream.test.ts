import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
/** What a task writes while it runs is read in order, as it comes, and from where a reader left it. */
import { Lovage, type WatchedState } from "lovage";
import { resultEvents, sendResultEvents } from "lovage/web";
import { describe, expect, onTestFinished, test } from "vitest";
import { stores } from "./stores.ts";

const words = "the quick brown fox jumps over the lazy dog".split(" ");

describe.each(stores)("on %s", (_, start) => {
  function makeApp() {
    const app = new Lovage("chat");
    const go = Promise.withResolvers<void>();
    const state = { tries: 0 };
    const say = app.task("chat.say", { bind: true, maxRetries: 3 }, async (self, upTo: number) => {
      for (const word of words.slice(0, upTo)) void self.write(word);
      return words.length;
    });
    const wait = app.task("chat.wait", { bind: true }, async (self) => {
      await self.write("before");
      await go.promise;
      await self.write({ after: [1, new Date(0)] });
      return "done";
    });
    const twice = app.task("chat.twice", { bind: true, maxRetries: 3 }, async (self) => {
      await self.write(`try ${state.tries}`);
      await self.write("more");
      if (state.tries++ === 0) self.retry({ countdown: 60 });
      return "well";
    });
    const fail = app.task("chat.fail", { bind: true }, async (self) => {
      await self.write("as far as it went");
      throw new RangeError("and no further");
    });
    return { app, go, state, say, wait, twice, fail, t: start(app) };
  }
  const all = async (chunks: AsyncIterable<unknown>) => {
    const found: unknown[] = [];
    for await (const chunk of chunks) found.push(chunk);
    return found;
  };

  test("chunks come in order, all of them, and the result is what was returned", async () => {
    const { say, t } = makeApp();
    const result = await say.delay(9);
    await t.drain();
    expect(await all(result.stream())).toEqual(words);
    expect(await all(result.stream())).toEqual(words);
    expect(await result.get()).toBe(9);
  });

  test.each([
    [0, words],
    [4, words.slice(4)],
    [9, []],
    [99, []],
  ])("from offset %d on", async (from, expected) => {
    const { say, t } = makeApp();
    const result = await say.delay(9);
    await t.drain();
    expect(await all(result.stream({ from }))).toEqual(expected);
  });

  test("a chunk is as it was when it was written", async () => {
    const { app, t } = makeApp();
    const grow = app.task("chat.grow", { bind: true }, async (self) => {
      const list = [0];
      for (let n = 1; n < 4; n++) {
        void self.write(list);
        list.push(n);
      }
    });
    const result = await grow.delay();
    await t.drain();
    expect(await all(result.stream())).toEqual([[0], [0, 1], [0, 1, 2]]);
  });

  test("a task that writes nothing has an empty stream, and many chunks are few rows", async () => {
    const { app, t } = makeApp();
    const none = app.task("chat.none", () => 1);
    const many = app.task("chat.many", { bind: true }, async (self) => {
      for (let n = 0; n < 5_000; n++) await self.write(`${n} ${"x".repeat(100)}`);
    });
    const [empty, full] = [await none.delay(), await many.delay()];
    let applied = 0;
    const backend = await app.engine.backend();
    const apply = backend.apply.bind(backend);
    Object.assign(backend, {
      apply: (commands: Parameters<typeof apply>[0]) => {
        applied += commands.filter(({ key }) => key.includes("/stream/")).length;
        return apply(commands);
      },
    });
    await t.drain();
    expect(await all(empty.stream())).toEqual([]);
    const chunks = await all(full.stream());
    expect(chunks).toHaveLength(5_000);
    expect(chunks.every((chunk, n) => String(chunk).startsWith(`${n} `))).toBe(true);
    expect(applied).toBeLessThan(20);
  });

  test("a retry begins anew, and its reader is told", async () => {
    const { twice, t } = makeApp();
    const result = await twice.delay();
    await t.drain();
    const found: unknown[] = [];
    const chunks = result.stream({ onRestart: () => found.push("RESTART") });
    const take = async () => {
      const { value, done } = await chunks.next();
      if (done !== true) found.push(value);
    };
    await take();
    await take();
    const next = take();
    await t.advance({ minutes: 1 });
    await next;
    await take();
    await take();
    expect(found.slice(0, 2)).toEqual(["try 0", "more"]);
    expect(found.slice(-3)).toEqual(["RESTART", "try 1", "more"]);
  });

  test("what failed is thrown after what was written", async () => {
    const { fail, t } = makeApp();
    const result = await fail.delay();
    await t.drain();
    const found: unknown[] = [];
    const reading = (async () => {
      for await (const chunk of result.stream()) found.push(chunk);
    })();
    await expect(reading).rejects.toThrow("and no further");
    expect(found).toEqual(["as far as it went"]);
  });

  test.each<[string, unknown, RegExp]>([
    ["a function", () => 1, /cannot|function/i],
    ["what is larger than a row", "x".repeat(70_000_000), /a chunk of write\(\)/],
  ])("%s cannot be written", async (_, chunk, message) => {
    const { app, t } = makeApp();
    const bad = app.task("chat.bad", { bind: true }, async (self) => self.write(chunk));
    const result = await bad.delay();
    await t.drain();
    if (typeof chunk === "string" && (await app.engine.backend()).maxBytes === Number.POSITIVE_INFINITY) return;
    await expect(result.get()).rejects.toThrow(message);
  });

  test.each([{ from: -1 }, { from: 0.5 }, { form: 1 }, { onRestart: 1 }])("%j is refused", async (options) => {
    const { app } = makeApp();
    await expect(
      app
        .result("any")
        .stream(options as object)
        .next(),
    ).rejects.toThrow(/stream/);
  });

  test("the states of a task, the present one first and its outcome last", async () => {
    const { app, t } = makeApp();
    const step = app.task("chat.step", { bind: true }, async (self) => {
      await self.updateState({ state: "PROGRESS", meta: { done: 1 } });
      return 2;
    });
    const result = await step.delay();
    const before = await result.watch().next();
    expect(before.value).toEqual({ state: "PENDING", info: null });
    await t.drain();
    const states: WatchedState[] = [];
    for await (const state of result.watch()) states.push(state);
    expect(states).toEqual([{ state: "SUCCESS", info: 2 }]);
  });

  test("as Server-Sent Events, which go on where a browser has left them", async () => {
    const { app, say, fail, t } = makeApp();
    const [good, bad] = [await say.delay(3), await fail.delay()];
    await t.drain();
    const eventsOf = async (id: string, lastEventId?: string) => {
      const headers = new Headers(lastEventId === undefined ? [] : [["last-event-id", lastEventId]]);
      const response = resultEvents(new Request("http://x/", { headers }), app.result(id));
      expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
      const text = await response.text();
      return text
        .split("\n\n")
        .filter((event) => event.includes("data:"))
        .map((event) => Object.fromEntries(event.split("\n").map((line) => line.split(/: (.*)/s))));
    };
    const events = await eventsOf(good.id);
    expect(events.map(({ event, data }) => [event, JSON.parse(data)])).toEqual([
      ["chunk", "the"],
      ["chunk", "quick"],
      ["chunk", "brown"],
      ["result", 9],
    ]);
    expect((await eventsOf(good.id, events[1]?.["id"])).map(({ data }) => JSON.parse(data))).toEqual(["brown", 9]);
    // Of a run that there is no more, or of nobody's making: from the beginning.
    expect((await eventsOf(good.id, "another-run:2")).map(({ event }) => event)[0]).toBe("restart");
    expect(await eventsOf(good.id, "nonsense")).toHaveLength(4);
    expect((await eventsOf(bad.id)).map(({ event, data }) => [event, JSON.parse(data)])).toEqual([
      ["chunk", "as far as it went"],
      ["failure", { name: "RangeError", message: "and no further" }],
    ]);
  });

  test("and by Node's own response, which goes on too, and ends when whoever asked is gone", async () => {
    const { app, say, t } = makeApp();
    const [result, never] = [await say.delay(3), app.result("nobody-has-sent-this")];
    await t.drain();
    const ended: string[] = [];
    const server = createServer(async (request, response) => {
      const one = request.url === "/never" ? never : result;
      await sendResultEvents(request, response, one);
      ended.push(String(request.url));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const whole = await fetch(`${at}/whole`);
    expect(whole.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    const text = await whole.text();
    expect(text).toMatch(/event: chunk\ndata: "the"\n\n[\s\S]*event: result\ndata: 9\n\n$/);
    const [, id = ""] = /id: (\S+:2)\n/.exec(text) ?? [];
    const rest = await (await fetch(`${at}/rest`, { headers: { "last-event-id": id } })).text();
    expect(rest).not.toContain('"quick"');
    expect(rest).toContain('"brown"');
    const gone = new AbortController();
    await fetch(`${at}/never`, { signal: gone.signal });
    gone.abort();
    await expect.poll(() => ended).toEqual(["/whole", "/rest", "/never"]);
  });
});
