/**
 * `npm run smoke:aws`: the proof of Lovage in an account of yours. It deploys a stack with a prefix of its own, sends every
 * kind of request that Lovage makes, checks what comes of them, destroys all, also after a failure or Ctrl-C, and writes a
 * report. It says which account and region it will use, and asks, before it does anything.
 *
 *     npm run smoke:aws                                   in the account and the region of the environment
 *     npm run smoke:aws -- --yes --members 100            without asking; a group of 100 in place of 1,000
 *     npm run smoke:aws -- --emulator ministack           on an emulator that it starts and ends
 *
 * `--report <file>` is where the report goes: smoke-report.md by default. `--prefix <text->` stands before all names. Names of
 * checks run those alone. Ends with 1 when anything is not as it should be, also where something is left behind.
 */
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { DeleteObjectsCommand, ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3";
import { SQSClient } from "@aws-sdk/client-sqs";
import { createOperator } from "../src/brokers/sqs-operator.ts";
import { type Emulator, type EmulatorKind, startEmulator } from "./emulator.ts";
import { expectedResources, stillThere } from "./left-behind.ts";
import { cdk, isBootstrapped, main, ROOT } from "./local-aws.ts";
import { type Recorder, type Sent, startRecorder, type Told } from "./smoke/recorder.ts";
import { isFine, type Outcome, report } from "./smoke/report.ts";

const DEPLOY_MS = 20 * 60_000;
const HOUR_MS = 3_600_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    yes: { type: "boolean", default: false },
    members: { type: "string", default: "1000" },
    prefix: { type: "string", default: `lovage-smoke-${randomBytes(3).toString("hex")}-` },
    report: { type: "string", default: "smoke-report.md" },
    emulator: { type: "string" },
  },
});

await main(async () => {
  const members = Number(values.members);
  if (!Number.isInteger(members) || members < 1) throw new Error(`--members is no number of tasks: ${values.members}`);
  if (!/^[A-Za-z][A-Za-z0-9-]{0,30}-$/.test(values.prefix))
    throw new Error(`--prefix is a letter, letters, digits and hyphens, and a hyphen at its end: ${values.prefix}`);
  const emulator = await emulatorOf(values.emulator);
  if (emulator !== undefined) Object.assign(process.env, emulator.env);
  try {
    await smoke(members);
  } finally {
    await emulator?.stop();
  }
});

async function emulatorOf(kind: string | undefined): Promise<Emulator | undefined> {
  if (kind === undefined) return undefined;
  // Those that deploy stacks.
  const known: readonly EmulatorKind[] = ["ministack", "localstack"];
  if (!known.includes(kind as EmulatorKind))
    throw new Error(`there is no emulator ${kind}; known: ${known.join(", ")}`);
  delete process.env["AWS_PROFILE"];
  delete process.env["AWS_SESSION_TOKEN"];
  return startEmulator(kind as EmulatorKind);
}

async function smoke(members: number): Promise<void> {
  const endpoint = process.env["AWS_ENDPOINT_URL"];
  const { region, account, caller } = await whereabouts();
  const where = endpoint === undefined ? "AWS" : `an emulator (${values.emulator ?? endpoint})`;
  console.error(
    `This deploys the stack ${values.prefix.slice(0, -1)} to the account ${account}, region ${region}, on ${where}, as ${caller}.
It sends some thousands of requests, which cost some cents, takes up to ten minutes, and destroys all that it made.`,
  );
  await agreed(account);

  const stopping = new AbortController();
  const stop = () => {
    console.error(stopping.signal.aborted ? "it is being destroyed; wait for it" : "stopping: all is being destroyed");
    stopping.abort(new Error("it was told to stop"));
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, stop);

  const home = mkdtempSync(join(tmpdir(), "lovage-smoke-"));
  const options = [
    "--app",
    "node --import ./scripts/source.ts scripts/smoke/stack.ts",
    "-c",
    `prefix=${values.prefix}`,
  ];
  // Whoever denies requests without TLS denies all to an endpoint that has none, and it knows no roles of the CDK's.
  if (endpoint !== undefined)
    options.push("-c", "enforceSSL=false", "-c", "cliCredentials=true", "-c", `endpoint=${endpoint}`);
  const env = { ...process.env, AWS_REGION: region, AWS_DEFAULT_REGION: region };
  const recorder = startRecorder();
  const date = new Date();
  const tried: Tried = { outcomes: [], here: [], told: [], queues: 0, alarms: 0 };
  const left: string[] = [];
  let stopped: string | undefined;
  try {
    if (endpoint !== undefined && !(await isBootstrapped(endpoint, env)))
      await cdk(["bootstrap", `aws://${account}/${region}`], env, 120_000, { cwd: home, signal: stopping.signal });
    const to = ["--output", join(home, "cdk.out"), "--outputs-file", join(home, "outputs.json")];
    await cdk(["deploy", "--require-approval", "never", ...to, ...options], env, DEPLOY_MS, {
      signal: stopping.signal,
    });
    await attempt(outputsIn(home), recorder, members, tried, stopping.signal);
  } catch (error) {
    stopped = error instanceof Error ? error.message : String(error);
    console.error(stopped);
  } finally {
    try {
      await emptied(home);
      // What was deployed stands there, and need not be made once more.
      const made = join(home, "cdk.out");
      const from = existsSync(join(made, "manifest.json")) ? ["--app", made] : options;
      await cdk(["destroy", "--force", ...from], env, DEPLOY_MS, { signal: new AbortController().signal });
      // Queues are gone within a minute.
      const resources = expectedResources(made);
      for (let wait = 0; wait < 12; wait++) {
        left.splice(0, left.length, ...(await stillThere(resources)).map(({ type, name }) => `${type} ${name}`));
        if (left.length === 0) break;
        await sleep(endpoint === undefined ? 10_000 : 500);
      }
      rmSync(home, { recursive: true, force: true });
    } catch (error) {
      left.push(`the stack ${values.prefix.slice(0, -1)}: ${error instanceof Error ? error.message : error}`);
    }
  }
  const seen = {
    ...tried,
    sent: [...tried.here, ...tried.told.flatMap(({ sent }) => sent)],
    entries: [...tried.here, ...tried.told.flatMap(({ sent }) => sent)].filter(
      ({ operation }) => operation === "scheduler:CreateSchedule",
    ).length,
    where,
    region,
    version: (JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string }).version,
    date,
    isWhole: positionals.length === 0,
    hours: (Date.now() - date.getTime()) / HOUR_MS,
    stopped,
    left,
  };
  const text = report(seen);
  writeFileSync(values.report, text);
  console.log(text);
  console.error(`the report is in ${values.report}`);
  if (!isFine(seen)) process.exitCode = 1;
}

