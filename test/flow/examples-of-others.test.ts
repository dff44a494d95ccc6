/** The examples of celery-batches and BullMQ, as docs/how-to/from-bullmq.md has them. */
import { type BatchCall, Lovage } from "lovage";
import { describe, expect, test } from "vitest";
import { stores } from "./stores.ts";

const house = (name: string) => name;

describe.each(stores)("celery-batches' examples, on %s", (_, start) => {
  test("clicks are counted together, after ten seconds or a hundred", async () => {
    const app = new Lovage("clicks");
    const printed: string[] = [];
    const countClick = app.batchTask(
      "clicks.count",
      { size: 100, wait: 10 },
      (calls: readonly BatchCall<[url: string]>[]) => {
        for (const [url, { length }] of Map.groupBy(calls, ({ args: [url] }) => url))
          printed.push(`Clicks: ${url} -> ${length}`);
        return calls.map(() => null);
      },
    );
    const t = start(app, { concurrency: 200 });
    for (let n = 0; n < 3; n++) await countClick.delay(n === 2 ? "http://b" : "http://a");
    await t.advance(9_000);
    expect(printed).toEqual([]);
    await t.advance(2_000);
    expect(printed).toEqual(["Clicks: http://a -> 2", "Clicks: http://b -> 1"]);
    for (let n = 0; n < 100; n++) await countClick.delay("http://c");
    await t.advance(100);
    expect(printed.at(-1)).toBe("Clicks: http://c -> 100");
  });

  test("a service is asked once for all, and each call has its own answer or error", async () => {
    const app = new Lovage("wot");
    const asked: string[] = [];
    const trust = app.batchTask("wot.api", { size: 100, wait: 10 }, (calls: readonly BatchCall<[url: string]>[]) => {
      const domains = calls.map(({ args: [url] }) => URL.parse(url)?.host);
      asked.push([...new Set(domains.filter((domain) => domain !== undefined))].join("/"));
      return domains.map((domain) => (domain === undefined ? new TypeError("that is no URL") : domain.length));
    });
    const t = start(app, { concurrency: 200 });
    const results = [
      await trust.delay("http://a.example/x"),
      await trust.delay("nothing"),
      await trust.delay("http://bc.example"),
    ];
    await t.advance(11_000);
    expect(asked).toEqual(["a.example/bc.example"]);
    expect(await results[0]?.get()).toBe(9);
    await expect(results[1]?.get()).rejects.toThrow("that is no URL");
    expect(await results[2]?.get()).toBe(10);
  });
});

describe.each(stores)("BullMQ's examples, on %s", (_, start) => {
  test("limiter: { max: 10, duration: 1000 }", async () => {
    const app = new Lovage("painter");
    const at: number[] = [];
    let now = () => 0;
    const paint = app.task("painter.car", { rateLimit: "10/s" }, (_: string) => void at.push(now()));
    const t = start(app, { concurrency: 50 });
    now = t.clock.now;
    const began = now();
    for (let n = 0; n < 40; n++) await paint.delay("red");
    await t.advance(30_000);
    expect(at).toHaveLength(40);
    const most = Math.max(...at.map((from) => at.filter((time) => time >= from && time < from + 1000).length));
    expect(most).toBeLessThanOrEqual(11);
    expect(Math.max(...at) - began).toBeGreaterThanOrEqual(3_900);
  });

  test("worker.rateLimit() and RateLimitError: no attempt is spent", async () => {
    const app = new Lovage("painter");
    const attempts: number[] = [];
    const call = app.task("painter.api", { rateLimit: "100/m", bind: true, maxRetries: 0 }, (self) => {
      attempts.push(self.request.retries);
      if (attempts.length === 1) self.rateLimited({ retryAfter: 30 });
      return "ok";
    });
    const t = start(app);
    const result = await call.delay();
    await t.advance(29_000);
    expect(attempts).toEqual([0]);
    await t.advance(3_000);
    expect([await result.get(), attempts]).toEqual(["ok", [0, 0]]);
  });

  test("setGlobalConcurrency(4), and a group's concurrency of 1", async () => {
    const app = new Lovage("painter");
    let clock = { sleep: async (_: number): Promise<void> => {} };
    const most: Record<string, number> = {};
    const running: Record<string, number> = {};
    const paint = async (what: string) => {
      running[what] = (running[what] ?? 0) + 1;
      most[what] = Math.max(most[what] ?? 0, running[what]);
      await clock.sleep(1000);
      running[what]--;
    };
    const fence = app.task("painter.fence", { concurrency: 4 }, () => paint("fence"));
    const of = app.task("painter.for", { concurrency: { limit: 1, key: house } }, (customer: string) =>
      paint(customer),
    );
    const t = start(app, { concurrency: 50 });
    clock = t.clock;
    for (let n = 0; n < 10; n++) await fence.delay();
    for (const customer of ["anna", "bert", "anna"]) await of.delay(customer);
    await t.advance(60_000);
    expect(most).toEqual({ fence: 4, anna: 1, bert: 1 });
  });

  test("deduplication: simple, throttle, debounce, and the last one kept while one runs", async () => {
    const app = new Lovage("painter");
    let clock = { sleep: async (_: number): Promise<void> => {} };
    const painted: string[] = [];
    const task = (name: string, options: object, seconds = 0) =>
      app.task(name, options, async (...args: readonly string[]) => {
        painted.push(`${name} ${args.join(" ")}`);
        if (seconds > 0) await clock.sleep(seconds * 1000);
      });
    const simple = task("simple", { unique: { key: house, for: "running" } }, 3);
    const throttle = task("throttle", { throttle: { key: house, wait: 5 } });
    const debounce = task("debounce", { debounce: { key: house, wait: 5 } });
    const last = task(
      "last",
      { unique: { key: house, for: "waiting", onConflict: "replace" }, concurrency: { limit: 1, key: house } },
      3,
    );
    const t = start(app, { concurrency: 50 });
    clock = t.clock;
    const seen = async (ms: number) => {
      await t.advance(ms);
      return painted.splice(0);
    };

    const first = await simple.delay("house");
    await t.advance(1_000);
    expect((await simple.delay("house")).id).toBe(first.id);
    expect(await seen(10_000)).toEqual(["simple house"]);
    expect((await simple.delay("house")).id).not.toBe(first.id);
    expect(await seen(5_000)).toEqual(["simple house"]);

    await throttle.delay("house");
    await throttle.delay("house");
    expect(await seen(4_000)).toEqual(["throttle house"]);
    await t.advance(2_000);
    await throttle.delay("house");
    expect(await seen(1_000)).toEqual(["throttle house"]);

    await debounce.delay("house", "white");
    await t.advance(3_000);
    await debounce.delay("house", "blue");
    expect(await seen(4_000)).toEqual([]);
    expect(await seen(2_000)).toEqual(["debounce house blue"]);

    await last.delay("house", "1");
    await t.advance(500);
    for (const n of ["2", "3", "4"]) await last.delay("house", n);
    expect(await seen(60_000)).toEqual(["last house 1", "last house 4"]);
  });
});
