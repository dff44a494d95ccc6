/**
 * Orders of events that could lose a task or double it, through the public API alone; what they do to a row is in the
 * backend's contract under the same names. A take-over and its late loser: delivery.test.ts. Ignore, Reject and requeue:
 * ignore-reject.test.ts. An innocent neighbour: test/cli/lease.test.ts. A claim's lost reply: test/live/aws-faults.test.ts.
 */
import { Lovage } from "lovage";
import type { TestApp, TestOptions } from "lovage/testing";
import { describe, expect, test } from "vitest";
import { envelope } from "./envelopes.ts";
import { stores } from "./stores.ts";

const never = () => new Promise<never>(() => {});

/** A task whose first run ends when it is told to; the text of every message that was sent; one that is lost on its way. */
function scene() {
  const app = new Lovage("tasks");
  const ran: string[] = [];
  const texts: string[] = [];
  const held = Promise.withResolvers<void>();
  let lose: (body: string) => boolean = () => false;
  const slow = app.task("tasks.slow", async (text: string) => {
    ran.push(text);
    if (ran.length === 1) await held.promise;
    return text;
  });
  const options: TestOptions = {
    concurrency: 2,
    broker: (broker) => ({
      ...broker,
      send: (entries) => {
        texts.push(...entries.map(({ body }) => body));
        return entries.some(({ body }) => lose(body)) ? never() : broker.send(entries);
      },
    }),
  };
  return {
    app,
    ran,
    texts,
    slow,
    options,
    held: held.promise,
    wake: held.resolve,
    lose: (which: typeof lose) => {
      lose = which;
    },
  };
}

const isEmpty = async (t: TestApp) =>
  expect(await (await t.app.engine.broker()).size("celery")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });

describe.each(stores)("on %s", (_, start) => {
  test("a retry lost between its row and its message is sent by who meets the row", async () => {
    const { app, ran, options, lose } = scene();
    const again = app.task("tasks.again", { bind: true }, (self, x: number) => {
      ran.push(`${self.request.retries}`);
      return self.request.retries === 0 ? self.retry({ countdown: 1, args: [x + 1] }) : x;
    });
    const t = start(app, options);
    const result = await again.delay(1);
    lose((body) => body.includes('"retries":1'));
    await t.advance({ seconds: 1 });
    expect(await result.state()).toBe("RETRY");
    t.crash();
    lose(() => false);
    await t.advance({ minutes: 5 });
    expect([ran, await result.get({ timeout: 0 })]).toEqual([["0", "1"], 2]);
    await isEmpty(t);
  });

  test("a replacement with the same id, and a duplicate of what it replaces", async () => {
    const { app, ran, texts, options } = scene();
    const leaf = app.task("tasks.leaf", (x: number) => {
      ran.push("leaf");
      return x;
    });
    const root = app.task("tasks.root", { bind: true }, (self, x: number): number => {
      ran.push("root");
      return self.replace(leaf.s(x));
    });
    const t = start(app, options);
    const result = await root.delay(7);
    await t.advance({ seconds: 1 });
    for (const text of [...texts]) await t.put(text);
    await t.advance({ minutes: 5 });
    expect([ran, await result.get({ timeout: 0 })]).toEqual([["root", "leaf"], 7]);
    await isEmpty(t);
  });

  test("a retry that arrives before its row", async () => {
    const { app, ran, texts, options, held, wake } = scene();
    app.task("tasks.early", { bind: true }, async (self) => {
      const { retries } = self.request;
      ran.push(`begin ${retries}`);
      if (retries > 0) return retries;
      await held;
      ran.push("late");
      return self.retry({ countdown: 1 });
    });
    const t = start(app, options);
    const message = (retries: number) => envelope({ task: "tasks.early", id: "id", headers: { retries } });
    await t.put(message(0));
    await t.advance({ seconds: 1 });
    await t.put(message(1));
    await t.advance({ seconds: 1 });
    wake();
    await t.advance({ minutes: 5 });
    expect([ran, await app.result("id").get({ timeout: 0 })]).toEqual([["begin 0", "begin 1", "late"], 1]);
    // The late one sent no retry of its own.
    expect(texts).toHaveLength(2);
    await isEmpty(t);
  });

  test("a duplicate of a live run is hidden, and does nothing", async () => {
    const { app, ran, texts, slow, options, wake } = scene();
    const t = start(app, options);
    const result = await slow.delay("a");
    await t.advance({ seconds: 1 });
    await t.put(texts[0] as string);
    await t.advance({ minutes: 3 });
    expect([ran, await result.state()]).toEqual([["a"], "STARTED"]);
    expect((await (await app.engine.broker()).size("celery")).inFlight).toBe(2);
    wake();
    await t.advance({ minutes: 3 });
    expect([ran, await result.get({ timeout: 0 })]).toEqual([["a"], "a"]);
    await isEmpty(t);
  });

  test("an expired duplicate of a running task does not revoke it", async () => {
    const { app, ran, options, wake } = scene();
    const t = start(app, options);
    const message = (headers: object) =>
      envelope({ task: "tasks.slow", id: "id", args: ["a"], headers: { ...headers } });
    await t.put(message({}));
    await t.advance({ seconds: 1 });
    await t.put(message({ expires: "2020-01-01T00:00:00Z" }));
    await t.advance({ minutes: 3 });
    expect(await app.result("id").state()).toBe("STARTED");
    wake();
    await t.advance({ minutes: 3 });
    expect([ran, await app.result("id").get({ timeout: 0 })]).toEqual([["a"], "a"]);
    await isEmpty(t);
  });

  test("a forgotten row and its duplicate", async () => {
    const { app, ran, texts, slow, options, wake } = scene();
    const t = start(app, options);
    wake();
    const result = await slow.delay("a");
    await t.advance({ seconds: 1 });
    await result.forget();
    await t.put(texts[0] as string);
    await t.advance({ minutes: 3 });
    expect([ran, await app.result(result.id).state()]).toEqual([["a"], "PENDING"]);
    await isEmpty(t);
  });
});
