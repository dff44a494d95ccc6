import { randomBytes } from "node:crypto";
import { Lovage, PayloadTooLarge } from "lovage";
import { describe, expect, test } from "vitest";
import { taskKey } from "../../src/results/backend.ts";
import { LIMIT } from "./small-rows.ts";
import { inMemory, stores } from "./stores.ts";

const MIB = 1024 * 1024;

describe.each(stores)("on %s", (_, start) => {
  test("a message just over the broker's limit is compressed, and runs", async () => {
    const app = new Lovage("tasks");
    const size = app.task("tasks.size", (text: string) => text.length);
    const t = start(app);
    const small = await size.delay("x".repeat(MIB - 2000));
    const large = await size.delay("x".repeat(MIB + 1));
    const broker = await app.engine.broker();
    const headers = (await broker.receive("celery", { max: 2, wait: 0, visibility: 0 })).map(
      ({ body }) => JSON.parse(body).headers.compression,
    );
    expect(headers).toEqual([undefined, "application/x-gzip"]);
    await t.drain();
    expect([await small.get(), await large.get()]).toEqual([MIB - 2000, MIB + 1]);
  });

  test("where that does not help, and there is no store, it is refused with its size and the limit, and nothing is sent", async () => {
    const app = new Lovage("tasks");
    const size = app.task("tasks.size", (text: string) => text.length);
    start(app, { config: { payloadStore: "" } });
    const error = await size.delay(randomBytes(MIB).toString("base64")).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(PayloadTooLarge);
    expect(error).toMatchObject({ limit: MIB, size: expect.any(Number) });
    expect((error as PayloadTooLarge).size).toBeGreaterThan(MIB);
    expect((await (await app.engine.broker()).size("celery")).ready).toBe(0);
  });
});

describe("a backend whose rows have 2,000 bytes at most", () => {
  const makeApp = () => {
    const app = new Lovage("tasks");
    const told: unknown[] = [];
    const tell = app.task("tasks.tell", (id: unknown) => void told.push(id));
    let runs = 0;
    const make = app.task("tasks.make", (text: string) => {
      runs++;
      return text;
    });
    const t = inMemory(app, { config: { resultBackend: "small://payloads" } });
    return { app, told, tell, make, t, runs: () => runs };
  };

  test("a result over the limit is compressed", async () => {
    const { app, make, t } = makeApp();
    const result = await make.delay("x".repeat(10_000));
    await t.drain();
    expect(await result.get()).toHaveLength(10_000);
    const [row] = await (await app.engine.backend()).read([taskKey(result.id)]);
    expect(row?.result.length).toBeLessThan(LIMIT);
  });

  test("where that does not help the task fails, once, with its size and the limit, and its errbacks are told", async () => {
    const { make, tell, told, t, runs } = makeApp();
    const result = await make.applyAsync([randomBytes(3_000).toString("base64")], { linkError: tell.s() });
    await t.drain();
    await expect(result.get()).rejects.toMatchObject({
      name: "PayloadTooLarge",
      message: expect.stringContaining("2000"),
    });
    expect([runs(), told]).toEqual([1, [result.id]]);
  });
});
