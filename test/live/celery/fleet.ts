/** A fleet: one app on an emulator, a Python worker on the queue `python`, a Lovage worker on `lovage`, a Python caller. */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { rmSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import type { Lovage } from "lovage";
import { startWorker } from "lovage/worker";
import type { Emulator } from "../../../scripts/emulator.ts";
import { createQueues } from "../../../src/brokers/sqs.ts";
import { createTable } from "../../../src/results/dynamodb.ts";
import { startAnswering } from "../../python/python.ts";
import { emulatorUrl } from "../emulators.ts";
import { createApp, type Ran } from "./app.ts";

/** How rows are called: as stock Celery does, or by the plain keys that ours have by default. */
export type Keys = "python" | "plain";

export interface Fleet {
  /** The TypeScript app: it submits, and its worker runs `ts.*`. */
  readonly app: Lovage;
  /** What the Lovage worker began to run. */
  readonly ran: readonly Ran[];
  /** What the errbacks that ran there were given to tell. */
  readonly told: readonly string[];
  /** Evaluates an expression in a Python process that has the app, see client.py. */
  py<T>(expression: string): Promise<T>;
  /** Throws if the Python worker has ended, with what it said. */
  alive(): void;
  /** What the Python worker has logged. */
  pythonLog(): string;
  /** What the Lovage worker has logged. */
  readonly log: readonly string[];
  stop(): Promise<void>;
}

/** A queue that nobody serves, for a test that hands out messages itself. */
export const HELD = "held";

export async function startFleet(aws: Emulator, python: string, keys: Keys): Promise<Fleet> {
  const prefix = `${randomUUID().slice(0, 8)}-`;
  const brokerUrl = emulatorUrl("sqs", aws);
  const resultBackend = emulatorUrl("dynamodb", aws, `/${prefix}results?keys=${keys}`);
  const brokerTransportOptions = { queueNamePrefix: prefix, waitTimeSeconds: 1, visibilityTimeout: 30 };
  const bucket = `${prefix}payloads`;
  const s3 = new S3Client({
    endpoint: aws.endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  });
  await Promise.all([
    s3.send(new CreateBucketCommand({ Bucket: bucket })).finally(() => s3.destroy()),
    createQueues(`${brokerUrl}?queue_name_prefix=${prefix}`, ["python", "lovage", HELD]),
    createTable(resultBackend),
  ]);

  const env = {
    ...aws.env,
    FLEET_AWS: `localhost:${new URL(aws.endpoint).port}`,
    FLEET_PREFIX: prefix,
    FLEET_KEYS: keys,
    PYTHONUNBUFFERED: "1",
  };
  const folder = mkdtempSync(join(tmpdir(), "lovage-fleet-"));
  const worker = spawn(
    python,
    [
      "-m",
      "celery",
      "-A",
      "proj",
      "worker",
      "-P",
      "solo",
      "-Q",
      "python",
      "-l",
      "INFO",
      "--without-gossip",
      "--without-mingle",
      "-n",
      "python@test",
    ],
    { cwd: import.meta.dirname, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] },
  );
  const gone = once(worker, "close");
  let said = "";
  for (const stream of [worker.stdout, worker.stderr]) {
    stream.setEncoding("utf8").on("data", (more: string) => {
      said += more;
    });
  }
  const alive = () => {
    if (worker.exitCode !== null || worker.signalCode !== null)
      throw new Error(`the Python worker has ended:\n${said.slice(-4000)}`);
  };
  const client = startAnswering(python, join(import.meta.dirname, "client.py"), env);

  const ran: Ran[] = [];
  const told: string[] = [];
  const app = createApp(
    {
      brokerUrl,
      resultBackend,
      payloadStore: `s3://test:test@${bucket}?region=us-east-1&endpoint=${encodeURIComponent(aws.endpoint)}`,
      brokerTransportOptions,
      taskQueues: ["lovage", "python"],
      taskDefaultQueue: "python",
      taskRoutes: { "ts.*": { queue: "lovage" } },
      taskPublishRetry: false,
      beatSchedule: {
        py: { task: "py.add", schedule: 3600, args: [1, 2], options: { queue: "python" } },
        ts: { task: "ts.add", schedule: 3600, args: [1, 2] },
      },
    },
    ran,
    told,
  );
  const log: string[] = [];
  const lovage = await startWorker(app, {
    queues: ["lovage"],
    concurrency: 8,
    log: (level, text) => void log.push(`${level} ${text}`),
  });

  return {
    app,
    ran,
    told,
    log,
    alive,
    pythonLog: () => said,
    async py<T>(expression: string) {
      return (await client.ask({ expression })) as T;
    },
    async stop() {
      // Cold: what is left belongs to a test that failed.
      worker.kill("SIGKILL");
      await Promise.all([client.stop(), lovage.abort(), gone]);
      await app.close();
      rmSync(folder, { recursive: true });
    },
  };
}
