/**
 * The AWS of the tests and of a laptop: emulators without containers, each a process on 127.0.0.1 whose state is in
 * memory. `npm run localstack` and `npm run ministack` serve one in the foreground.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const ROOT = join(import.meta.dirname, "..");

/** How each is asked whether it is up. DynamoDB Local answers 400 to what is no request of its own, which will do. */
const HEALTH = {
  /** All that a deployment needs, with DynamoDB Local inside. */
  localstack: "/_localstack/health",
  /** The same services, quicker, with its own conditions and its own gaps. */
  ministack: "/_ministack/health",
  /** SQS, DynamoDB, EventBridge and Scheduler by another hand; no functions. */
  moto: "/moto-api/",
  /** DynamoDB Local alone. */
  dynamodb: "/",
} as const;

export type EmulatorKind = keyof typeof HEALTH;
export const EMULATORS = Object.keys(HEALTH) as readonly EmulatorKind[];

export interface Emulator {
  readonly kind: EmulatorKind;
  /** `http://127.0.0.1:<port>`. */
  readonly endpoint: string;
  /** The variables that point SDKs and the CDK at it. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends the process and all that it started. */
  stop(): Promise<void>;
}

/** The machine lacks what the emulator needs, such as Python 3.13. The message says what. */
export class RequirementMissing extends Error {
  override readonly name = "RequirementMissing";
}

/** The exit status by which the scripts say so (EX_UNAVAILABLE). */
const UNAVAILABLE = 69;
/** From the start of the process to its first answer. LocalStack needs 1 to 5 s. */
const START_TIMEOUT_MS = 60_000;

/** Starts an emulator, installing it first where it never ran. Default port: any that is free. Throws {@link RequirementMissing}. */
export async function startEmulator(kind: EmulatorKind, options: { readonly port?: number } = {}): Promise<Emulator> {
  const script = join(ROOT, "scripts", "emulators", `${kind}.sh`);
  const cache = process.env["LOVAGE_EMULATOR_CACHE"] ?? join(ROOT, ".cache", "emulators");
  // Whoever serves the port already would answer in its place.
  const port = await freePort(options.port);
  const endpoint = `http://127.0.0.1:${port}`;
  const logFile = join(cache, "instances", `${kind}-${port}.log`);
  mkdirSync(join(cache, "instances"), { recursive: true });

  await run(script, cache);

  const scratch = mkdtempSync(join(tmpdir(), "lovage-emulator-"));
  const log = openSync(logFile, "w");
  const child = spawn(script, ["run"], {
    // A group of its own, so that one signal ends it with its children; the pipe ends them when this process is killed.
    detached: true,
    stdio: ["pipe", log, log],
    env: environment(cache, {
      LOVAGE_EMULATOR_PORT: String(port),
      LOVAGE_EMULATOR_LEASH: "1",
      LOVAGE_EMULATOR_SCRATCH: scratch,
    }),
  });
  closeSync(log);
  const exited = once(child, "exit");
  const stop = async () => {
    end(child);
    await exited;
    rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
  };

  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await answers(endpoint + HEALTH[kind]))) {
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
      await stop();
      throw new Error(`${kind} did not come up; ${logFile} ends with\n${readFileSync(logFile, "utf8").slice(-2000)}`);
    }
    await sleep(50);
  }
  return {
    kind,
    endpoint,
    env: emulatorEnv(endpoint),
    stop,
  };
}

/** The variables that point SDKs and the CDK at an emulator. */
export const emulatorEnv = (endpoint: string): Readonly<Record<string, string>> => ({
  AWS_ENDPOINT_URL: endpoint,
  AWS_ENDPOINT_URL_S3: endpoint,
  AWS_ACCESS_KEY_ID: "test",
  AWS_SECRET_ACCESS_KEY: "test",
  AWS_REGION: "us-east-1",
  AWS_DEFAULT_REGION: "us-east-1",
  AWS_EC2_METADATA_DISABLED: "true",
  CDK_DISABLE_VERSION_CHECK: "1",
  CDK_DISABLE_CLI_TELEMETRY: "true",
});

async function run(script: string, cache: string): Promise<void> {
  const child = spawn(script, ["install"], { stdio: ["ignore", "inherit", "pipe"], env: environment(cache, {}) });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
    process.stderr.write(text);
  });
  const [code] = await once(child, "close");
  if (code === UNAVAILABLE) throw new RequirementMissing(said.trim());
  if (code !== 0) throw new Error(`${script} install failed: ${said.trim().slice(-2000)}`);
}

/** Functions of the emulators run under the Node.js that runs this. */
function environment(cache: string, more: Record<string, string>): NodeJS.ProcessEnv {
  return { ...process.env, LOVAGE_EMULATOR_CACHE: cache, NODE: process.execPath, ...more };
}

/** Nothing is worth a shutdown: state is in memory, and both emulators can take seconds over a polite request. */
function end(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
    await response.arrayBuffer();
    return response.status < 500;
  } catch {
    return false;
  }
}

/** Below those that systems give to whoever connects, or listens on any port: none of them takes it before its server does. */
const PORTS = { from: 20_000, to: 32_000 } as const;

/** The port that was wanted, which throws where it is taken, or one that is free: there are servers that take 0 for their default. */
export async function freePort(wanted = 0): Promise<number> {
  if (wanted !== 0) {
    await occupy(wanted);
    return wanted;
  }
  for (;;) {
    const port = randomInt(PORTS.from, PORTS.to);
    try {
      await occupy(port);
      return port;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    }
  }
}

async function occupy(port: number): Promise<void> {
  const server = createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  server.close();
  await once(server, "close");
}
