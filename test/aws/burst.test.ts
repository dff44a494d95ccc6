/** Calls that come faster than AWS answers wait for each other, not for sockets: no time-out speaks of a connection. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { Lovage } from "lovage";
import { expect, onTestFinished, test } from "vitest";
import { createLine, MAX_SOCKETS } from "../../src/aws/connection.ts";

/** Three rounds of a time-out for a connection's first byte, which is two seconds. */
const ANSWER_MS = 700;
const CALLS = 1000;

test("a burst, each call in a turn of its own, is sent in few requests, and none is refused", async () => {
  let requests = 0;
  let messages = 0;
  const server = createServer(async (request, response) => {
    const action = String(request.headers["x-amz-target"]).split(".").at(-1);
    const { Entries = [] } = JSON.parse(await text(request)) as { Entries?: readonly { readonly Id: string }[] };
    requests++;
    messages += Entries.length;
    setTimeout(
      () => {
        const sent = { Successful: Entries.map(({ Id }) => ({ Id, MessageId: "m" })), Failed: [] };
        response.writeHead(200, { "content-type": "application/x-amz-json-1.0" });
        response.end(JSON.stringify(action === "GetQueueUrl" ? { QueueUrl: "https://sqs/1/celery" } : sent));
      },
      action === "GetQueueUrl" ? 0 : ANSWER_MS,
    );
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const app = new Lovage("shop", { brokerUrl: `sqs://k:s@127.0.0.1:${port}`, resultBackend: "memory://" });
  onTestFinished(async () => {
    await app.close();
    server.close();
    server.closeAllConnections();
  });
  const add = app.task("shop.add", (x: number) => x);
  const sent: Promise<unknown>[] = [];
  for (let n = 0; n < CALLS; n++) {
    sent.push(add.delay(n));
    await new Promise((turn) => setImmediate(turn));
  }
  const refused = (await Promise.allSettled(sent)).filter(({ status }) => status === "rejected");
  expect(refused).toEqual([]);
  expect(messages).toBe(CALLS);
  expect(requests).toBeLessThan(CALLS / 3);
});

test("so many requests are under way at a time, in the order in which they came, and a poll holds up nobody", async () => {
  const inLine = createLine(() => 0);
  const client = { config: {} };
  const began: number[] = [];
  const ends: (() => void)[] = [];
  const request = (n: number) => () => {
    began.push(n);
    return new Promise<void>((end) => ends.push(end));
  };
  const first = Array.from({ length: MAX_SOCKETS + 3 }, (_, n) => inLine(client, request(n)));
  expect(began).toHaveLength(MAX_SOCKETS);
  void inLine(client, async () => began.push(-1), true);
  expect(began.at(-1)).toBe(-1);
  ends.shift()?.();
  await first[0];
  ends.shift()?.();
  await first[1];
  await undefined;
  expect(began.slice(-2)).toEqual([MAX_SOCKETS, MAX_SOCKETS + 1]);
});

test("a connection that rested is not used again, one that others use is let be", async () => {
  let now = 0;
  let dropped = 0;
  const client = { config: { requestHandler: { destroy: () => void dropped++ } } };
  const inLine = createLine(() => now);
  await inLine(client, async () => {});
  now += 20_000;
  await inLine(client, async () => {});
  expect(dropped).toBe(0);
  now += 20_001;
  let end = () => {};
  const poll = inLine(client, () => new Promise<void>((done) => (end = done)), true);
  expect(dropped).toBe(1);
  now += 60_000;
  await inLine(client, async () => {});
  expect(dropped).toBe(1);
  end();
  await poll;
});
