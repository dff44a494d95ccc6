/** Messages and results that are too large for their place: a pointer travels, and nobody sees a difference. */
import { randomBytes } from "node:crypto";
import { existsSync, globSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chord, DecodeError, group, Lovage, OperationalError, PayloadLost, PayloadTooLarge, Reject } from "lovage";
import { startWorker } from "lovage/worker";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Payloads } from "../../src/payloads/store.ts";
import { readPointer, writePointer } from "../../src/protocol/pointer.ts";
import { taskKey } from "../../src/results/backend.ts";
import { fileURLToPath, pathToFileURL } from "node:url";
import { folderBeside } from "../../src/file-url.ts";
import "./small-rows.ts";
import { inMemory, stores } from "./stores.ts";

const MIB = 1024 * 1024;
/** What compression does not help. */
const noise = (bytes: number): string => randomBytes(Math.ceil((bytes * 3) / 4)).toString("base64");

let names = 0;

describe.each(stores)("on %s", (_, begin) => {
  const start: typeof begin = (app, options = {}) =>
    begin(app, { ...options, config: { payloadStore: `memory://flow-${++names}`, ...options.config } });

  test("an argument of 2 MB runs, and what is in the queue is a pointer that says whose it is", async () => {
    const app = new Lovage("tasks");
    const size = app.task("tasks.size", (text: string) => text.length);
    const t = start(app);
    const result = await size.delay(noise(2 * MIB));
    const [sent] = await (await app.engine.broker()).receive("celery", { max: 1, wait: 0, visibility: 0 });
    expect(sent?.body.length).toBeLessThan(1000);
    expect(readPointer(sent?.body ?? "")?.key).toContain(result.id);
    expect(Number(sent?.attributes["ExtendedPayloadSize"])).toBeGreaterThan(2 * MIB);
    await t.drain();
    expect(await result.get()).toBe(noise(2 * MIB).length);
  });

  test("20 MB go there without being made a text, with what listeners put on the message, and come back", async () => {
    const app = new Lovage("tasks");
    const text = noise(20 * MIB);
    const seen: unknown[] = [];
    app.on("beforeTaskPublish", ({ message, headers }) => {
      seen.push((message.args[0] as { rows: readonly string[] }).rows[0] === text);
      headers["tenant"] = "acme";
    });
    const echo = app.task("tasks.echo", { bind: true }, (self, { rows }: { rows: readonly string[] }) => {
      seen.push(self.request.headers["tenant"]);
      return { rows: rows.map((row) => row) };
    });
    const t = start(app);
    const argument = { rows: [text, "short"] };
    const result = echo.delay(argument);
    argument.rows.pop();
    const { id } = await result;
    await t.drain();
    const back = (await app.result(id).get()) as typeof argument;
    expect([back.rows.length, back.rows[0] === text]).toEqual([2, true]);
    expect(seen).toEqual([true, "acme"]);
  });

  test("a slot of beat with an argument of 2 MB is sent as a call is", async () => {
    const app = new Lovage("tasks", {
      beatSchedule: { nightly: { task: "tasks.size", schedule: 3600, args: [noise(2 * MIB)] } },
    });
    app.task("tasks.size", (text: string) => text.length);
    const t = start(app, { beat: true });
    const ended = await t.advance({ hours: 1 });
    expect(ended).toMatchObject([{ state: "SUCCESS", result: noise(2 * MIB).length }]);
  });

  test("20 MB without a store are refused by the setting's name", async () => {
    const app = new Lovage("tasks");
    const size = app.task("tasks.size", (text: string) => text.length);
    start(app, { config: { payloadStore: "" } });
    const error = await size.delay(noise(20 * MIB)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(PayloadTooLarge);
    expect(error).toMatchObject({ message: expect.stringContaining("payloadStore"), limit: MIB });
    expect((await (await app.engine.broker()).size("celery")).ready).toBe(0);
  });

  test("one that is due later, is retried, and follows another", async () => {
    const app = new Lovage("tasks");
    let tries = 0;
    const echo = app.task("tasks.echo", { bind: true, maxRetries: 3 }, (self, text: string) => {
      if (tries++ < 2) throw self.retry({ countdown: 0 });
      return text;
    });
    const size = app.task("tasks.size", (text: string) => text.length);
    const t = start(app);
    const text = noise(2 * MIB);
    const result = await echo.s(text).pipe(size.s()).applyAsync([], { countdown: 3600 });
    await t.drain();
    expect(tries).toBe(0);
    await t.advance({ hours: 1 });
    await t.drain();
    expect(await result.get()).toBe(text.length);
    expect(tries).toBe(3);
  });

  test("a chord whose results together are 5 MB", async () => {
    const app = new Lovage("tasks");
    const make = app.task("tasks.make", (n: number) => `${n}${noise(MIB / 2)}`);
    const sum = app.task("tasks.sum", (texts: readonly string[]) => texts.map((text) => text.length));
    const t = start(app);
    const result = await chord(group([...Array(10).keys()].map((n) => make.s(n))), sum.s()).applyAsync();
    await t.drain();
    expect(await result.get()).toEqual(Array(10).fill(noise(MIB / 2).length + 1));
  });

  test("a dead letter of 2 MB is sent back, with its own arguments and with others", async () => {
    const app = new Lovage("tasks");
    let broken = true;
    const size = app.task("tasks.size", (text: string) => {
      if (broken) throw new Reject("no room");
      return text.length;
    });
    const t = start(app);
    const first = await size.delay(noise(2 * MIB));
    const second = await size.delay(noise(2 * MIB));
    await t.drain();
    broken = false;
    const letters = [];
    for await (const letter of app.control.deadLetters.list()) letters.push(letter.id);
    expect(letters.sort()).toEqual([first.id, second.id].sort());
    await app.control.deadLetters.redrive({ id: first.id });
    await app.control.deadLetters.redrive({ id: second.id, args: [noise(3 * MIB)] });
    await t.drain();
    expect(await first.get()).toBe(noise(2 * MIB).length);
    expect(await second.get()).toBe(noise(3 * MIB).length);
  });

  test("one that failed runs again from what its row keeps", async () => {
    const app = new Lovage("tasks");
    let broken = true;
    const size = app.task("tasks.size", (text: string) => {
      if (broken) throw new Error("it is down");
      return text.length;
    });
    const t = start(app);
    const result = await size.delay(noise(2 * MIB));
    await t.drain();
    await expect(result.get()).rejects.toThrow("it is down");
    broken = false;
    await app.control.retry(result.id);
    await t.drain();
    expect(await app.result(result.id).get()).toBe(noise(2 * MIB).length);
  });

  test.each<[string, (pointer: string) => string, { readonly name: string }, RegExp]>([
    [
      "gone",
      (pointer) => pointer.replace(/[0-9a-f-]{36}-(\d+s)/, `${crypto.randomUUID()}-$1`),
      PayloadLost,
      /is not in memory-.* any more/,
    ],
    [
      "in another bucket",
      (pointer) => writePointer({ bucket: "strangers", key: readPointer(pointer)?.key ?? "" }),
      DecodeError,
      /is refused/,
    ],
  ])("where it is %s the task is a failure that says so, and a dead letter", async (_, change, kind, message) => {
    const app = new Lovage("tasks");
    const size = app.task("tasks.size", (text: string) => text.length);
    const t = start(app, {
      broker: (broker) => ({
        ...broker,
        send: (entries) =>
          broker.send(
            entries.map((entry) => (entry.queue === "celery" ? { ...entry, body: change(entry.body) } : entry)),
          ),
      }),
    });
    const result = await size.delay(noise(2 * MIB));
    await t.drain();
    const error = await result.get().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: kind.name, message: expect.stringMatching(message) });
    expect((await (await app.engine.broker()).size("celery-dlq")).ready).toBe(1);
  });

  test("a worker without a store hands it back until it has one", async () => {
    const app = new Lovage("tasks");
    const size = app.task("tasks.size", (text: string) => text.length);
    const t = start(app, { config: { payloadStore: "" } });
    const kept = `memory://flow-${++names}`;
    const { createPayloads } = await import("../../src/payloads/payloads.ts");
    const { open } = await import("../../src/payloads/memory.ts");
    const payloads = createPayloads(await open(kept, { now: Date.now }), () => crypto.randomUUID(), Date.now);
    await t.put(await payloads.put("{}", "an-id", 1));
    await t.drain();
    expect((await (await app.engine.broker()).size("celery-dlq")).ready).toBe(0);
    expect(size.name).toBe("tasks.size");
    await expect(size.delay(noise(2 * MIB))).rejects.toThrow(PayloadTooLarge);
    await expect(size.delay(noise(2 * MIB))).rejects.toThrow(/payloadStore/);
  });

  test("what does not need it asks for nothing", async () => {
    const app = new Lovage("tasks");
    const size = app.task("tasks.size", (text: string) => text.length);
    const t = start(app, { config: { payloadStore: "file:///dev/null/nowhere" } });
    const result = await size.delay("x".repeat(3 * MIB));
    await t.drain();
    expect(await result.get()).toBe(3 * MIB);
    await expect(size.delay(noise(2 * MIB))).rejects.toMatchObject({
      name: "OperationalError",
      message: expect.stringContaining("/dev/null/nowhere"),
    });
    expect((await (await app.engine.broker()).size("celery")).ready).toBe(0);
  });
});

