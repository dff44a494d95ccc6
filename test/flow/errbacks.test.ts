/** How often errbacks are called: once each time a task fails, whichever copies of its messages come, and when. */
import { randomBytes } from "node:crypto";
import { chain, chord, group, Lovage, Reject, type Signature, type TaskContext } from "lovage";
import { describe, expect, test } from "vitest";
import type { Outgoing } from "../../src/brokers/broker.ts";
import { envelope } from "./envelopes.ts";
import { stores } from "./stores.ts";

describe.each(stores)("on %s, an errback", (_, start) => {
  const app = new Lovage("errbacks");
  const told: string[] = [];
  const sent: Outgoing[] = [];
  let behave: (self: TaskContext) => unknown;
  const tell = app.task("tell", (id: string) => void told.push(id));
  const work = app.task("work", { bind: true }, (self, _x?: number) => behave(self));
  const pass = app.task("pass", (x: number) => x);
  const fail = app.task("fail", (_x?: number) => {
    throw new RangeError("no");
  });

  const begin = (how: typeof behave) => {
    told.length = 0;
    sent.length = 0;
    behave = how;
    return start(app, {
      broker: (broker) => ({
        ...broker,
        send(entries, unit) {
          sent.push(...entries);
          return broker.send(entries, unit);
        },
      }),
    });
  };
  /** Each message that was sent so far comes once more, one after the other. */
  const copies = async (t: ReturnType<typeof begin>) => {
    const broker = await app.engine.broker();
    for (const { queue, body, attributes } of [...sent]) {
      if (queue.endsWith("-dlq")) continue;
      await broker.send([{ queue, body, ...(attributes && { attributes }) }]);
      await t.drain();
    }
    await t.advance({ minutes: 5 });
  };
  const failing = () => {
    throw new RangeError("no");
  };
  /** Asks for so many attempts before what comes then. */
  const retrying =
    (retries: number, then: typeof behave): typeof behave =>
    (self) =>
      self.request.retries < retries ? self.retry({ countdown: 0 }) : then(self);
  const run = () => work.applyAsync([], { taskId: "it", linkError: tell.s() });

  describe.each([0, 1])("of a task with %i retries is called once for each time it fails:", (retries) => {
    test("by itself, and again when it is run again, at whichever attempt that ends", async () => {
      const t = begin(retrying(retries, failing));
      await run();
      await t.drain();
      await copies(t);
      expect(told).toEqual(["it"]);
      for (const [round, again] of [retries, 1 - retries].entries()) {
        behave = retrying(again, failing);
        await app.control.retry("it");
        await t.drain();
        await copies(t);
        expect(told).toHaveLength(round + 2);
      }
      behave = () => "done";
      await app.control.retry("it");
      await t.drain();
      await copies(t);
      expect(told).toEqual(["it", "it", "it"]);
      expect(await app.result("it").get()).toBe("done");
    });

    test("as a dead letter, and again when it is sent back", async () => {
      const t = begin(
        retrying(retries, () => {
          throw new Reject("not mine");
        }),
      );
      await run();
      await t.drain();
      expect(told).toEqual(["it"]);
      await app.control.deadLetters.redrive();
      await t.drain();
      await copies(t);
      expect(told).toEqual(["it", "it"]);
    });

    const canvases: readonly [string, () => Signature<never, unknown, unknown>, calls: number][] = [
      ["a task", () => fail.si() as never, 1],
      ["a chain that fails at its end", () => chain(pass.si(1), fail.si()) as never, 1],
      // It is the first step that fails, and has the errback too.
      ["a chain that fails at its beginning", () => chain(fail.si(), pass.si(1)) as never, 0],
      ["a group", () => group(fail.si(), pass.si(1)) as never, 1],
      ["a chord that fails in its header", () => chord([fail.si(), pass.si(1)], pass.si(1)) as never, 1],
      ["a chord whose body is a chain", () => chord([fail.si()], chain(pass.si(1), pass.si(1))) as never, 1],
      ["a chord that fails in its body", () => chord([pass.si(1)], fail.si()) as never, 1],
    ];
    test.each(canvases)("replaced by %s", async (_, canvas, calls) => {
      const t = begin(retrying(retries, (self) => self.replace(canvas())));
      await run();
      await t.drain();
      await copies(t);
      await copies(t);
      expect(told.filter((id) => id === "it")).toHaveLength(calls);
      expect(told).toHaveLength(1);
      // A copy of what was replaced is no dead letter.
      expect(await t.deadLetters()).toEqual([]);
      expect(await app.result("it").state()).toBe("FAILURE");
    });

    test("when the attempt after it cannot be sent", async () => {
      const long = randomBytes(1_500_000).toString("base64");
      const t = begin(retrying(retries, (self) => self.retry({ args: [long], countdown: 0 })));
      await run();
      await t.drain();
      await copies(t);
      expect(told).toEqual(["it"]);
      expect(await t.deadLetters()).toEqual([]);
    });
  });

  test("is called once where a later attempt is a dead letter, unread", async () => {
    const t = begin(retrying(1, failing));
    const embed = { errbacks: [tell.s().toJSON()] };
    await t.put(envelope({ task: "work", id: "it", embed, headers: { retries: 1, eta: "soon" } } as never));
    await t.drain();
    expect(told).toEqual(["it"]);
    await t.put(envelope({ task: "work", id: "it", embed } as never));
    await t.drain();
    expect(told).toEqual(["it"]);
  });

  test("is called again for a task that was forgotten and sent again, also where what took its place failed", async () => {
    const t = begin((self) => self.replace(chord([fail.si()], pass.si(1)) as never));
    for (const calls of [1, 2]) {
      await run();
      await t.drain();
      expect(told).toHaveLength(calls);
      await copies(t);
      expect(told).toHaveLength(calls);
      await app.result("it").forget();
      await t.advance({ seconds: 1 });
    }
  });
});