/** The account and region that the environment's credentials are for. */
async function whereabouts(): Promise<{ region: string; account: string; caller: string }> {
  const sqs = new SQSClient({});
  const region = await sqs.config.region();
  sqs.destroy();
  const caller = await createOperator(`sqs://${region}`, {}).caller();
  const account = caller.split(":")[4] ?? "";
  return { region, account, caller };
}

/** Throws where nobody says yes. */
async function agreed(account: string): Promise<void> {
  if (values.yes) return;
  if (!process.stdin.isTTY) throw new Error("nothing was done: --yes is needed where nobody can be asked");
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const said = await terminal.question("Type the account's number to go on: ");
  terminal.close();
  if (said.trim() !== account) throw new Error("nothing was done");
}

function outputsIn(home: string): Readonly<Record<string, string>> {
  const stacks = JSON.parse(readFileSync(join(home, "outputs.json"), "utf8")) as Record<string, Record<string, string>>;
  return Object.assign({}, ...Object.values(stacks)) as Record<string, string>;
}

interface Tried {
  outcomes: Outcome[];
  here: Sent[];
  told: Told[];
  queues: number;
  alarms: number;
}

/** All checks at the same time, then what the functions have to tell. Throws the signal's reason. */
async function attempt(
  outputs: Readonly<Record<string, string>>,
  recorder: Recorder,
  members: number,
  tried: Tried,
  signal: AbortSignal,
): Promise<void> {
  const output = (name: string) => outputs[name] ?? fail(`the stack has no output ${name}`);
  Object.assign(process.env, {
    LOVAGE_BROKER_URL: output("LovageBrokerUrl"),
    LOVAGE_RESULT_BACKEND: output("LovageResultBackend"),
    LOVAGE_PAYLOAD_STORE: output("LovagePayloadStore"),
    LOVAGE_BEAT_FUNCTION: output("LovageBeatFunction"),
  });
  tried.alarms = Number(output("Alarms"));
  recorder.take();
  // Now that the environment says where its queues and results are.
  const { checks } = await import("./smoke/checks.ts");
  const { app } = await import("./smoke/tasks.ts");
  const all = checks(members);
  tried.queues = Object.values(app.config.taskQueues).filter(({ worker }) => worker !== "none").length;
  const names = positionals.length > 0 ? positionals : Object.keys(all);
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  const one = async (name: string) => {
    const check = all[name] ?? fail(`there is no check ${name}; known: ${Object.keys(all).join(", ")}`);
    const started = performance.now();
    const error = await check.run().then(
      () => undefined,
      (thrown: unknown) => (thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown)),
    );
    const seconds = (performance.now() - started) / 1000;
    console.error(`${name.padEnd(12)}${seconds.toFixed(1).padStart(6)} s  ${error ?? "pass"}`);
    tried.outcomes.push({ name, text: check.text, seconds, error });
  };
  try {
    await Promise.race([Promise.all(names.map(one)), aborted]);
    await Promise.race([listen(app, tried), aborted]);
  } finally {
    tried.here.push(...recorder.take());
    await app.close();
  }
}

/** What the functions have told, until they have nothing more to tell. */
async function listen(app: import("lovage").Lovage, { told }: Tried): Promise<void> {
  const broker = await app.engine.broker();
  for (let quiet = 0; quiet < 3; ) {
    const deliveries = await broker.receive("requests", { max: 10, wait: 2000, visibility: 60_000 });
    quiet = deliveries.length === 0 ? quiet + 1 : 0;
    told.push(...deliveries.map(({ body }) => JSON.parse(body) as Told));
    if (deliveries.length > 0) await broker.delete(deliveries);
  }
}

/** A bucket with anything in it is not deleted. */
async function emptied(home: string): Promise<void> {
  let url: string | undefined;
  try {
    url = outputsIn(home)["LovagePayloadStore"];
  } catch {
    // Nothing was deployed, so that nothing was put.
  }
  if (url === undefined) return;
  const Bucket = new URL(url).hostname;
  const s3 = new S3Client({ forcePathStyle: true });
  for (let more = true; more; ) {
    const { Contents = [], IsTruncated = false } = await s3.send(new ListObjectsV2Command({ Bucket }));
    const Objects = Contents.map(({ Key }) => ({ Key }));
    if (Objects.length > 0) await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } }));
    more = IsTruncated;
  }
  s3.destroy();
}

function fail(message: string): never {
  throw new Error(message);
}
