/** What stands in for the native part of Lambda's runtime client on LocalStack. It answers as that one does: before it returns. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { ROOT } from "./commands.ts";

const CLIENT = join(ROOT, "scripts/emulators/localstack/rapid-client.cjs");
const PREFIX = "/2018-06-01/runtime/invocation";
/** What Lambda lets a function answer, of characters that take several bytes. */
const LARGE = "漢".repeat(2 * 2 ** 20);

/** Serves invocations to a process that runs `code` with the client, until it ends. Gives what it was answered. */
async function serve(invocations: readonly string[], code: string): Promise<readonly (readonly [string, string])[]> {
  const answers: [string, string][] = [];
  const waiting = [...invocations];
  const server = createServer(async (request, response) => {
    const { url = "" } = request;
    if (url === `${PREFIX}/next`) {
      const body = waiting.shift();
      if (body !== undefined) response.writeHead(200, { "lambda-runtime-aws-request-id": "id" }).end(body);
      return;
    }
    answers.push([url.slice(PREFIX.length), await text(request)]);
    response.writeHead(202).end("{}");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const AWS_LAMBDA_RUNTIME_API = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const program = `const client = require(${JSON.stringify(CLIENT)}); (async () => { ${code} })()`;
  const child = spawn(process.execPath, ["-e", program], { env: { AWS_LAMBDA_RUNTIME_API }, stdio: "inherit" });
  expect(await once(child, "exit")).toEqual([0, null]);
  return answers;
}

test("an answer has arrived before the process that gave it ends, however large it is", async () => {
  const code = `
    const { bodyJson, headers } = await client.next();
    client.done(headers["lambda-runtime-aws-request-id"], bodyJson);
    process.exit();`;
  expect((await serve([LARGE], code)).map(([path, body]) => [path, body === LARGE])).toEqual([["/id/response", true]]);
});

test("one invocation follows the other, and an error is an answer, too", async () => {
  const code = `
    for (const answer of ["done", "error", "done"]) {
      const { bodyJson } = await client.next();
      client[answer]("id", bodyJson + answer, "{}");
    }
    process.exit();`;
  expect(await serve(["a", "b", "c"], code)).toEqual([
    ["/id/response", "adone"],
    ["/id/error", "berror"],
    ["/id/response", "cdone"],
  ]);
});

test("a function that never answers does not keep its process", async () => {
  expect(await serve(["a"], "await client.next();")).toEqual([]);
});
