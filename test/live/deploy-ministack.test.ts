/** The commands of the local path on ministack, which evaluates the policies of the functions' roles. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ReceiveMessageCommand, SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import { Lovage } from "lovage";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { type Emulator, emulatorEnv } from "../../scripts/emulator.ts";
import { deploymentOn, npmRun, outputs, ROOT, run, stackOf, succeeds, terminal } from "./commands.ts";
import { skipped } from "../skipped.ts";
import { emulator } from "./emulators.ts";

process.env["LOVAGE_EMULATOR_IAM"] = "true";
const ANYBODY = { accessKeyId: "test", secretAccessKey: "test" };
const CREDENTIALS = { AWS_REGION: "us-east-1", AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test" };
/** The emulator looks at whose key it is, and at no signature. */
const SIGNED = {
  authorization:
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0",
};

interface Mapping {
  readonly EventSourceArn: string;
  readonly State: string;
  readonly BatchSize: number;
}

const ministack = await emulator("ministack");
/** The program that the page lists with what stayed. */
const HAS_JQ = spawnSync("jq", ["--version"]).status === 0;
if (!HAS_JQ) skipped("a destroyed stack was not deployed again: jq is not installed");

describe.skipIf(ministack === undefined)("on ministack with IAM", () => {
  const { endpoint } = (ministack ?? {}) as Emulator;

  test("the command serves until it is asked to end, and prints what to export", async () => {
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

  test("a paused queue stays paused over a deployment that changes its function and its event source mapping", async () => {
    for (const [name, value] of Object.entries({ ...CREDENTIALS, AWS_ENDPOINT_URL: endpoint })) vi.stubEnv(name, value);
    const deployed = new Map(Object.entries(outputs(endpoint)));
    const app = new Lovage("ops", {
      brokerUrl: deployed.get("LovageBrokerUrl") ?? "",
      resultBackend: deployed.get("LovageResultBackend") ?? "",
    });
    onTestFinished(async () => {
      await app.close();
      vi.unstubAllEnvs();
    });
    const mapping = async () => {
      const answer = await fetch(`${endpoint}/2015-03-31/event-source-mappings/`, { headers: SIGNED });
      const { EventSourceMappings } = (await answer.json()) as { readonly EventSourceMappings: readonly Mapping[] };
      const found = EventSourceMappings.find(({ EventSourceArn }) => EventSourceArn.endsWith("-media"));
      return { state: found?.State, batch: found?.BatchSize };
    };
    const before = await mapping();
    expect(before.state).toBe("Enabled");
    await app.control.pause("media", { by: "anna" });
    expect(await mapping()).toEqual({ ...before, state: "Disabled" });
    await succeeds(npmRun(endpoint, "deploy:local", ...stackOf("ungranted.ts"), "-c", "without=sqs:SendMessage"));
    const after = await mapping();
    expect(after).toEqual({ state: "Disabled", batch: 3 });
    expect(before.batch).not.toBe(3);
    expect(await app.control.inspect().queues({ cloudWatch: false })).toContainEqual(
      expect.objectContaining({ queue: "media", paused: expect.objectContaining({ by: "anna" }) }),
    );
    await app.control.resume("media");
    expect((await mapping()).state).toBe("Enabled");
  });

  test("smoke fails where a right that it needs is taken from the worker", async () => {
    const { code, output } = await npmRun(endpoint, "smoke", "call", "retry");
    expect(output).toMatch(/^call .* pass$/m);
    expect(output).toMatch(/^retry .* FAIL$/m);
    // A right that is missing may come: the message is handed back, and the log says which it is.
    expect(output).toMatch(/^retry: TimeoutError: .*its state is RETRY/m);
    expect(code).toBe(1);
  });

  test.skipIf(!HAS_JQ)(
    "what a destroyed stack left behind is taken in as docs/how-to/deploy.md says, with what is in it",
    {
      timeout: 120_000,
    },
    async () => {
      const home = mkdtempSync(join(tmpdir(), "lovage-again-"));
      onTestFinished(() => rmSync(home, { recursive: true }));
      const assembly = join(home, "cdk.out");
      cpSync(join(deploymentOn(endpoint), "cdk.out"), assembly, { recursive: true });
      const onCdk = (...args: readonly string[]) =>
        succeeds(
          run(join(ROOT, "node_modules/.bin/cdk"), [...args, "--app", assembly, "--no-notices"], {
            cwd: home,
            env: terminal(emulatorEnv(endpoint)),
          }),
        );
      const page = readFileSync(join(ROOT, "docs/how-to/deploy.md"), "utf8");
      const program = /jq --arg at \S+ '([^']+)' cdk\.out\/Shop\.template\.json >stayed\.json/.exec(page)?.[1] ?? "";
      const at = `${endpoint}/000000000000/`;
      const letters = new SQSClient({
        endpoint,
        region: "us-east-1",
        credentials: ANYBODY,
        useQueueUrlAsEndpoint: false,
      });
      onTestFinished(() => letters.destroy());
      const QueueUrl = `${at}Lovage-media-dlq`;
      await letters.send(new SendMessageCommand({ QueueUrl, MessageBody: "kept" }));

      await onCdk("destroy", "--all", "--force");
      const template = join(assembly, "Lovage.template.json");
      const stayed = await succeeds(run("jq", ["--arg", "at", at, program, template], { env: terminal() }));
      expect(Object.values(JSON.parse(stayed) as object)).toEqual(
        expect.arrayContaining([
          { TableName: "Lovage-celery" },
          { TableName: "Lovage-journal" },
          { QueueUrl },
          { QueueUrl: `${at}Lovage-celery-dlq` },
          { QueueUrl: `${at}lovage-Lovage-beat-dead-letters` },
        ]),
      );
      writeFileSync(join(home, "stayed.json"), stayed);
      const imported = await onCdk("import", "Lovage", "--resource-mapping", "stayed.json");
      expect(imported.match(/IMPORT_COMPLETE +\| AWS::(SQS|DynamoDB)::/g)).toHaveLength(
        Object.keys(JSON.parse(stayed) as object).length,
      );
      await onCdk("deploy", "Lovage", "--require-approval", "never", "--import-existing-resources");
      const { Messages = [] } = await letters.send(new ReceiveMessageCommand({ QueueUrl, VisibilityTimeout: 0 }));
      expect(Messages.map(({ Body }) => Body)).toEqual(["kept"]);
    },
  );

  test("destroy:local leaves nothing, and says what the stack retains", async () => {
    const said = await succeeds(npmRun(endpoint, "destroy:local"));
    for (const kept of ["Lovage-celery-dlq", "Lovage-media-dlq", "Lovage-celery,", "Lovage-journal,"])
      expect(said).toContain(kept);
    expect(said).toContain("No queue, table, rule or function of the stack is left.");
    expect((await npmRun(endpoint, "smoke")).output).toContain("there is no deployment");
  });
});
