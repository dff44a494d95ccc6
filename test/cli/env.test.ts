import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ENVIRONMENT, outputOf } from "../../src/config/values.ts";
import { place } from "./run.ts";

const broker = "sqs://eu-west-1?queue_name_prefix=it's&scheduler_group=x";
const Shop = { LovageBrokerUrl: broker, LovageResultBackend: "dynamodb://eu-west-1/Shop-celery", Other: "1" };

/** Runs `lovage env` on a file with this in it. */
async function env(outputs: unknown, ...options: readonly string[]) {
  const { folder, start } = place();
  const file = join(folder, "outputs.json");
  writeFileSync(file, typeof outputs === "string" ? outputs : JSON.stringify(outputs));
  return start(["env", file, ...options]).exited;
}

test("the outputs of a deployment become a shell's environment, whatever stands in them", async () => {
  const { code, stdout, stderr } = await env({ Shop });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const told = execFileSync("sh", ["-c", `${stdout}\nprintf '%s\\n' "$LOVAGE_BROKER_URL" "$LOVAGE_RESULT_BACKEND"`]);
  expect(String(told)).toBe(`${broker}\n${Shop.LovageResultBackend}\n`);
});

test("so does what CloudFormation says, as JSON too", async () => {
  const Outputs = Object.entries(Shop).map(([OutputKey, OutputValue]) => ({ OutputKey, OutputValue }));
  const { stdout } = await env({ Stacks: [{ StackName: "Shop", Outputs }] }, "--json");
  expect(JSON.parse(stdout)).toEqual({ LOVAGE_BROKER_URL: broker, LOVAGE_RESULT_BACKEND: Shop.LovageResultBackend });
});

test("all that a deployment sets is set", async () => {
  const names = Object.keys(ENVIRONMENT) as (keyof typeof ENVIRONMENT)[];
  const { stdout } = await env({ Shop: Object.fromEntries(names.map((name) => [outputOf(name), name])) }, "--json");
  expect(JSON.parse(stdout)).toEqual(Object.fromEntries(names.map((name) => [name, name])));
  expect(names.map(outputOf)).toContain("LovagePayloadStore");
});

test("of two stacks one is meant", async () => {
  const both = { Shop, Live: { LovageBrokerUrl: "sqs://us-east-1", LovageBeatFunction: "arn" } };
  const { stdout } = await env(both, "--stack", "Live");
  expect(stdout).toBe("export LOVAGE_BROKER_URL='sqs://us-east-1'\nexport LOVAGE_BEAT_FUNCTION='arn'\n");
  expect(await env(both)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining(
      "--stack: must be given to say which is meant, because the file has Shop.LovageBrokerUrl, Live.",
    ),
  });
  expect(await env(both, "--stack", "Shp")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("did you mean"),
  });
});

test.each([
  ["not JSON", "{", /must be what `cdk deploy --outputs-file <file>` writes/],
  ["not an object", "null", /must be what/],
  ["no outputs of ours", { Shop: { Other: "1" } }, /none is called LovageBrokerUrl/],
])("a file with %s is refused", async (_, outputs, message) => {
  expect(await env(outputs)).toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(message) });
});

test("a file that is not there is named", async () => {
  const { code, stderr } = await place().start(["env", "none.json"]).exited;
  expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(/cannot be read: .*none\.json/) });
});
