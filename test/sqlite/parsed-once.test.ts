import { mkdtemp, rm } from "node:fs/promises";
import type { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { open as openBroker } from "../../src/brokers/sqlite.ts";
import { open as openLimits } from "../../src/limits/sqlite.ts";
import { taskKey } from "../../src/results/backend.ts";
import { open as openBackend } from "../../src/results/sqlite.ts";
import { openDatabase } from "../../src/sqlite/database.ts";

const SQLITE_OK = 0;

/** Since Node 24.10; its types are those of the oldest Node that we support. */
type Authorized = DatabaseSync & { setAuthorizer(callback: (() => number) | null): void };

test("no statement is parsed again because it is given another value", async () => {
  const folder = await mkdtemp(join(tmpdir(), "lovage-parsed-"));
  const url = `sqlite:///${join(folder, "test.db")}`;
  const context = { now: Date.now, random: Math.random, options: {} };
  const broker = await openBroker(url, context);
  const journal = { expires: 60, table: "", scope: "app", failed: () => {} };
  const backend = await openBackend(url, { ...context, journal });
  const limits = await openLimits(url, context);
  const database = await openDatabase(url, context);
  onTestFinished(async () => {
    await Promise.all([broker.close(), backend.close(), limits.close(), database.close()]);
    await rm(folder, { recursive: true });
  });

  const round = async (name: string) => {
    for (const queue of ["plain", "fair", "q.fifo"]) {
      const entries = Array.from({ length: 6 }, (_, index) => ({
        queue,
        body: `${name} ${index}`,
        ...(queue === "plain" ? { priority: index } : { groupId: `${name}-${index % 3}` }),
        ...(queue === "q.fifo" && { deduplicationId: `${name}-${index}` }),
      }));
      await broker.send(entries);
      await broker.send([{ queue, body: "later", delaySeconds: queue === "q.fifo" ? 0 : 1, groupId: `${name}-0` }]);
      for (const max of [1, 2, 3]) {
        const some = await broker.receive(queue, { max, wait: 0 });
        await broker.changeVisibility(some.slice(1).map((delivery) => ({ delivery, visibility: 0 })));
        await broker.delete(some);
      }
      await broker.purge(queue);
    }
    // More of a blocked group than are looked at one by one.
    const blocked = { queue: "q.fifo", body: "blocked", groupId: `${name}-m` };
    await broker.send(
      Array.from({ length: 202 }, (_, index) => ({ ...blocked, deduplicationId: `${name}-m-${index}` })),
    );
    await broker.receive("q.fifo", { max: 1, wait: 0 });
    await broker.send([{ queue: "q.fifo", body: "free", groupId: `${name}-z`, deduplicationId: `${name}-z` }]);
    expect(await broker.receive("q.fifo", { max: 2, wait: 0 })).toHaveLength(1);
    await broker.purge("q.fifo");

    const keys = [1, 2, 3].map((number) => taskKey(`${name}-${number}`));
    const row = { attempt: 0, owner: name, result: "{}", hidden: false } as const;
    const now = Date.now();
    await backend.apply(keys.map((key) => ({ type: "claim", key, now, lease: now + 1000, ...row })));
    await backend.apply(keys.map((key) => ({ type: "final", key, now, done: true, ...row })));
    await backend.read(keys);
    await backend.read(keys.slice(1, 2));
    await limits.decide(`limit ${name}`, () => ({ write: { state: name, expires: now + 1000 }, answer: true }));
  };

  let parsed = 0;
  const authorized = database.read((db) => db as Authorized);
  // SQLite asks it for each part of a statement that it parses. To set it makes all of them to be parsed once more.
  authorized.setAuthorizer(() => {
    parsed++;
    return SQLITE_OK;
  });
  await round("first");
  expect(parsed).toBeGreaterThan(50);
  await round("second");
  parsed = 0;
  await round("third");
  expect(parsed).toBe(0);
});
