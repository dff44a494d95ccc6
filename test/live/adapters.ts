/** The contracts of broker, backend and journal, to be run on SQS and DynamoDB as an emulator has them. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { describe } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import * as sqs from "../../src/brokers/sqs.ts";
import * as dynamodb from "../../src/results/dynamodb.ts";
import { describeBackend } from "../contract/backend.ts";
import { CONTRACT_QUEUES, describeBroker } from "../contract/broker.ts";
import { describeJournal } from "../contract/journal.ts";
import { emulatorUrl } from "./emulators.ts";
import { type Fault, startFaultProxy } from "./fault-proxy.ts";

export function brokerOn(name: string, aws: Emulator | undefined): void {
  describe.skipIf(aws === undefined)("SQS", () => {
    if (aws === undefined) return;
    describeBroker(
      `SQS on ${name}`,
      async () => {
        const url = emulatorUrl("sqs", aws, `?queue_name_prefix=${randomUUID()}-&wait_time_seconds=1`);
        await sqs.createQueues(url, Object.values(CONTRACT_QUEUES));
        return {
          broker: sqs.open(url, { now: Date.now, random: Math.random, options: {} }),
          // Its clock is that of the machine, and it counts in whole seconds.
          advance: (ms: number) => sleep(ms + 200),
          close: () => undefined,
        };
      },
      { virtualTime: false, deduplicatesPlain: false, exactSizes: false, countsPurged: false, patience: 1000 },
    );
  });
}

interface Options {
  /** PartiQL is answered as by a service that does not have it: each row is written by itself. */
  readonly isWithoutPartiql?: boolean;
  /** Random histories. Default: 40. */
  readonly runs?: number;
}

const NO_PARTIQL: Fault = {
  reply: { status: 400, body: { __type: "com.amazon.coral.service#UnknownOperationException", message: "no PartiQL" } },
};

/**
 * Requests between two steps whose replies are lost, one of each kind of write. The SDK pays for a second try of each with
 * 14 of 500 tokens and gets one back for a request that succeeds: without any it does not try again, and says so.
 */
const PAID_BACK = 3 * 14;

export function backendOn(name: string, aws: Emulator | undefined, options: Options = {}): void {
  describe.skipIf(aws === undefined)("DynamoDB", () => {
    if (aws === undefined) return;
    describeBackend(
      `DynamoDB on ${name}`,
      async () => {
        const table = `contract-${randomUUID()}`;
        await dynamodb.createTable(emulatorUrl("dynamodb", aws, `/${table}`));
        const proxy = await startFaultProxy(aws.endpoint);
        const set = () => {
          proxy.reset();
          if (options.isWithoutPartiql) proxy.spoil("BatchExecuteStatement", NO_PARTIQL, 1000);
        };
        set();
        const url = emulatorUrl("dynamodb", proxy, `/${table}`);
        const client = new DynamoDBClient({
          endpoint: aws.endpoint,
          region: "us-east-1",
          credentials: { accessKeyId: "test", secretAccessKey: "test" },
        });
        // Ahead of the emulator's own clock, which would otherwise delete what has expired in the test's time.
        let now = Date.UTC(2040, 0);
        const backend = dynamodb.open(url, { now: () => now, random: Math.random, options: {} });
        return {
          backend,
          now: () => now,
          advance(ms) {
            now += ms;
          },
          async putRaw(key, payload, timestamp) {
            const result = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
            const Item = { id: { S: key }, result: { B: result }, timestamp: { N: String(timestamp) } };
            await client.send(new PutItemCommand({ TableName: table, Item }));
          },
          loseReply() {
            if (proxy.count() < PAID_BACK) return;
            set();
            for (const write of ["PutItem", "UpdateItem", "BatchExecuteStatement"])
              proxy.spoil(write, { loseReply: true });
          },
          async close() {
            await backend.close();
            await proxy.close();
            client.destroy();
          },
        };
      },
      { runs: options.runs ?? 40 },
    );
  });
}

const EXPIRES_S = 3600;

export function journalOn(name: string, aws: Emulator | undefined, options: Options = {}): void {
  describe.skipIf(aws === undefined)("the journal in DynamoDB", () => {
    if (aws === undefined) return;
    describeJournal(`DynamoDB on ${name}`, async () => {
      const proxy = await startFaultProxy(aws.endpoint);
      if (options.isWithoutPartiql) proxy.spoil("BatchExecuteStatement", NO_PARTIQL, 1000);
      const url = emulatorUrl("dynamodb", proxy, `/contract-${randomUUID()}`);
      const table = `journal-${randomUUID()}`;
      await Promise.all([dynamodb.createTable(url), dynamodb.createJournalTable(url, table)]);
      // Ahead of the emulator's own clock, as above, and just after midnight in UTC.
      let now = Date.UTC(2040, 0, 1, 0, 0, 30);
      const failed = (error: unknown) => {
        throw error;
      };
      const journal = { expires: EXPIRES_S, table, scope: "", failed };
      const backend = dynamodb.open(url, { now: () => now, random: Math.random, options: {}, journal });
      return {
        backend,
        now: () => now,
        advance(ms) {
          now += ms;
        },
        expires: EXPIRES_S,
        async close() {
          await backend.close();
          await proxy.close();
        },
      };
    });
  });
}
