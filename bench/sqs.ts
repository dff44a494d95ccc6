/** A group over SQS with its results in DynamoDB, on one emulator 5 ms away: requests, bytes and time. */
import { join } from "node:path";
import { RequirementMissing, startEmulator } from "../scripts/emulator.ts";
import { createQueues } from "../src/brokers/sqs.ts";
import { createJournalTable, createTable } from "../src/results/dynamodb.ts";
import { PeerMissing, pythonPeers } from "./cache.ts";
import { check, compare, type Contender } from "./compare.ts";
import { type Child, start } from "./processes.ts";
import { type CountingProxy, startProxy } from "./proxy.ts";

const SIZE = Number(process.env["BENCH_GROUP"] ?? 1000);
/** About what lies between two availability zones and a service's own time. */
const DELAY_MS = 5;

const PEERS = join(import.meta.dirname, "peers");
const SOURCE = join(import.meta.dirname, "..", "scripts", "source.ts");

interface Side {
  readonly name: string;
  readonly proxy: CountingProxy;
  readonly worker: () => Child;
  readonly submit: () => Child;
}

const contender = ({ name, proxy, worker, submit }: Side): Contender => ({
  name,
  async round() {
    const working = worker();
    const submitting = submit();
    try {
      await submitting.next("begin");
      proxy.take();
      const { submitMs, resultsMs, right } = await submitting.next("done");
      const { requests, bytes, byAction } = proxy.take();
      check(right === true, "of the group");
      const each = Object.entries(byAction).map(([action, count]) => [`${action} a task`, count / SIZE]);
      return {
        "requests a task": requests / SIZE,
        "bytes a task": bytes / SIZE,
        "to submit": Number(submitMs) / 1000,
        "to all results": Number(resultsMs) / 1000,
        ...Object.fromEntries(each),
      };
    } finally {
      await submitting.stop();
      await working.stop();
    }
  },
});

export async function sqs(): Promise<void> {
  const python = pythonPeers();
  const emulator = await startEmulator("ministack").catch((error: unknown) => {
    if (error instanceof RequirementMissing) throw new PeerMissing(error.message, { cause: error });
    throw error;
  });
  const proxies = await Promise.all([
    startProxy(emulator.endpoint, DELAY_MS),
    startProxy(emulator.endpoint, DELAY_MS),
  ] as const);
  try {
    const [ours, theirs] = proxies;
    const { host } = new URL(emulator.endpoint);
    await Promise.all([
      createQueues(`sqs://test:test@${host}`, ["lovage", "python"]),
      createTable(`dynamodb://test:test@${host}/lovage`),
      createJournalTable(`dynamodb://test:test@${host}/lovage`, "journal"),
    ]);
    // Both are to be reached through their proxies alone.
    const env = {
      AWS_ACCESS_KEY_ID: "test",
      AWS_SECRET_ACCESS_KEY: "test",
      AWS_REGION: "us-east-1",
      AWS_DEFAULT_REGION: "us-east-1",
    };
    const node = (...args: string[]) =>
      start(process.execPath, ["--import", SOURCE, join(PEERS, "sqs.ts"), ...args], {
        env: { ...env, BENCH_PORT: String(ours.port) },
      });
    const celery = (...args: string[]) =>
      start(python, args, {
        cwd: PEERS,
        env: { ...env, BENCH_PORT: String(theirs.port), PYTHONDONTWRITEBYTECODE: "1" },
      });
    await compare({
      name: "sqs",
      work: `a group of ${SIZE} over SQS, results in DynamoDB, ${DELAY_MS} ms away`,
      metrics: {
        "requests a task": { unit: "1", better: "less" },
        "bytes a task": { unit: "B", better: "less" },
        "to submit": { unit: "s", better: "less" },
        "to all results": { unit: "s", better: "less" },
      },
      contenders: [
        contender({
          name: "Lovage",
          proxy: ours,
          worker: () => node("worker"),
          submit: () => node("submit", String(SIZE)),
        }),
        contender({
          name: "Celery",
          proxy: theirs,
          worker: () =>
            celery("-m", "celery", "-A", "celery_sqs_app", "worker", "-P", "prefork", "-c", "2", "-l", "ERROR"),
          submit: () => celery("celery_sqs_submit.py", String(SIZE)),
        }),
      ],
    });
  } finally {
    await Promise.all(proxies.map((proxy) => proxy.close()));
    await emulator.stop();
  }
}
