/** The network between a queue's users and AWS: every request takes its time, and is counted by its action. */
import { once } from "node:events";
import { Agent, createServer, type IncomingMessage, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

export interface Traffic {
  readonly requests: number;
  /** Of bodies, in both directions. */
  readonly bytes: number;
  readonly byAction: Readonly<Record<string, number>>;
}

export interface CountingProxy {
  readonly port: number;
  /** What has passed since the last look. */
  take(): Traffic;
  close(): Promise<void>;
}

/** @param delay For each request, in milliseconds, on top of what `target` takes. */
export async function startProxy(target: string, delay: number): Promise<CountingProxy> {
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  const { host } = new URL(target);
  let counts: Record<string, number> = {};
  let requests = 0;
  let bytes = 0;
  const server = createServer(async (incoming, outgoing) => {
    try {
      const asked = await buffer(incoming);
      await sleep(delay);
      const headers = { ...incoming.headers, host, "content-length": String(asked.length) };
      const forwarded = httpRequest(target, { method: incoming.method, path: incoming.url, headers, agent });
      forwarded.end(asked);
      const [response] = (await once(forwarded, "response")) as [IncomingMessage];
      const answer = await buffer(response);
      // SQS's older protocol, by forms, names its action in the body.
      const action =
        incoming.headers["x-amz-target"]?.toString().split(".").at(-1) ??
        new URLSearchParams(asked.toString()).get("Action") ??
        "unknown";
      counts[action] = (counts[action] ?? 0) + 1;
      requests++;
      bytes += asked.length + answer.length;
      const { connection: _, "transfer-encoding": __, ...rest } = response.headers;
      outgoing.writeHead(response.statusCode ?? 500, { ...rest, "content-length": answer.length }).end(answer);
    } catch (error) {
      outgoing.writeHead(502).end(String(error));
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    take() {
      const taken = { requests, bytes, byAction: counts };
      counts = {};
      requests = 0;
      bytes = 0;
      return taken;
    },
    async close() {
      agent.destroy();
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
