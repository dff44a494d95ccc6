import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { defaultProvider } from "../../src/aws/credentials.ts";
import * as sqs from "../../src/brokers/sqs.ts";

afterEach(() => void vi.unstubAllEnvs());

test("credentials are those of the environment", async () => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "AKID");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "secret");
  vi.stubEnv("AWS_SESSION_TOKEN", "token");
  expect(await defaultProvider()()).toEqual({ accessKeyId: "AKID", secretAccessKey: "secret", sessionToken: "token" });
});

test("without them the error is the one that the SDK's own chain throws", async () => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "");
  await expect(defaultProvider()()).rejects.toMatchObject({ name: "CredentialsProviderError" });
});

describe("where the SDK looks for them, a user is told why it found none", () => {
  async function sendWith(env: Readonly<Record<string, string>>, config = ""): Promise<unknown> {
    const folder = mkdtempSync(join(tmpdir(), "lovage-credentials-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, "config"), config);
    for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) vi.stubEnv(name, undefined);
    const nowhere = { AWS_SHARED_CREDENTIALS_FILE: "/dev/null", AWS_EC2_METADATA_DISABLED: "true" };
    for (const [name, value] of Object.entries({ ...nowhere, AWS_CONFIG_FILE: join(folder, "config"), ...env }))
      vi.stubEnv(name, value);
    const broker = sqs.open("sqs://eu-west-1", { now: () => 0, random: () => 0, options: {} });
    onTestFinished(() => broker.close());
    return (await broker.send([{ queue: "media", body: "x" }]))[0];
  }

  const role = "arn:aws:iam::123456789012:role/worker";

  test("a session of single sign-on that has ended", async () => {
    const of = "sso_start_url = https://x.awsapps.com/start\nsso_region = eu-west-1";
    const config = `[profile work]\n${of}\nsso_account_id = 123456789012\nsso_role_name = Work\n`;
    vi.stubEnv("HOME", "/nowhere");
    const error = await sendWith({ AWS_PROFILE: "work" }, config);
    expect(error).toMatchObject({ name: "OperationalError", retryable: true });
    expect(String(error)).toMatch(/no AWS credentials were found \(.*sso login/);
  });

  test("a token whose file is not there", async () => {
    const error = await sendWith({ AWS_WEB_IDENTITY_TOKEN_FILE: "/nowhere/token", AWS_ROLE_ARN: role });
    expect(error).toMatchObject({ name: "OperationalError", retryable: true });
    expect(String(error)).toMatch(/no AWS credentials were found \(.*\/nowhere\/token/);
  });

  test("a role that the token does not give", async () => {
    const code = "<Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message>";
    const answer = `<ErrorResponse><Error><Type>Sender</Type>${code}</Error></ErrorResponse>`;
    const sts = createServer((_, response) => {
      response.writeHead(403, { "content-type": "text/xml" }).end(answer);
    }).listen(0, "127.0.0.1");
    await once(sts, "listening");
    onTestFinished(() => void sts.close());
    const error = await sendWith({
      AWS_WEB_IDENTITY_TOKEN_FILE: "/dev/null",
      AWS_ROLE_ARN: role,
      AWS_ENDPOINT_URL_STS: `http://127.0.0.1:${(sts.address() as AddressInfo).port}`,
    });
    expect(error).toMatchObject({ name: "OperationalError", retryable: true });
    expect(String(error)).toMatch(/no AWS credentials were found \(.*sts:AssumeRoleWithWebIdentity/);
  });
});
