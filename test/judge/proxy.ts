/** Stands before an emulator and holds each request against AWS's models on its way. It changes nothing. */
import { once } from "node:events";
import { Agent, createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { judge, type Judgement, type SentRequest } from "./judge.ts";

/** Celery's workers beside ours say what they like: kombu's older versions send a member that there is not. */
const PYTHON = /^boto(3|core)\b|\bpycurl\b/i;
const NOT_OURS: Judgement = { operation: undefined, faults: [] };

export interface JudgingProxy {
  readonly endpoint: string;
  /** What AWS would have refused, each once, with the operation. */
  faults(): readonly string[];
  close(): Promise<void>;
}

export interface ProxyOptions {
  /** Sees each request, before it goes on. */
  readonly observe?: (request: SentRequest) => void;
  /** Answers in the emulator's place what that does not know, in JSON. */
  readonly answer?: (request: SentRequest) => object | undefined;
}

export async function startJudgingProxy(target: string, { observe, answer }: ProxyOptions = {}): Promise<JudgingProxy> {
  const faults = new Set<string>();
  // A connection for each request would use up the machine's ports; one that rests is closed before the emulator closes it.
  const agent = new Agent({ keepAlive: true, timeout: 1000 });

  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { method = "GET", url = "/", headers } = incoming;
    const body = await buffer(incoming);
    const { operation, faults: found } = PYTHON.test(headers["user-agent"] ?? "")
      ? NOT_OURS
      : judge({ method, url, headers, body });
    for (const fault of found) faults.add(`${operation}: ${fault}`);
    observe?.({ method, url, headers, body });
    const answered = answer?.({ method, url, headers, body });
    if (answered !== undefined) {
      outgoing.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answered));
      return;
    }
    const forwarded = httpRequest(new URL(url, target), { method, headers, agent });
    outgoing.on("close", () => forwarded.destroy());
    forwarded.end(body);
    const [response] = (await once(forwarded, "response")) as [IncomingMessage];
    outgoing.writeHead(response.statusCode ?? 500, response.headers);
    response.pipe(outgoing);
  }

  const server = createServer((incoming, outgoing) => {
    // What the emulator did not answer is for the client to see as it would without a proxy: a broken connection.
    serve(incoming, outgoing).catch(() => incoming.socket.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    faults: () => [...faults],
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
      agent.destroy();
    },
  };
}
