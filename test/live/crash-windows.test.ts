/** The crash windows of a delivery, on SQS and DynamoDB as the emulators have them. Only time is virtual. */
import { randomUUID } from "node:crypto";
import { virtualClock } from "lovage/testing";
import { afterAll, describe, vi } from "vitest";
import * as sqs from "../../src/brokers/sqs.ts";
import * as dynamodb from "../../src/results/dynamodb.ts";
import { byClock } from "../chaos/by-clock.ts";
import { describeCrashWindows, describeRedrive, QUEUES, type Windows } from "../chaos/crash-windows.ts";
import type { Ground } from "../chaos/mortal.ts";
import { emulator, emulatorUrl } from "./emulators.ts";

// By the client that a function has: it is where workers die most, and takes half the time of the SDK's.
vi.mock("#aws/sqs", () => import("../../src/aws/bundled-sqs.ts"));
vi.mock("#aws/dynamodb", () => import("../../src/aws/bundled-dynamodb.ts"));

const [ministack, dynamodbLocal] = await Promise.all([emulator("ministack"), emulator("dynamodb")]);

/** Workers that die at a time: each waits for the emulators most of its life. */
const AT_A_TIME = 8;

describe.skipIf(ministack === undefined || dynamodbLocal === undefined)("SQS and DynamoDB", () => {
  if (ministack === undefined || dynamodbLocal === undefined) return;
  const closers: (() => Promise<void>)[] = [];
  afterAll(() => Promise.all(closers.map((close) => close())));
  const table = emulatorUrl("dynamodb", dynamodbLocal, `/crash-${randomUUID()}`);
  const random = () => 0.5;

  async function makeGround(): Promise<Ground> {
    const queues = emulatorUrl(
      "sqs",
      ministack as NonNullable<typeof ministack>,
      `?queue_name_prefix=${randomUUID()}-`,
    );
    await sqs.createQueues(queues, QUEUES);
    // Ahead of the emulator's own clock, which would otherwise delete what has expired in the test's time.
    const clock = virtualClock(Date.UTC(2040, 0));
    const context = { now: clock.now, random, options: {} };
    // One connection for all lives: what is lost with a life are its answers.
    const service = sqs.open(queues, context);
    const broker = { ...byClock(service, clock), close: async () => {} };
    const backend = dynamodb.open(table, context);
    closers.push(service.close, backend.close);
    return {
      clock,
      nextDue: broker.nextDue,
      openBroker: async () => broker,
      openBackend: async () => ({ ...backend, close: async () => {} }),
    };
  }

  let made: Promise<readonly Ground[]> | undefined;
  const windows: Windows = {
    grounds: () =>
      (made ??= (async () => {
        await dynamodb.createTable(table);
        return Promise.all(Array.from({ length: AT_A_TIME }, makeGround));
      })()),
    everywhere: false,
  };
  describeCrashWindows("SQS and DynamoDB", windows);
  describeRedrive("SQS and DynamoDB", windows);
});
