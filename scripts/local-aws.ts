/** Where the local AWS is, and the CDK against it: what the commands that deploy, try and destroy there have in common. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import { emulatorEnv } from "./emulator.ts";

export const ROOT = join(import.meta.dirname, "..");
/** LocalStack's own, by custom. */
export const DEFAULT_PORT = 4566;

export interface LocalAws {
  readonly endpoint: string;
  /** This process's environment, pointed at it. Credentials of a real account are not in it. */
  readonly env: NodeJS.ProcessEnv;
  /** What a deployment there leaves for the commands that come after it. */
  readonly home: string;
}

/** The emulator in AWS_ENDPOINT_URL, or at the default port. Throws where none answers. */
export async function localAws(): Promise<LocalAws> {
  const endpoint = (process.env["AWS_ENDPOINT_URL"] || `http://127.0.0.1:${DEFAULT_PORT}`).replace(/\/+$/, "");
  try {
    await fetch(endpoint, { signal: AbortSignal.timeout(30_000) });
  } catch (error) {
    throw new Error(
      `nothing answers at ${endpoint}; start it in another terminal with \`npm run localstack\`, or name yours in AWS_ENDPOINT_URL`,
      { cause: error },
    );
  }
  const { AWS_PROFILE, AWS_SESSION_TOKEN, ...inherited } = process.env;
  return {
    endpoint,
    env: { ...inherited, ...emulatorEnv(endpoint) },
    home: join(ROOT, ".cache", "local", new URL(endpoint).host.replace(":", "-")),
  };
}

/**
 * Runs the CDK of this checkout, with its output on this terminal. Throws where it fails, takes too long, or is ended by
 * `signal`; a Ctrl-C on the terminal does not reach it where there is one.
 */
export async function cdk(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  timeoutMs: number,
  { cwd = ROOT, signal }: { readonly cwd?: string; readonly signal?: AbortSignal } = {},
): Promise<void> {
  const bin = join(dirname(createRequire(import.meta.url).resolve("aws-cdk/package.json")), "bin", "cdk");
  const child = spawn(process.execPath, [bin, ...args, "--no-notices"], {
    cwd,
    stdio: ["ignore", "inherit", "inherit"],
    detached: signal !== undefined,
    // The app of cdk.json runs under the Node.js that runs this.
    env: { ...env, PATH: [dirname(process.execPath), env["PATH"]].join(delimiter) },
    // A resource that never comes up would otherwise be waited for without end.
    timeout: timeoutMs,
  });
  const stop = () => child.kill();
  signal?.addEventListener("abort", stop);
  const [code, killed] = await once(child, "exit");
  signal?.removeEventListener("abort", stop);
  signal?.throwIfAborted();
  if (code !== 0)
    throw new Error(`cdk ${args[0]} ${killed ? `did not end within ${timeoutMs / 1000} s` : `failed with ${code}`}`);
}

/**
 * Whether the CDK is bootstrapped there: it takes seconds to find it out by itself. Emulators look at no signature, and only at the key,
 * the region and the service that are named there.
 */
export async function isBootstrapped(endpoint: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  const scope = `${env["AWS_ACCESS_KEY_ID"]}/20260101/${env["AWS_REGION"]}/cloudformation/aws4_request`;
  const response = await fetch(endpoint, {
    method: "POST",
    headers: { authorization: `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host, Signature=0` },
    body: new URLSearchParams({ Action: "DescribeStacks", Version: "2010-05-15", StackName: "CDKToolkit" }),
  });
  return response.ok && /<StackStatus>(CREATE|UPDATE)_COMPLETE</.test(await response.text());
}

/** The emulator evaluates IAM policies: `LOVAGE_EMULATOR_IAM=true npm run ministack`. */
export const enforcesIam = (): boolean => /^(1|true)$/.test(process.env["LOVAGE_EMULATOR_IAM"] ?? "");

/** Runs a command of ours and ends with 1, and one line, where it throws. */
export async function main(run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
