/** The same day on SQS and DynamoDB, as an emulator has them: 1,000 tasks, or 10,000 with `LOVAGE_DAY=10000`. */
import { describe, test } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import { createQueues } from "../../src/brokers/sqs.ts";
import * as dynamodb from "../../src/results/dynamodb.ts";
import { aDay, DAY } from "../cli/day.ts";
import { place } from "../cli/run.ts";
import { emulator, emulatorUrl } from "./emulators.ts";

const ministack = await emulator("ministack");

describe.skipIf(ministack === undefined)("on SQS and DynamoDB", () => {
  test(`a day of ${DAY} tasks`, { timeout: 1_200_000 }, async () => {
    const brokerUrl = emulatorUrl("sqs", ministack as Emulator);
    const resultBackend = emulatorUrl("dynamodb", ministack as Emulator, "/celery");
    await createQueues(brokerUrl, ["celery", "media"]);
    await dynamodb.createTable(resultBackend);
    await dynamodb.createJournalTable(resultBackend, "journal");
    await aDay(place({ brokerUrl, resultBackend }), false);
  });
});
