/** The repository's own commands, run as a person would, against an emulator. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { pathWithoutNpx } from "../without-npx.ts";

export const ROOT = resolve(import.meta.dirname, "../..");

/** An environment like that of a terminal: npm's own variables, and those of whoever runs the tests, are not in it. */
export const terminal = (more: Readonly<Record<string, string>> = {}): Record<string, string> => {
  const kept = Object.entries(process.env).filter(([name]) => !/^(npm_|VITEST|AWS_|LOVAGE_(BROKER|RESULT))/.test(name));
  const PATH = [join(process.execPath, ".."), process.env["PATH"]].join(delimiter);
  return { ...Object.fromEntries(kept as [string, string][]), PATH, NO_COLOR: "1", ...more };
};

export interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** Runs a program to its end; output and errors are one text. */
export async function run(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env: Record<string, string> },
): Promise<Ended> {
  const child = spawn(command, args, { cwd: options.cwd ?? ROOT, env: options.env, stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr, [code]] = (await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "exit"),
  ])) as [string, string, [number | null]];
  return { code, output: stdout + stderr };
}

/** `npm run <script> -- <args>` on the emulator at `endpoint`. */
export const npmRun = (endpoint: string, script: string, ...args: readonly string[]): Promise<Ended> =>
  run("npm", ["run", "--silent", script, "--", ...args], { env: onEmulator(endpoint) });

function onEmulator(endpoint: string): Record<string, string> {
  const env = terminal({ AWS_ENDPOINT_URL: endpoint, ...iam() });
  return { ...env, PATH: pathWithoutNpx(env["PATH"]) };
}

const iam = (): Record<string, string> => {
  const { LOVAGE_EMULATOR_IAM } = process.env;
  return LOVAGE_EMULATOR_IAM === undefined ? {} : { LOVAGE_EMULATOR_IAM };
};

/** Throws with the output of a command that failed. */
export async function succeeds(ended: Promise<Ended>): Promise<string> {
  const { code, output } = await ended;
  if (code !== 0) throw new Error(`ended with ${code}:\n${output.slice(-4000)}`);
  return output;
}

/** Where `deploy:local` leaves what it has made: the assembly, and the stack's outputs. */
export const deploymentOn = (endpoint: string): string =>
  join(ROOT, ".cache/local", new URL(endpoint).host.replace(":", "-"));

/** What `deploy:local` was told by the stack. */
export function outputs(endpoint: string): Readonly<Record<string, string>> {
  const file = join(deploymentOn(endpoint), "outputs.json");
  const stacks = JSON.parse(readFileSync(file, "utf8")) as Record<string, Record<string, string>>;
  return Object.assign({}, ...Object.values(stacks)) as Record<string, string>;
}

/** The option of `deploy:local` by which it deploys one of the apps in test/live/stack. */
export const stackOf = (file: string): readonly string[] => [
  "-a",
  `node --import ./scripts/source.ts test/live/stack/${file}`,
];
