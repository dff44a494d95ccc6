import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { expect, test } from "vitest";
import { defaultProvider } from "../../src/aws/lambda-credentials.ts";

const path = (file: string) => fileURLToPath(new URL(`../../${file}`, import.meta.url));

test("a Lambda bundle of broker and backend stays below 300 KB, without the SDK's chain of credential providers", async () => {
  const { outputFiles, metafile } = await build({
    stdin: {
      contents: `
        export { open as broker } from "./src/brokers/sqs.ts";
        export { open as backend } from "./src/results/dynamodb.ts";`,
      resolveDir: path("."),
    },
    alias: { "@aws-sdk/credential-provider-node": path("src/aws/lambda-credentials.ts") },
    bundle: true,
    minify: true,
    keepNames: true,
    platform: "node",
    target: "node24",
    format: "esm",
    mainFields: ["module", "main"],
    write: false,
    metafile: true,
  });
  expect(outputFiles[0]?.contents.length).toBeLessThan(300_000);
  expect(Object.keys(metafile.inputs).filter((file) => /credential-provider-|nested-clients/.test(file))).toEqual([]);
});

test("what stands in for the chain says where it looked", async () => {
  await expect(defaultProvider()()).rejects.toMatchObject({
    name: "CredentialsProviderError",
    message: expect.stringContaining("environment"),
  });
});
