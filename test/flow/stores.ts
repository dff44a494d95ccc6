/** Where the flows run: every feature is the same whatever broker and backend stand behind it. */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Lovage } from "lovage";
import { hostileBroker, testApp, type TestApp, type TestOptions } from "lovage/testing";
import { onTestFinished } from "vitest";

type Start = (app: Lovage, options?: TestOptions) => TestApp;

/** Puts an app under test for the length of one test. */
export const inMemory: Start = (app, options = {}) => {
  const t = testApp(app, options);
  onTestFinished(() => t.close());
  return t;
};

const inFile: Start = (app, options = {}) => {
  const folder = mkdtempSync(join(tmpdir(), "lovage-flow-"));
  const url = `sqlite:///${join(folder, "lovage.db")}`;
  const t = testApp(app, { ...options, config: { brokerUrl: url, resultBackend: url, ...options.config } });
  onTestFinished(async () => {
    await t.close();
    rmSync(folder, { recursive: true });
  });
  return t;
};

/** Rows apart from those of all other tests. */
const inTable =
  (url: string): Start =>
  (app, options = {}) => {
    const prefix = `${randomUUID()}-`;
    const config = {
      resultBackend: url,
      // The journal is looked through day by day.
      journalExpires: { days: 1 },
      resultBackendTransportOptions: { globalKeyprefix: prefix },
      ...options.config,
    };
    return inMemory(app, { ...options, config });
  };

type Stores = readonly (readonly [name: string, start: Start])[];

/** `test/live/flows.test.ts` has the flows run on a table of an emulator. */
export const table = process.env["LOVAGE_FLOWS_TABLE"];
/** Whether rows are in a table, which has a limit of its own, under a prefix. */
export const isTable = table !== undefined;

/** For what is seen in the queues themselves: how many messages or dead letters there are. */
export const stores: Stores =
  table === undefined
    ? [
        ["memory", inMemory],
        ["SQLite", inFile],
      ]
    : [["DynamoDB", inTable(table)]];

const SEED = Number(process.env["LOVAGE_SEED"] ?? 1);
/** Of what a queue service may do, all that leaves the time of things alone. */
const DOUBLING = { duplicate: 0.3, stale: 0.3, loseDelete: 0.3, delay: 0, throttle: 0, loseReply: 0 };

const doubling: Start = (app, options = {}) => {
  const { broker: wrap = (broker) => broker } = options;
  return inMemory(app, { ...options, broker: (broker) => wrap(hostileBroker(broker, SEED, DOUBLING)) });
};

/** For what becomes of tasks, which is the same on a queue that duplicates, reorders, and loses acknowledgements. */
export const everywhere: Stores =
  table === undefined ? [...stores, [`a hostile queue (LOVAGE_SEED=${SEED})`, doubling]] : stores;
