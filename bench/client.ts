/** What a client of AWS costs in a function's bundle: Lovage's own, the SDK's, and one that is put together from the SDK's parts. */
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { build } from "esbuild";
import { ENV, SHARED } from "./bundles.ts";
import { CACHE } from "./cache.ts";
import { check, compare, type Contender } from "./compare.ts";
import { start } from "./processes.ts";

const HANDLERS = join(import.meta.dirname, "handlers");
const SEND = join(HANDLERS, "send.js");
const REQUESTS = Number(process.env["BENCH_REQUESTS"] ?? 3000);

/** An SQS that takes all there is and answers at once: what is left is the client's own work. */
async function startFakeSqs() {
  const server = createServer(async (request, response) => {
    const body = JSON.parse((await buffer(request)).toString()) as { readonly Entries: readonly { Id: string }[] };
    const isRight =
      request.headers["x-amz-target"] === "AmazonSQS.SendMessageBatch" &&
      /^AWS4-HMAC-SHA256 Credential=bench\/\d+\/us-east-1\/sqs\//.test(request.headers.authorization ?? "");
    const answer = { Successful: body.Entries.map(({ Id }) => ({ Id, MessageId: Id, MD5OfMessageBody: "" })) };
    response
      .writeHead(isRight ? 200 : 400, { "content-type": "application/x-amz-json-1.0" })
      .end(JSON.stringify(isRight ? answer : { __type: "InvalidAction", message: "not what was asked for" }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** What each part does, by the SDK's and by ours. The rules of endpoints are SQS's; each client has its own. */
const PARTS: Readonly<Record<string, readonly [theirs: string, ours?: string]>> = {
  "to sign": ['export { SignatureV4 } from "@smithy/signature-v4"', 'export { signed } from "./src/aws/sign.ts"'],
  endpoints: [
    'export { defaultEndpointResolver } from "@aws-sdk/client-sqs/dist-es/endpoint/endpointResolver.js"',
    'export { endpointOf } from "./src/aws/endpoint.ts"',
  ],
  "retries and their quota": ['export { StandardRetryStrategy } from "@smithy/core/retry"'],
  "which errors are tried again": [
    'export { isServerError, isThrottlingError, isTransientError } from "@smithy/core/retry"',
  ],
  HTTP: ['export { NodeHttpHandler } from "@smithy/node-http-handler"'],
  "retries, errors and HTTP": [
    'export { isServerError, isThrottlingError, isTransientError, StandardRetryStrategy } from "@smithy/core/retry"; export { NodeHttpHandler } from "@smithy/node-http-handler"',
    'export { clientOf } from "./src/aws/client.ts"',
  ],
};

/** Of a module that has this alone, in KB. */
async function sizeOf(contents: string | undefined): Promise<string> {
  if (contents === undefined) return "within the last";
  const { outputFiles } = await build({
    ...SHARED,
    banner: {},
    stdin: { contents, loader: "ts", resolveDir: join(import.meta.dirname, "..") },
    bundle: true,
    write: false,
  });
  return `${((outputFiles[0]?.contents.length ?? 0) / 1000).toFixed(1)} KB`;
}

async function contender(name: string, module: string, env: Readonly<Record<string, string>>): Promise<Contender> {
  const folder = join(CACHE, "clients");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${module}.mjs`);
  const { metafile } = await build({
    ...SHARED,
    entryPoints: [join(HANDLERS, `${module}.ts`)],
    bundle: true,
    outfile: file,
    metafile: true,
  });
  const bytes = Object.values(metafile.outputs)[0]?.bytes ?? 0;
  return {
    name,
    async round() {
      const child = start(process.execPath, [SEND, file, String(REQUESTS)], { env });
      const { importMs, importCpuMs } = await child.next("imported");
      const { cpu, wall } = await child.next("warm");
      await child.stop();
      check(Number(cpu) > 0, "no CPU was used");
      return {
        bundle: bytes / 1000,
        import: Number(importMs),
        "import, CPU": Number(importCpuMs),
        "a request, CPU": Number(cpu),
        "a request": Number(wall),
      };
    },
  };
}

export async function client(): Promise<void> {
  for (const [part, [theirs, ours]] of Object.entries(PARTS))
    console.log(`${part}: the SDK's ${await sizeOf(theirs)}, Lovage's own ${await sizeOf(ours)}`);
  const { server, endpoint } = await startFakeSqs();
  const env = { ...ENV, AWS_ENDPOINT_URL: endpoint };
  try {
    await compare({
      name: "client",
      work: `${REQUESTS} requests of ten messages of 500 B to an SQS that answers at once, one after the other`,
      metrics: {
        bundle: { unit: "KB", better: "less" },
        import: { unit: "ms", better: "less" },
        "import, CPU": { unit: "ms", better: "less" },
        "a request, CPU": { unit: "µs", better: "less" },
        "a request": { unit: "µs", better: "less" },
      },
      contenders: [
        await contender("Lovage's own", "sqs-own", env),
        await contender("the SDK's", "sqs-sdk", env),
        await contender("of the SDK's parts", "sqs-parts", env),
      ],
    });
  } finally {
    server.close();
    server.closeAllConnections();
  }
}
