/** The flows, unchanged, with their results in DynamoDB. */
import { describe } from "vitest";
import * as dynamodb from "../../src/results/dynamodb.ts";
import { emulator, emulatorUrl } from "./emulators.ts";

const dynamodbLocal = await emulator("dynamodb");

const FLOWS = [
  "apply-async",
  "bad-input",
  "calling",
  "control",
  "delivery",
  "failure",
  "follow-ups",
  "hooks",
  "ignore-reject",
  "interleavings",
  "journal",
  "payloads",
  "pressure",
  "retry",
  "revoke",
  "routing",
  "running-task",
  "serializers",
  "signals",
  "states",
  "stored-row",
  "time-limits",
  "unique",
];

describe.skipIf(dynamodbLocal === undefined)("flows on DynamoDB", async () => {
  if (dynamodbLocal === undefined) return;
  // The flows' clock is not the emulator's, which would delete rows that have expired by its own.
  const url = emulatorUrl("dynamodb", dynamodbLocal, "/flows?ttl_seconds=-1");
  await Promise.all([dynamodb.createTable(url), dynamodb.createJournalTable(url, "journal")]);
  process.env["LOVAGE_FLOWS_TABLE"] = url;
  for (const flow of FLOWS) await import(`../flow/${flow}.test.ts`);
});
