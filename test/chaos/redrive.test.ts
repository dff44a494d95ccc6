import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, onTestFinished, test } from "vitest";
import { openBroker } from "../../src/open.ts";
import { redriveUnderKill } from "./redrive.ts";

test("lovage dlq redrive on SQLite, interrupted and killed again and again: no letter is lost", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lovage-redrive-"));
  const brokerUrl = `sqlite:///${join(folder, "lovage.db")}`;
  const broker = await openBroker(brokerUrl, { now: Date.now, random: Math.random, options: {} });
  const file = new DatabaseSync(join(folder, "lovage.db"), { timeout: 10_000 });
  onTestFinished(async () => {
    file.close();
    await broker.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const figures = await redriveUnderKill({
    broker,
    brokerUrl,
    cwd: folder,
    letters: 1500,
    signals: ["SIGKILL", "SIGINT", "SIGKILL", "SIGINT", "SIGKILL"],
    random: Math.random,
    reveal: () => void file.exec("UPDATE message SET visible_at = 0 WHERE queue = 'celery-dlq'"),
  });
  expect(figures).toMatchObject({ lost: 0, left: 0, hidden: 0 });
  expect(figures.doubled).toBeLessThanOrEqual(3);
  // Or nothing was interrupted.
  expect(figures.ended.length).toBeGreaterThan(2);
});
