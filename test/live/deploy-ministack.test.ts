/** The commands of the local path on ministack, which evaluates the policies of the functions' roles. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { describe, expect, test } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import { npmRun, ROOT, stackOf, succeeds, terminal } from "./commands.ts";
import { emulator } from "./emulators.ts";

process.env["LOVAGE_EMULATOR_IAM"] = "true";
const ministack = await emulator("ministack");

describe.skipIf(ministack === undefined)("on ministack with IAM", () => {
  const { endpoint } = (ministack ?? {}) as Emulator;

  test("the command serves until it is asked to end, and prints what to export", { timeout: 60_000 }, async () => {
    const other = spawn(process.execPath, ["scripts/localstack.ts", "ministack", "0"], {
      cwd: ROOT,
      env: terminal(),
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exported = new Map<string, string>();
    for await (const line of createInterface({ input: other.stdout })) {
      const [, name = "", value = ""] = /^export (\w+)=(.*)$/.exec(line) ?? [];
      exported.set(name, value);
      if (name === "CDK_DISABLE_CLI_TELEMETRY") break;
    }
    const url = exported.get("AWS_ENDPOINT_URL") ?? "";
    expect((await fetch(`${url}/_ministack/health`)).status).toBe(200);
    other.kill("SIGTERM");
    expect(await once(other, "exit")).toEqual([0, null]);
    await expect(fetch(url)).rejects.toThrow();
  });

  test("where AWS_ENDPOINT_URL names an emulator, the command uses that one", async () => {
    expect(await succeeds(npmRun(endpoint, "localstack"))).toContain(`${endpoint}, which answers`);
    const { code, output } = await npmRun("http://127.0.0.1:9", "deploy:local");
    expect(output).toContain(
      "nothing answers at http://127.0.0.1:9; start it in another terminal with `npm run localstack`",
    );
    expect(code).toBe(1);
  });

  test("deploy:local deploys the repository's stack, and smoke passes", { timeout: 200_000 }, async () => {
    await succeeds(npmRun(endpoint, "deploy:local"));
    const table = await succeeds(npmRun(endpoint, "smoke"));
    for (const check of ["call", "batch", "route", "failure", "retry", "delay", "revoke", "deadLetter", "beat"]) {
      expect(table).toMatch(new RegExp(`^${check} .* pass$`, "m"));
    }
  });

  test("smoke fails where a right that it needs is taken from the worker", { timeout: 60_000 }, async () => {
    await succeeds(npmRun(endpoint, "deploy:local", ...stackOf("ungranted.ts"), "-c", "without=sqs:SendMessage"));
    const { code, output } = await npmRun(endpoint, "smoke", "call", "retry");
    expect(output).toMatch(/^call .* pass$/m);
    expect(output).toMatch(/^retry .* FAIL$/m);
    // A right that is missing may come: the message is handed back, and the log says which it is.
    expect(output).toMatch(/^retry: TimeoutError: .*its state is RETRY/m);
    expect(code).toBe(1);
  });

  test("destroy:local leaves nothing, and says what the stack retains", { timeout: 60_000 }, async () => {
    const said = await succeeds(npmRun(endpoint, "destroy:local"));
    for (const kept of ["Lovage-celery-dlq", "Lovage-media-dlq", "Lovage-celery,", "Lovage-journal,"])
      expect(said).toContain(kept);
    expect(said).toContain("No queue, table, rule or function of the stack is left.");
    expect((await npmRun(endpoint, "smoke")).output).toContain("there is no deployment");
  });
});
