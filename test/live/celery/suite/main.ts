/**
 * `npm run test:celery [-- celery] [what pytest takes]`: the integration suite of Celery itself, which its authors wrote for
 * their worker, with Lovage's in its place; with `celery`, with their own. Both on one emulator's SQS and DynamoDB.
 * Fails when a test fails for which outcomes.ts has no reason, or passes for which it has one.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { startWorker } from "lovage/worker";
import { startEmulator } from "../../../../scripts/emulator.ts";
import { createQueues } from "../../../../src/brokers/sqs.ts";
import { createTable } from "../../../../src/results/dynamodb.ts";
import { celeryPython } from "../../../python/python.ts";
import { compare, type Outcome } from "./outcomes.ts";
import { connectRedis } from "./redis.ts";
import { createApp } from "./tasks.ts";

const exec = promisify(execFile);
const CELERY = "5.7.0";
/** The files whose tests send tasks and look at what comes back; the others are about Celery's worker, or other services. */
const FILES = ["test_canvas", "test_group_chains", "test_tasks"];

/** The suite is in Celery's source alone. */
async function suiteFolder(python: string): Promise<string> {
  const cache = join(import.meta.dirname, "../../../../.cache/celery-suite");
  const folder = join(cache, `celery-${CELERY}`);
  if (existsSync(join(folder, "t/integration"))) return folder;
  mkdirSync(cache, { recursive: true });
  const pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "celery", "--dest", cache];
  await exec(python, [...pip, `celery==${CELERY}`]);
  const [source = ""] = globSync(join(cache, "celery-*.tar.gz"));
  await exec("tar", ["-xzf", source, "-C", cache]);
  return folder;
}

/** A Redis in memory, to which tests and tasks write what they have seen. */
async function startRedis(python: string) {
  const script = `
import os, sys, threading
from fakeredis import TcpFakeServer
server = TcpFakeServer(("127.0.0.1", 0), server_type="redis")
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
os._exit(0)`;
  const child = spawn(python, ["-c", script], { stdio: ["pipe", "pipe", "inherit"] });
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return { port: Number(line), stop: () => child.kill("SIGKILL") };
}

const [first, ...rest] = process.argv.slice(2);
const own = first === "celery";
const asked = own || first === undefined ? rest : [first, ...rest];

const python = await celeryPython("suite");
if (python === undefined) throw new Error("needs Python, see above");
const [folder, aws, redis] = await Promise.all([suiteFolder(python), startEmulator("ministack"), startRedis(python)]);
const scratch = mkdtempSync(join(tmpdir(), "lovage-celery-suite-"));
const host = new URL(aws.endpoint).host;
const queues = `sqs://test:test@${host}`;
const table = `dynamodb://test:test@${host}/results?keys=python`;
await Promise.all([createQueues(queues, ["celery"]), createTable(table)]);

const client = connectRedis(redis.port);
const app = createApp(
  {
    brokerUrl: queues,
    resultBackend: table,
    resultExtended: true,
    taskTrackStarted: false,
    brokerTransportOptions: { waitTimeSeconds: 1 },
  },
  client,
);
const worker = own
  ? undefined
  : await startWorker(app, {
      // As the suite's own: it fills the queue with tasks that sleep.
      concurrency: 1,
      log: (level, text) => {
        if (process.env["SUITE_LOG"]) console.error(level, text);
      },
    });

const port = new URL(aws.endpoint).port;
const file = join(scratch, "outcomes.jsonl");
writeFileSync(file, "");
const config = {
  dynamodb_endpoint_url: `http://localhost:${port}`,
  broker_transport_options: {
    region: "us-east-1",
    is_secure: false,
    wait_time_seconds: 1,
    polling_interval: 0,
    visibility_timeout: 60,
  },
  result_chord_join_timeout: 10,
};
const targets = asked.some((argument) => argument.startsWith("t/"))
  ? []
  : FILES.map((name) => `t/integration/${name}.py`);
const pytest = spawn(
  python,
  [
    "-m",
    "pytest",
    "-p",
    "celery.contrib.pytest",
    "-p",
    "redisless",
    "-q",
    "--tb=short",
    "-p",
    "no:cacheprovider",
    ...targets,
    ...asked,
  ],
  {
    cwd: folder,
    stdio: ["ignore", "inherit", "inherit"],
    env: {
      ...process.env,
      ...aws.env,
      PYTHONPATH: import.meta.dirname,
      PYTHONDONTWRITEBYTECODE: "1",
      SUITE_WORKER: own ? "celery" : "lovage",
      SUITE_OUTCOMES: file,
      SUITE_CONFIG: JSON.stringify(config),
      TEST_BROKER: `sqs://test:test@localhost:${port}`,
      TEST_BACKEND: `redisless:Backend+dynamodb://@localhost:${port}/results`,
      REDIS_HOST: "127.0.0.1",
      REDIS_PORT: String(redis.port),
    },
  },
);
await once(pytest, "exit");
const outcomes = readFileSync(file, "utf8")
  .split("\n")
  .filter(Boolean)
  .map((line) => JSON.parse(line) as Outcome);
const keep = process.env["SUITE_KEEP"];
if (keep) writeFileSync(keep, JSON.stringify(outcomes, null, 1));

await worker?.abort();
await app.close();
client.close();
redis.stop();
await aws.stop();
rmSync(scratch, { recursive: true });
process.exitCode = compare(outcomes, own) ? 0 : 1;
