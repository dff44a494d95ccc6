/** The network and the bad days of AWS: a proxy before an emulator that counts requests and spoils those it is told to. */
import { once } from "node:events";
import { createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer, text } from "node:stream/consumers";

type Json = Record<string, unknown>;

/** What happens to one request, in this order. */
export interface Fault {
  /** Of which requests of the action it is. Default: the next one. */
  readonly only?: (asked: Json) => boolean;
  /** Runs before anything else: somebody else gets in between. */
  readonly before?: () => Promise<void>;
  /** Answered in place of AWS, which never sees the request. */
  readonly reply?: { readonly status: number; readonly body: Json };
  /** Changes what AWS is asked. */
  readonly request?: (body: Json) => Json;
  /** Changes what AWS answered, or keeps it back for a while. `asked` is the client's own request. */
  readonly response?: (body: Json, asked: Json) => Json | Promise<Json>;
  /** AWS does what it is asked, and the connection breaks before the answer is through. */
  readonly loseReply?: boolean;
  /** There is no answer at all, and AWS never sees the request. */
  readonly hang?: boolean;
}

export interface FaultProxy {
  readonly endpoint: string;
  /** Spoils the next requests of this action (`PutItem`): one, unless more are asked for. */
  spoil(action: string, fault: Fault, times?: number): void;
  /** How many requests have come in since the last `reset`, of one action or of all. */
  count(action?: string): number;
  /** Forgets counts and faults. */
  reset(): void;
  close(): Promise<void>;
}

/** AWS's way of saying slow down, by its own names. */
export const throttled = (service: "SQS" | "DynamoDB" | "Scheduler"): Fault => ({
  reply: { status: service === "Scheduler" ? 429 : 400, body: THROTTLED[service] },
});

const THROTTLED = {
  SQS: { __type: "com.amazon.coral.service#RequestThrottled", message: "Request is throttled." },
  DynamoDB: { __type: "com.amazonaws.dynamodb.v20120810#ThrottlingException", message: "Rate exceeded" },
  Scheduler: { __type: "ThrottlingException", Message: "Rate exceeded" },
};

/** @param target Where requests go on to; none: whatever is not replied to is answered 500. */
export async function startFaultProxy(target?: string): Promise<FaultProxy> {
  const counts = new Map<string, number>();
  const faults = new Map<string, Fault[]>();

  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const action = actionOf(incoming);
    counts.set(action, (counts.get(action) ?? 0) + 1);
    let body = await buffer(incoming);
    const asked = JSON.parse(body.toString()) as Json;
    const waiting = faults.get(action) ?? [];
    const next = waiting.findIndex(({ only }) => only?.(asked) ?? true);
    const [fault = {}] = next === -1 ? [] : waiting.splice(next, 1);

    if (fault.hang) return;
    await fault.before?.();
    if (fault.reply) return answer(outgoing, fault.reply.status, JSON.stringify(fault.reply.body));
    if (target === undefined) return answer(outgoing, 500, "{}");
    if (fault.request) body = Buffer.from(JSON.stringify(fault.request(asked)));
    const forwarded = await forward(target, incoming, body);
    if (fault.loseReply) {
      incoming.socket.destroy();
      return;
    }
    const changed = await fault.response?.(JSON.parse(forwarded.answer) as Json, asked);
    answer(outgoing, forwarded.status, changed === undefined ? forwarded.answer : JSON.stringify(changed));
  }

  const server = createServer((incoming, outgoing) => {
    serve(incoming, outgoing).catch((error: unknown) =>
      answer(outgoing, 502, JSON.stringify({ message: String(error) })),
    );
  }).listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spoil(action, fault, times = 1) {
      faults.set(action, [...(faults.get(action) ?? []), ...Array.from({ length: times }, () => fault)]);
    },
    count: (action) =>
      action === undefined ? [...counts.values()].reduce((a, b) => a + b, 0) : (counts.get(action) ?? 0),
    reset() {
      counts.clear();
      faults.clear();
    },
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

/** Most services name it in a header; Scheduler by method and path, of which one is used here. */
function actionOf({ headers, method, url }: IncomingMessage): string {
  const target = headers["x-amz-target"];
  if (typeof target === "string") return target.split(".").at(-1) ?? "";
  return method === "POST" && url?.startsWith("/schedules/") ? "CreateSchedule" : `${method} ${url}`;
}

function answer(outgoing: ServerResponse, status: number, body: string): void {
  outgoing.writeHead(status, { "content-type": "application/x-amz-json-1.0" }).end(body);
}

async function forward(
  target: string,
  incoming: IncomingMessage,
  body: Buffer,
): Promise<{ status: number; answer: string }> {
  const headers = { ...incoming.headers, host: new URL(target).host, "content-length": String(body.length) };
  const outgoing = httpRequest(new URL(incoming.url ?? "/", target), { method: "POST", headers, agent: false });
  outgoing.end(body);
  const [response] = (await once(outgoing, "response")) as [IncomingMessage];
  return { status: response.statusCode ?? 500, answer: await text(response) };
}
