import { ContentDisallowed, ImproperlyConfigured, Lovage } from "lovage";
import { describe, expect, test } from "vitest";
import { envelope } from "./envelopes.ts";
import { inMemory, everywhere } from "./stores.ts";

const value = { text: "é", list: [1, 2.5, true, null], when: new Date(86_400_000), bytes: new Uint8Array([0, 255]) };

function makeApp(config: ConstructorParameters<typeof Lovage>[1] = {}) {
  const app = new Lovage("tasks", config);
  const seen: unknown[] = [];
  const echo = app.task("tasks.echo", (given: unknown) => {
    seen.push(given);
    return given;
  });
  return { app, echo, seen };
}

describe.each(everywhere)("on %s", (_, start) => {
  test.each(["json", "msgpack", "yaml"])("%s carries arguments and results", async (serializer) => {
    const { app, echo, seen } = makeApp({
      taskSerializer: serializer,
      resultSerializer: serializer,
      acceptContent: [serializer],
    });
    const t = start(app);
    const result = await echo.delay(value);
    await t.drain();
    expect(seen).toEqual([value]);
    expect(await result.get()).toEqual(value);
  });

  test.each(["gzip", "brotli", "zstd"])("%s compresses arguments and results", async (compression) => {
    if (compression === "zstd" && !("zstdCompressSync" in (await import("node:zlib")))) return;
    const { app, echo } = makeApp({ taskCompression: compression, resultCompression: compression });
    const t = start(app);
    const result = await echo.delay("long ".repeat(1000));
    await t.drain();
    expect(await result.get()).toBe("long ".repeat(1000));
  });

  test("a failure is readable whatever the serializer", async () => {
    const app = new Lovage("tasks", { resultSerializer: "msgpack", acceptContent: ["json", "msgpack"] });
    const fail = app.task("tasks.fail", () => {
      throw new RangeError("no");
    });
    const t = start(app);
    const result = await fail.delay();
    await t.drain();
    await expect(result.get()).rejects.toMatchObject({ name: "RangeError", message: "no" });
  });
});

test("a call names its own serializer", async () => {
  const { app, echo } = makeApp({ acceptContent: ["json", "yaml"] });
  const t = inMemory(app);
  const result = await echo.applyAsync([value], { serializer: "yaml" });
  await t.drain();
  expect(await result.get()).toEqual(value);
});

test("content that acceptContent does not name is a dead letter, and its task FAILURE", async () => {
  const { app, echo, seen } = makeApp({ acceptContent: ["json"] });
  const t = inMemory(app);
  const result = await echo.applyAsync([1], { serializer: "yaml" });
  await t.drain();
  expect(seen).toEqual([]);
  expect(await result.state()).toBe("FAILURE");
  expect(await t.deadLetters()).toMatchObject([
    { queue: "celery-dlq", attributes: { error: "ContentDisallowed", id: result.id } },
  ]);
});

test("pickle is refused with the reason: in the settings, in a call, and in a message", async () => {
  expect(() => new Lovage("tasks", { taskSerializer: "pickle" })).toThrow(/pickle/);
  expect(() => new Lovage("tasks", { resultSerializer: "pickle" })).toThrow(/pickle/);
  expect(() => new Lovage("tasks", { acceptContent: ["pickle"] })).toThrow(/pickle/);
  const { app, seen } = makeApp();
  const t = inMemory(app);
  await expect(app.sendTask("tasks.echo", [1], { serializer: "pickle" as "json" })).rejects.toThrow(
    /pickle runs code of whoever wrote the message/,
  );
  await t.put(
    envelope({ task: "tasks.echo", id: "p", contentType: "application/x-python-serialize", body: "gASVCg==" }),
  );
  await t.drain();
  expect(seen).toEqual([]);
  expect(await t.deadLetters()).toMatchObject([
    { attributes: { error: ContentDisallowed.name, reason: expect.stringContaining("pickle") } },
  ]);
});

test("a serializer that does not exist is refused", () => {
  expect(() => new Lovage("tasks", { taskSerializer: "xml" })).toThrow(ImproperlyConfigured);
});
