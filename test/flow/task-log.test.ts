import { currentTask, getTaskLogger, Lovage } from "lovage";
import { testApp } from "lovage/testing";
import { describe, expect, test, vi } from "vitest";
import { jsonLine } from "../../src/workers/log.ts";
import { everywhere } from "./stores.ts";

const ownLines = <L extends { readonly fields: Readonly<Record<string, unknown>> }>(lines: readonly L[]) =>
  lines.filter(({ fields }) => "message" in fields);

describe.each(everywhere)("on %s", (_, start) => {
  test("a task's own lines carry its id, on every level, in words and as facts", async () => {
    const app = new Lovage("shop");
    const shared = getTaskLogger("shop.mail");
    const mail = app.task("shop.mail", { bind: true, maxRetries: 1 }, async (self) => {
      currentTask()?.log.debug("looked");
      await Promise.resolve();
      self.log.info("sent", { to: 3, order: { id: 17n } });
      shared.warning("slow");
      if (self.request.retries === 0) self.retry({ countdown: 0 });
      shared.error(new RangeError("too far"));
    });
    const t = start(app);
    const { id } = await mail.delay();
    await t.drain();
    const facts = { task: "shop.mail", id, queue: "celery" };
    const said = ownLines(t.log).map(({ level, line, fields }) => ({ level, line, ...fields }));
    const first = { ...facts, retries: 0 };
    expect(said.slice(0, 3)).toEqual([
      { level: "debug", line: `shop.mail[${id}]: looked`, message: "looked", ...first },
      {
        level: "info",
        line: `shop.mail[${id}]: sent {"to":3,"order":{"id":17}}`,
        message: "sent",
        extra: { to: 3, order: { id: 17 } },
        ...first,
      },
      { level: "warning", line: `shop.mail[${id}]: slow`, message: "slow", logger: "shop.mail", ...first },
    ]);
    expect(said.at(-1)).toMatchObject({ level: "error", logger: "shop.mail", retries: 1 });
    expect(said.at(-1)?.line).toMatch(/: RangeError: too far\n {4}at /);
  });
});

test("runs beside each other keep their lines apart", async () => {
  const app = new Lovage("shop");
  const log = getTaskLogger();
  const gate = Promise.withResolvers<void>();
  const wait = app.task("shop.wait", async (n: number) => {
    await gate.promise;
    log.info(String(n));
  });
  await using t = testApp(app, { concurrency: 3 });
  const ids = await Promise.all([0, 1, 2].map(async (n) => (await wait.delay(n)).id));
  const draining = t.drain();
  gate.resolve();
  await draining;
  const said = ownLines(t.log).map(({ fields }) => [fields["id"], fields["message"]]);
  expect(said.sort()).toEqual(ids.map((id, n) => [id, String(n)]).sort());
});

test("whatever is written, the task goes on, and what machines read is one object, short and without control characters", async () => {
  const app = new Lovage("shop");
  const cycle: Record<string, unknown> = { n: 2n ** 64n };
  cycle["self"] = cycle;
  const trap = {
    get no() {
      throw new Error("no");
    },
  };
  const extras = [cycle, trap, { nan: Number.NaN }, { bytes: new Uint8Array(1e6) }, { long: "x".repeat(1e6) }];
  const write = app.task("shop.write", { bind: true }, (self) => {
    for (const extra of extras) self.log.info("\u001b[2Jred\u202e", extra);
    self.log.info("y".repeat(1e6));
    self.log.info({ not: "text" } as never);
    self.log.info(undefined as never);
    return "done";
  });
  await using t = testApp(app);
  await write.delay();
  expect(await t.drain()).toMatchObject([{ result: "done" }]);
  const lines = ownLines(t.log).map(({ level, line, fields }) => jsonLine(0, level, {}, line, fields));
  expect(lines).toHaveLength(8);
  for (const line of lines) {
    expect(line.length).toBeLessThan(101_000);
    expect(line).not.toMatch(/\p{Cc}|\u202e/u);
  }
  const read = lines.map((line) => JSON.parse(line) as { message: string; extra: unknown });
  expect(read[0]?.extra).toEqual({ n: "18446744073709551616", self: "(contains itself)" });
  expect(read[3]?.extra).toEqual({ bytes: "(1000000 bytes)" });
  expect(read.slice(-2).map(({ message }) => message)).toEqual(['{"not":"text"}', "undefined"]);
});

test("what runs in no worker writes to the console", async () => {
  const app = new Lovage("shop");
  const log = getTaskLogger();
  const add = app.task("shop.add", { bind: true }, (self) => {
    self.log.info("by self");
    log.warning("by module", { n: 1 });
  });
  const info = vi.spyOn(console, "info").mockImplementation(() => {});
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  try {
    const { id } = await add.apply([]);
    expect(info.mock.calls).toEqual([[`shop.add[${id}]: by self`]]);
    expect(warn.mock.calls).toEqual([[`shop.add[${id}]: by module {"n":1}`]]);
    log.warning("outside\u001b");
    add.run();
    expect(warn.mock.calls.slice(1)).toEqual([["outside\\x1b"], ['by module {"n":1}']]);
    expect(info.mock.calls.slice(1)).toEqual([["by self"]]);
  } finally {
    vi.restoreAllMocks();
  }
});
