/** `npm run smoke:aws`, whole, on ministack behind the proxy that judges: what its functions send is judged, too. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import { ROOT, run, succeeds, terminal } from "./commands.ts";
import { emulator } from "./emulators.ts";

const ministack = await emulator("ministack");

describe.skipIf(ministack === undefined)("smoke:aws on ministack", () => {
  const { env } = (ministack ?? {}) as Emulator;
  const command = (...args: readonly string[]) => ["run", "--silent", "smoke:aws", "--", ...args];
  const place = () => {
    const folder = mkdtempSync(join(tmpdir(), "smoke-test-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    return join(folder, "report.md");
  };

  test("it says which account and region it would use, and does nothing where nobody can be asked", async () => {
    const { code, output } = await run("npm", command("--prefix", "untouched-"), { env: terminal(env) });
    expect(output).toContain("the stack untouched to the account 000000000000, region us-east-1");
    expect(output).toContain("nothing was done: --yes is needed where nobody can be asked");
    expect(output).not.toMatch(/CREATE|bootstrap/i);
    expect(code).toBe(1);
  });

  test("it deploys, sends every kind of request, checks, tells, and destroys", { timeout: 480_000 }, async () => {
    const report = place();
    await succeeds(run("npm", command("--yes", "--members", "20", "--report", report), { env: terminal(env) }));
    const text = readFileSync(report, "utf8");
    expect(text).toContain("All is as it should be.");
    expect(text).toContain("Every kind of request that Lovage makes was sent");
    expect(text.match(/\| pass \|$/gm)?.length).toBeGreaterThan(18);
    // Both clients' requests from functions are counted.
    expect(text).toMatch(/^\| `dynamodb:BatchExecuteStatement` \| \d+ \| [1-9]\d* \|/m);
    expect(text).toMatch(/^About \$0\.0\d+/m);
    expect(text).toMatch(/## Left behind\n\nNothing\.\n$/);
    expect(text).not.toMatch(/\d{12}/);
  });

  test("Ctrl-C in the middle of a deployment destroys what is there, and the report says so", {
    timeout: 180_000,
  }, async () => {
    const report = place();
    const child = spawn("npm", command("--yes", "--report", report), {
      cwd: ROOT,
      env: terminal(env),
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    const ended = once(child, "exit");
    let isTold = false;
    const listen = (part: Buffer) => {
      if (isTold || !part.includes("CREATE_IN_PROGRESS")) return;
      isTold = true;
      // To all of the terminal's processes, as the terminal does.
      process.kill(-(child.pid as number), "SIGINT");
    };
    child.stdout.on("data", listen);
    child.stderr.on("data", listen);
    await ended;
    const text = readFileSync(report, "utf8");
    expect(text).toContain("It ended before its end: it was told to stop");
    expect(text).toMatch(/## Left behind\n\nNothing\.\n$/);
  });
});
