import { afterEach, expect, test, vi } from "vitest";
import { defaultProvider } from "../../src/aws/credentials.ts";

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
