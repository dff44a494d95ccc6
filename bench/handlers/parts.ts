/**
 * Requests by the parts of which the SDK's clients are made, and nothing around them: endpoint rules, signer, HTTP and retries
 * are theirs, and what stands between is ours, as it would be in a function's bundle.
 */
import { HttpRequest, type HttpResponse } from "@smithy/core/protocols";
import { isServerError, isThrottlingError, isTransientError, StandardRetryStrategy } from "@smithy/core/retry";
import { Hash } from "@smithy/core/serde";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { SignatureV4 } from "@smithy/signature-v4";
import { defaultProvider } from "../../src/aws/credentials.ts";

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

type Resolver = (parameters: object) => { readonly url: URL };

/** @param timeouts In milliseconds. */
export function partsOf(
  service: string,
  resolve: Resolver,
  timeouts: ConstructorParameters<typeof NodeHttpHandler>[0],
): (asked: Asked) => Promise<string> {
  const region = process.env["AWS_REGION"] ?? "";
  const http = new NodeHttpHandler(timeouts);
  const retries = new StandardRetryStrategy(3);
  const signer = new SignatureV4({
    service,
    region,
    credentials: defaultProvider(),
    sha256: Hash.bind(null, "sha256"),
    uriEscapePath: service !== "s3",
  });

  async function attempt({ method, path, headers, body }: Asked): Promise<string> {
    const { url } = resolve({
      Region: region,
      UseFIPS: false,
      UseDualStack: false,
      Endpoint: process.env["AWS_ENDPOINT_URL"],
    });
    const request = new HttpRequest({
      method,
      protocol: url.protocol,
      hostname: url.hostname,
      ...(url.port === "" ? {} : { port: Number(url.port) }),
      path,
      headers: { host: url.host, "content-length": String(Buffer.byteLength(body)), ...headers },
      body,
    });
    const signed = (await signer.sign(request)) as HttpRequest;
    const { response } = (await http.handle(signed)) as { readonly response: HttpResponse };
    const parts: Buffer[] = [];
    for await (const part of response.body) parts.push(part);
    const text = Buffer.concat(parts).toString("utf8");
    if (response.statusCode < 300) return text;
    const { message, __type } = JSON.parse(text);
    throw Object.assign(new Error(message), {
      name: String(__type).replace(/.*#/, ""),
      $metadata: { httpStatusCode: response.statusCode },
    });
  }

  return async (asked) => {
    let token = await retries.acquireInitialRetryToken(service);
    for (;;) {
      try {
        const answer = await attempt(asked);
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
  };
}
