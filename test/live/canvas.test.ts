/** Workflows whose joins are counted in DynamoDB. */
import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { beforeAll, describe, test } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import * as dynamodb from "../../src/results/dynamodb.ts";
import { canvases, canvasRunner } from "../canvas/random-canvas.ts";
import { emulator, emulatorUrl } from "./emulators.ts";

const dynamodbLocal = await emulator("dynamodb");

/** More by the environment: LOVAGE_CANVASES=5000. */
const RUNS = Math.ceil(Number(process.env["LOVAGE_CANVASES"] ?? 300) / 10);

describe.skipIf(dynamodbLocal === undefined)("canvases on DynamoDB", () => {
  const { run } = canvasRunner();
  let url: string;
  beforeAll(async () => {
    url = emulatorUrl("dynamodb", dynamodbLocal as Emulator, "/canvases");
    await dynamodb.createTable(url);
  });

  /** Each has rows of its own. The time is ahead of the emulator's, which would delete rows that have expired by it. */
  const stores = () => ({
    config: { resultBackend: url, resultBackendTransportOptions: { globalKeyprefix: `${randomUUID()}-` } },
    now: new Date(Date.UTC(2040, 0)),
  });

  test(`${RUNS} random ones of depth 3 end as the interpreter says`, { timeout: 600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(canvases(3), async (node) => run(node, undefined, stores())),
      { numRuns: RUNS },
    );
  });

  test(`${RUNS} on a queue that duplicates, reorders, delays, throttles and loses replies`, {
    timeout: 600_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(canvases(3), fc.nat(1_000_000), async (node, seed) => run(node, seed, stores())),
      { numRuns: RUNS },
    );
  });
});
