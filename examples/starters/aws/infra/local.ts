/**
 * The stack on an AWS that runs here, without an account: `npm run emulator` in one terminal, `npm run deploy:local` in another.
 * The emulator is ministack, installed into .lovage/emulator the first time; it needs Python 3.10 to 3.13.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";

const MINISTACK = "ministack==1.5.33";
const PORT = 4566;
const root = join(import.meta.dirname, "..");
const home = join(root, ".lovage/emulator");
const endpoint = process.env["AWS_ENDPOINT_URL"] ?? `http://127.0.0.1:${PORT}`;
const aws = {
  AWS_ENDPOINT_URL: endpoint,
  AWS_ACCESS_KEY_ID: "test",
  AWS_SECRET_ACCESS_KEY: "test",
  AWS_REGION: "us-east-1",
  CDK_DEFAULT_ACCOUNT: "000000000000",
  CDK_DEFAULT_REGION: "us-east-1",
};

async function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<void> {
  const child = spawn(command, args, { cwd: root, stdio: "inherit", env: { ...process.env, ...env } });
  process.once("SIGTERM", () => child.kill());
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`${command} ${args[0]} ended with ${code}`);
}

async function emulator(): Promise<void> {
  const python = join(home, "venv/bin/python");
  if (!existsSync(python)) {
    mkdirSync(home, { recursive: true });
    await run("python3", ["-m", "venv", join(home, "venv")]);
    await run(python, ["-m", "pip", "install", "--quiet", MINISTACK]);
  }
  for (const [name, value] of Object.entries(aws)) if (name.startsWith("AWS")) console.log(`export ${name}=${value}`);
  const settings = { BIND_HOST: "127.0.0.1", MINISTACK_HOST: "127.0.0.1", GATEWAY_PORT: String(PORT) };
  // Functions run in processes of this machine's Node.
  await run(python, ["-m", "ministack.app"], { ...settings, LAMBDA_EXECUTOR: "local", ...aws });
}

async function deploy(): Promise<void> {
  const cdk = join(root, "node_modules/.bin/cdk");
  await run(cdk, ["bootstrap", "aws://000000000000/us-east-1", "--no-notices"], aws);
  const local = ["-c", "local=true", "--output", join(home, "cdk.out"), "--require-approval", "never", "--no-notices"];
  await run(cdk, ["deploy", "--all", ...local], aws);
  console.log(`
With what the emulator exports, and these, every command talks to what was deployed:
export LOVAGE_BROKER_URL="sqs://us-east-1?queue_name_prefix=Shop-" LOVAGE_RESULT_BACKEND=dynamodb://us-east-1/Shop-celery
npx lovage call -A ./tasks.ts reports.build --args '["Ada", 2]' --wait 60`);
}

await (process.argv[2] === "deploy" ? deploy() : emulator());