describe("a backend whose rows have 2,000 bytes at most", () => {
  const makeApp = () => {
    const app = new Lovage("tasks");
    const make = app.task("tasks.make", (text: string) => ({ text, at: new Date(0) }));
    const measure = app.task("tasks.measure", ({ text }: { text: string }) => text.length);
    const name = `large-results-${++names}`;
    const t = inMemory(app, { config: { resultBackend: `small://${name}`, payloadStore: `memory://${name}` } });
    return { app, make, measure, t };
  };

  test("a result over the limit is read as any other, and goes on to the next step", async () => {
    const { app, make, measure, t } = makeApp();
    const text = noise(10_000);
    const result = await make.delay(text);
    const next = await make.s(text).pipe(measure.s()).applyAsync();
    await t.drain();
    expect(await result.get()).toEqual({ text, at: new Date(0) });
    expect(await next.get()).toBe(text.length);
    const [row] = await (await app.engine.backend()).read([taskKey(result.id)]);
    const meta = JSON.parse(String(row?.result));
    // A reader of Python's sees that it has succeeded, and where the result is.
    expect(meta).toMatchObject({ status: "SUCCESS", result_kept: "text" });
    expect(readPointer(JSON.stringify(meta.result))?.key).toContain(result.id);
    expect(await result.state()).toBe("SUCCESS");
  });

  test("who has just stored a result does not ask for it again to send what follows", async () => {
    const { app, make, measure, t } = makeApp();
    const read = vi.spyOn((await app.engine.payloads()) as Payloads, "read");
    const text = noise(10_000);
    const next = await make.s(text).pipe(measure.s()).applyAsync();
    const linked = await make.applyAsync([text], { link: measure.s() });
    await t.drain();
    expect(read).not.toHaveBeenCalled();
    const long = await make
      .s("y".repeat(17 * MIB))
      .pipe(measure.s())
      .applyAsync();
    await t.drain();
    // The message of the next step is kept too.
    expect(read.mock.calls.filter(([, isMessage]) => !isMessage)).toEqual([]);
    expect(await long.get()).toBe(17 * MIB);
    read.mockClear();
    const total = app.task("tasks.total", (made: readonly { text: string }[]) => made.map(({ text }) => text.length));
    const joined = await chord([make.s(text), make.s(text), make.s(text)], total.s()).applyAsync();
    await t.drain();
    // Those of the two members that ended before.
    expect(read).toHaveBeenCalledTimes(2);
    const [child] = await linked.children();
    expect([await next.get(), await child?.get(), await joined.get()]).toEqual([
      text.length,
      text.length,
      [text.length, text.length, text.length],
    ]);
  });

  test("who asks for no more than the state of a task does not read its result", async () => {
    const app = new Lovage("tasks");
    const make = app.task("tasks.make", (text: string) => text);
    const folder = mkdtempSync(join(tmpdir(), "lovage-large-"));
    const url = pathToFileURL(folder).href;
    const t = inMemory(app, { config: { resultBackend: `small://large-results-${++names}`, payloadStore: url } });
    const result = await make.delay(noise(10_000));
    const several = await group([make.s(noise(10_000)), make.s(noise(10_000))]).applyAsync();
    const linked = await make.s(noise(10_000)).linkError(make.s("")).applyAsync();
    await t.drain();
    rmSync(folder, { recursive: true });
    expect([await result.state(), await result.ready(), await result.successful()]).toEqual(["SUCCESS", true, true]);
    expect([await result.traceback(), await result.dateDone(), await result.children()]).toEqual([
      null,
      expect.any(Date),
      [],
    ]);
    expect([await several.ready(), await several.completedCount(), await linked.ready()]).toEqual([true, 2, true]);
    expect((await app.workflow(several.id)).tasks.map(({ state }) => state)).toEqual(["SUCCESS", "SUCCESS"]);
    for (const read of [app.result(result.id), result]) {
      await expect(read.result()).rejects.toMatchObject({ name: "PayloadLost" });
      await expect(read.get()).rejects.toMatchObject({ name: "PayloadLost" });
    }
    expect((await app.control.revoke(result.id)).failed).toEqual([
      { id: result.id, reason: "it has ended already: SUCCESS" },
    ]);
    await expect(app.control.retry(result.id)).rejects.toMatchObject({ name: "CannotRetry", reason: "succeeded" });
  });

  test("what a task says of itself with `updateState` over the limit is read while it runs", async () => {
    const { app, t } = makeApp();
    const text = noise(10_000);
    const told: unknown[] = [];
    const tell = app.task("tasks.tell", { bind: true }, async (self) => {
      await self.updateState({ state: "DRAWN", meta: { text } });
      const row = app.result(self.request.id);
      told.push(await row.state(), await row.info());
      return "done";
    });
    const result = await tell.delay();
    await t.drain();
    expect(told).toEqual(["DRAWN", { text }]);
    expect(await result.get()).toBe("done");
  });

  test("that is an error at the call where there is no store", async () => {
    const app = new Lovage("tasks");
    const tell = app.task("tasks.tell", { bind: true }, (self) =>
      self.updateState({ state: "DRAWN", meta: noise(10_000) }),
    );
    const t = inMemory(app, { config: { resultBackend: `small://large-results-${++names}` } });
    const result = await tell.delay();
    await t.drain();
    await expect(result.get()).rejects.toMatchObject({
      name: "PayloadTooLarge",
      message: expect.stringContaining("payloadStore"),
    });
  });

  test("an error that no row takes is a failure that says so, as without a store", async () => {
    const { app, t } = makeApp();
    const fail = app.task("tasks.fail", (text: string) => {
      throw new RangeError(text);
    });
    const result = await fail.delay(noise(10_000));
    await t.drain();
    await expect(result.get()).rejects.toMatchObject({ name: "PayloadTooLarge" });
  });

  test("in msgpack too", async () => {
    const app = new Lovage("tasks");
    const make = app.task("tasks.make", (text: string) => text);
    const name = `large-results-${++names}`;
    const t = inMemory(app, {
      config: { resultBackend: `small://${name}`, payloadStore: `memory://${name}`, resultSerializer: "msgpack" },
    });
    const text = noise(10_000);
    const result = await make.delay(text);
    await t.drain();
    expect(await result.get()).toBe(text);
  });
});

