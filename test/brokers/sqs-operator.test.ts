/** What an operator asks of AWS beside queues and tables, as it goes over the wire. */
import { createServer } from "node:http";
import { expect, onTestFinished, test, vi } from "vitest";
import { createOperator } from "../../src/brokers/sqs-operator.ts";

test("a queue's mapping is found page by page and switched, and the caller has a name", async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => {
      body += part;
    });
    request.on("end", () => {
      asked.push(`${request.method} ${request.url} ${body}`);
      const mapping = (UUID: string, queue: string) => ({ UUID, EventSourceArn: `arn:aws:sqs:eu-west-1:1:${queue}` });
      const isFirst = request.url === "/2015-03-31/event-source-mappings/";
      response.end(
        JSON.stringify(
          request.method === "POST"
            ? { GetCallerIdentityResponse: { GetCallerIdentityResult: { Arn: "arn:aws:iam::1:user/anna" } } }
            : {
                EventSourceMappings: isFirst ? [mapping("a", "shop-celery")] : [mapping("b", "shop-media")],
                ...(isFirst && { NextMarker: "more+" }),
              },
        ),
      );
    });
  });
  await new Promise<void>((go) => server.listen(0, "127.0.0.1", go));
  onTestFinished(() => void server.close());
  const address = server.address();
  vi.stubEnv("AWS_ENDPOINT_URL", `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`);
  onTestFinished(() => void vi.unstubAllEnvs());
  const operator = createOperator("sqs://KEY:SECRET@eu-west-1", {});
  expect(await operator.caller()).toBe("arn:aws:iam::1:user/anna");
  await operator.setEnabled("shop-media", false);
  expect(asked).toEqual([
    "POST / Action=GetCallerIdentity&Version=2011-06-15",
    "GET /2015-03-31/event-source-mappings/ ",
    "GET /2015-03-31/event-source-mappings/?Marker=more%2B ",
    'PUT /2015-03-31/event-source-mappings/b {"UUID":"b","Enabled":false}',
  ]);
});
