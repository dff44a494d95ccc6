/** What the stack's containers run, as a plain process on SQS and DynamoDB: it is stopped as ECS does, in the middle of a task. */
import { randomUUID } from "node:crypto";
import { describe, expect, test, vi } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import { createQueues } from "../../src/brokers/sqs.ts";
import * as dynamodb from "../../src/results/dynamodb.ts";
import { place } from "../cli/run.ts";
import { emulator, emulatorUrl } from "./emulators.ts";

const ministack = await emulator("ministack");

describe.skipIf(ministack === undefined)("a container's worker", () => {
  test.each([
    ["heeds its signal", true],
    ["does not", false],
  ])(
    "SIGTERM in the middle of a task that %s: it is handed back in time, and no death is counted",
    async (_, heeds) => {
      const name = `t${randomUUID().slice(0, 8)}`;
      const brokerUrl = emulatorUrl("sqs", ministack as Emulator, `?queue_name_prefix=${name}-&wait_time_seconds=1`);
      const resultBackend = emulatorUrl("dynamodb", ministack as Emulator, `/${name}`);
      await createQueues(brokerUrl, ["celery", "media"]);
      await dynamodb.createTable(resultBackend);
      await dynamodb.createJournalTable(resultBackend, `${name}-journal`);
      const { app, worker, runs } = place({ brokerUrl, resultBackend });
      // As the stack starts it, but for the grace; a lease is so long that nothing but a hand-back lets another take over.
      const command = ["--queues", "celery", "--concurrency", "1", "--grace", "1", "--log-format", "json"];
      const first = await worker(command, { VISIBILITY: "600" });
      const result = await app.sendTask("cli.heed", [heeds]);
      await vi.waitUntil(() => runs().length === 1, { timeout: 60_000 });

      const began = performance.now();
      first.process.kill("SIGTERM");
      expect(await first.exited).toMatchObject({ code: 0 });
      // Of the 30 seconds that ECS gives at the least.
      expect(performance.now() - began).toBeLessThan(20_000);
      const second = await worker(command, { VISIBILITY: "600" });
      // The retries that it has used up.
      expect(await result.get({ timeout: 60 })).toBe(0);
      expect(runs().map(([, word]) => word)).toEqual(["begin", "begin"]);
      second.process.kill("SIGTERM");
      const { code, stdout } = await second.exited;
      expect(code).toBe(0);
      expect(stdout).not.toMatch(/workers? died|WorkerLostError/);
    },
  );
});
