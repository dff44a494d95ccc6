/**
 * Lambda's side of the runtime API, for one function at a time. `aws-lambda-ric`, the runtime client of Lambda itself, asks it for work, with
 * an HTTP client of ours in place of its native module (`scripts/emulators/localstack/rapid-client.cjs`).
 */
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { PeerMissing } from "./cache.ts";
import { start, usage } from "./processes.ts";

const PREFIX = "/2018-06-01/runtime";
const CLIENT = join(import.meta.dirname, "../.cache/emulators/localstack/node/node_modules/aws-lambda-ric/index.mjs");

export interface ColdStart {
  /** From the start of the process until it asks for its first invocation, in milliseconds. */
  readonly init: number;
  /** From the first invocation's event to its answer. */
  readonly first: number;
  /** CPU of the process until then, in milliseconds; `undefined` where the system does not tell. */
  readonly cpu: number | undefined;
  readonly answer: unknown;
}

/** Starts a function as Lambda does, and gives it one event. Throws {@link PeerMissing}, or what the function failed with. */
export async function coldStart(
  file: string,
  event: object,
  env: Readonly<Record<string, string>>,
): Promise<ColdStart> {
  if (!existsSync(CLIENT)) {
    throw new PeerMissing("there is no runtime client of Lambda's; npm run localstack installs one");
  }
  const asked = Promise.withResolvers<ServerResponse>();
  const answered = Promise.withResolvers<unknown>();
  const server = createServer(async (request, response) => {
    const path = (request.url ?? "").replace(PREFIX, "");
    if (path === "/invocation/next") return asked.resolve(response);
    const body = await text(request);
    response.writeHead(202).end("{}");
    if (path.endsWith("/response")) return answered.resolve(JSON.parse(body));
    fail(new Error(`${file}: ${body}`));
  }).listen(0, "127.0.0.1");
  const fail = (error: unknown) => {
    asked.reject(error);
    answered.reject(error);
  };
  // Either may fail while the other is waited for, or nobody waits any more.
  for (const { promise } of [asked, answered] as { promise: Promise<unknown> }[]) promise.catch(() => undefined);
  await once(server, "listening");

  const folder = dirname(file);
  const began = performance.now();
  const handler = `${basename(file, ".mjs")}.handler`;
  const child = start(process.execPath, [CLIENT, handler], {
    cwd: folder,
    env: {
      ...env,
      AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${(server.address() as AddressInfo).port}`,
      LAMBDA_TASK_ROOT: folder,
      _HANDLER: handler,
      AWS_LAMBDA_FUNCTION_NAME: "bench",
      AWS_LAMBDA_FUNCTION_VERSION: "$LATEST",
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: "1769",
      AWS_LAMBDA_LOG_FORMAT: "JSON",
      AWS_LAMBDA_LOG_GROUP_NAME: "bench",
      AWS_LAMBDA_LOG_STREAM_NAME: "bench",
    },
  });
  // It says nothing by itself: what comes is its end.
  child.next("end").catch(fail);
  try {
    const response = await asked.promise;
    const ready = performance.now();
    response.writeHead(200, {
      "content-type": "application/json",
      "lambda-runtime-aws-request-id": "00000000-0000-4000-8000-000000000000",
      "lambda-runtime-deadline-ms": String(Date.now() + 60_000),
      "lambda-runtime-invoked-function-arn": "arn:aws:lambda:us-east-1:000000000000:function:bench",
      "lambda-runtime-trace-id": "Root=1-00000000-000000000000000000000000;Sampled=0",
    });
    response.end(JSON.stringify(event));
    const answer = await answered.promise;
    const first = performance.now() - ready;
    const used = usage([child.pid])?.seconds;
    return { init: ready - began, first, cpu: used && used * 1000, answer };
  } finally {
    await child.stop();
    server.close();
    server.closeAllConnections();
  }
}
