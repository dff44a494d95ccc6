/** Tenants of one queue: how long a quiet one waits beside a noisy one. */
import { Lovage } from "lovage";
import { describe, expect, test } from "vitest";
import { stores } from "./stores.ts";

/** Messages of the noisy one that wait: the wait of the quiet one is the same with 10,000, which take 45 seconds in all. */
const NOISY = Number(process.env["LOVAGE_NOISY"] ?? 600);

describe.each(stores)("a queue with tenants, on %s", (name, start) => {
  function makeApp(concurrency: number) {
    const app = new Lovage("tasks");
    const order: string[] = [];
    const work = app.task("tasks.work", (tenant: string) => {
      order.push(tenant);
      return null;
    });
    const t = start(app, { concurrency, config: { journal: false, taskIgnoreResult: true } });
    const send = (tenant: string | undefined, times: number, priority?: number) =>
      app.sendMany(
        Array.from({ length: times }, () =>
          work.signature([tenant ?? "none"], {
            ...(tenant !== undefined && { tenant }),
            ...(priority !== undefined && { priority }),
          }),
        ),
      );
    return { app, order, t, send };
  }

  test.each([1, 4, 10])(
    "what one has waiting adds no more than a few runs to the wait of another, %i at a time",
    { timeout: NOISY * 50 },
    async (n) => {
      const { app, order, t, send } = makeApp(n);
      await send("noisy", NOISY);
      // Some have been handed out by then.
      let isSent = false;
      let sentAt = 0;
      const ended = app.on("taskPostrun", () => {
        if (order.length < 20 || isSent) return;
        isSent = true;
        sentAt = order.length;
        void send("quiet", 1);
      });
      await t.drain();
      ended();
      const waited = order.indexOf("quiet") - sentAt;
      expect(order).toHaveLength(NOISY + 1);
      if (process.env["LOVAGE_NOISY"] !== undefined)
        process.stdout.write(`${name}, ${n} at a time: ${waited} runs of ${NOISY} before the quiet one's\n`);
      expect(waited).toBeLessThanOrEqual(2 * n + 2);
    },
  );

  test("each of many has its turn, and what has no tenant is one of them", async () => {
    const { order, t, send } = makeApp(1);
    await send("a", 50);
    await send(undefined, 50);
    await send("b", 3);
    await send("c", 3);
    await t.drain();
    for (const tenant of ["a", "b", "c", "none"])
      expect(order.slice(0, 9).filter((one) => one === tenant).length).toBeGreaterThanOrEqual(2);
    expect(order).toHaveLength(106);
  });

  test("the higher priority goes first, whoever's it is", async () => {
    const { order, t, send } = makeApp(1);
    await send("a", 5);
    await send("b", 2, 9);
    await t.drain();
    expect(order.slice(0, 2)).toEqual(["b", "b"]);
    expect(order).toHaveLength(7);
  });

  test("without tenants the order is that of the queue", async () => {
    const { order, t, send } = makeApp(1);
    await send(undefined, 30);
    await t.drain();
    expect(order).toHaveLength(30);
  });
});
