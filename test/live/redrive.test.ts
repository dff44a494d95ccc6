import { randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import * as sqs from "../../src/brokers/sqs.ts";
import { redriveUnderKill } from "../chaos/redrive.ts";
import { emulator, emulatorUrl } from "./emulators.ts";

const ministack = await emulator("ministack");

/** So long letters stay hidden that a process had in hand when it was killed. */
const HIDDEN_MS = 61_000;

describe.skipIf(ministack === undefined)("on SQS", () => {
  test("lovage dlq redrive, interrupted and killed: no letter is lost", { timeout: 180_000 }, async () => {
    if (ministack === undefined) return;
    const brokerUrl = emulatorUrl("sqs", ministack, `?queue_name_prefix=${randomUUID()}-`);
    await sqs.createQueues(brokerUrl, ["celery"]);
    const broker = sqs.open(brokerUrl, { now: Date.now, random: Math.random, options: {} });
    onTestFinished(() => broker.close());
    const figures = await redriveUnderKill({
      broker,
      brokerUrl,
      // Dead letters need none, the app does.
      env: { LOVAGE_RESULT_BACKEND: emulatorUrl("dynamodb", ministack, "/results") },
      cwd: tmpdir(),
      letters: 400,
      signals: ["SIGINT", "SIGINT", "SIGKILL"],
      random: Math.random,
      reveal: () => sleep(HIDDEN_MS),
    });
    expect(figures).toMatchObject({ lost: 0, left: 0, hidden: 0 });
    expect(figures.doubled).toBeLessThanOrEqual(1);
    // Or nothing was interrupted.
    expect(figures.ended.length).toBeGreaterThan(1);
  });
});