test("a chord of 10,000 members whose results together are 50 MB, in their order", { timeout: 180_000 }, async () => {
  const url = `memory://chord-${++names}`;
  const app = new Lovage("tasks", { brokerUrl: url, resultBackend: url, payloadStore: url });
  onTestFinished(() => app.close());
  const text = noise(5000);
  const make = app.task("tasks.make", (n: number) => `${n}:${text}`);
  const count = app.task("tasks.count", (texts: readonly string[]) => [
    texts.length,
    texts.reduce((sum, one) => sum + one.length, 0),
    texts.every((one, n) => one.startsWith(`${n}:`)),
  ]);
  const result = await chord(group(Array.from({ length: 10_000 }, (_, n) => make.s(n))), count.s()).applyAsync();
  const worker = await startWorker(app, { concurrency: 64 });
  onTestFinished(() => worker.stop());
  const [members, characters, isInOrder] = await result.get({ timeout: 150 });
  expect([members, isInOrder]).toEqual([10_000, true]);
  expect(characters).toBeGreaterThan(50_000_000);
});

test("the embedded default keeps them in a folder beside its file", async () => {
  const [, inFile] = stores.find(([name]) => name === "SQLite") ?? [];
  if (inFile === undefined) return;
  const app = new Lovage("tasks");
  const size = app.task("tasks.size", (text: string) => text.length);
  const t = inFile(app);
  const result = await size.delay(noise(2 * MIB));
  const folder = fileURLToPath(folderBeside(app.engine.urls.brokerUrl) ?? "");
  const files = globSync("**/*-*", { cwd: folder });
  expect(files.filter((file) => file.includes(result.id)).length).toBeGreaterThan(0);
  expect(existsSync(folder)).toBe(true);
  await t.drain();
  expect(await result.get()).toBe(noise(2 * MIB).length);

  const lost = await size.delay(noise(2 * MIB));
  rmSync(folder, { recursive: true });
  await t.drain();
  await expect(lost.get()).rejects.toMatchObject({ name: "PayloadLost" });

  // A disk that is full, or a folder that is not to be had: nothing is sent.
  writeFileSync(folder, "");
  await expect(size.delay(noise(2 * MIB))).rejects.toThrow(OperationalError);
  expect((await (await app.engine.broker()).size("celery")).ready).toBe(0);
});
