/**
 * A batch of messages by the parts of which the SDK's clients are made, and nothing around them: endpoint rules, signer, HTTP
 * and retries are theirs, and what stands between is ours, as it would be in a function's bundle.
 */
// @ts-expect-error: the SDK has no types for it, as it exports it to its own client alone
import { defaultEndpointResolver } from "@aws-sdk/client-sqs/dist-es/endpoint/endpointResolver.js";
import { HttpRequest, type HttpResponse } from "@smithy/core/protocols";
import { isServerError, isThrottlingError, isTransientError, StandardRetryStrategy } from "@smithy/core/retry";
import { Hash } from "@smithy/core/serde";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { SignatureV4 } from "@smithy/signature-v4";
import { defaultProvider } from "../../src/aws/credentials.ts";
import { type Batch, TIMEOUTS } from "./sqs-batch.ts";

const region = process.env["AWS_REGION"] ?? "";
const http = new NodeHttpHandler(TIMEOUTS);
const retries = new StandardRetryStrategy(3);
const signer = new SignatureV4({
  service: "sqs",
  region,
  credentials: defaultProvider(),
  sha256: Hash.bind(null, "sha256"),
});

async function attempt(body: string): Promise<object> {
  const { url } = defaultEndpointResolver({
    Region: region,
    UseFIPS: false,
    UseDualStack: false,
    Endpoint: process.env["AWS_ENDPOINT_URL"],
  }) as { readonly url: URL };
  const request = new HttpRequest({
    method: "POST",
    protocol: url.protocol,
    hostname: url.hostname,
    ...(url.port === "" ? {} : { port: Number(url.port) }),
    path: url.pathname,
    headers: {
      host: url.host,
      "content-type": "application/x-amz-json-1.0",
      "content-length": String(Buffer.byteLength(body)),
      "x-amz-target": "AmazonSQS.SendMessageBatch",
    },
    body,
  });
  const signed = (await signer.sign(request)) as HttpRequest;
  const { response } = (await http.handle(signed)) as { readonly response: HttpResponse };
  const parts: Buffer[] = [];
  for await (const part of response.body) parts.push(part);
  const answer = JSON.parse(Buffer.concat(parts).toString("utf8"));
  if (response.statusCode < 300) return answer;
  throw Object.assign(new Error(answer.message), {
    name: String(answer.__type).replace(/.*#/, ""),
    $metadata: { httpStatusCode: response.statusCode },
  });
}

export async function send(batch: Batch): Promise<object> {
  const body = JSON.stringify(batch);
  let token = await retries.acquireInitialRetryToken("sqs");
  for (;;) {
    try {
      const answer = await attempt(body);
      retries.recordSuccess(token);
      return answer;
    } catch (error) {
      const failed = error as Parameters<typeof isThrottlingError>[0];
      const errorType = isThrottlingError(failed)
        ? "THROTTLING"
        : isTransientError(failed)
          ? "TRANSIENT"
          : isServerError(failed)
            ? "SERVER_ERROR"
            : "CLIENT_ERROR";
      token = await retries.refreshRetryTokenForRetry(token, { errorType }).catch(() => {
        throw error;
      });
    }
  }
}
