/** Counts the requests to AWS that this process sends, by whatever client: Node tells of each that goes out. */
import { subscribe } from "node:diagnostics_channel";
import type { ClientRequest, IncomingMessage } from "node:http";

/** All that is kept of a request. */
export interface Sent {
  /** `sqs:SendMessageBatch`. */
  readonly operation: string;
  readonly ms: number;
  /** 0: there was no answer. */
  readonly status: number;
  /** Of the request's body. */
  readonly bytes: number;
  /** Of the answer's body. */
  readonly answered: number;
}

export interface Recorder {
  /** What was sent since this was asked last. */
  take(): Sent[];
}

/** Operations that are told by their path. */
const PATHS: readonly (readonly [service: string, method: string, path: RegExp, operation: string])[] = [
  ["scheduler", "POST", /^\/schedules\//, "CreateSchedule"],
  ["lambda", "GET", /^\/2015-03-31\/event-source-mappings/, "ListEventSourceMappings"],
  ["lambda", "PUT", /^\/2015-03-31\/event-source-mappings\//, "UpdateEventSourceMapping"],
  ["s3", "PUT", /^\//, "PutObject"],
  ["s3", "GET", /^\//, "GetObject"],
  ["sts", "POST", /^\/$/, "GetCallerIdentity"],
];

/** `sqs:SendMessageBatch` of a request that is signed; `undefined` of one that is not for AWS. */
function operationOf(request: ClientRequest): string | undefined {
  const scope = /\/(\w+)\/aws4_request/.exec(String(request.getHeader("authorization") ?? ""));
  if (scope?.[1] === undefined) return undefined;
  const [, service] = scope;
  const target = request.getHeader("x-amz-target");
  const name =
    typeof target === "string"
      ? target.split(".")[1]
      : PATHS.find(([of, method, path]) => of === service && method === request.method && path.test(request.path))?.[3];
  return `${service}:${name ?? `${request.method} ${request.path}`}`;
}

/** Begins to count. There is no end to it but the process's. */
export function startRecorder(): Recorder {
  let sent: Sent[] = [];
  const began = new WeakMap<ClientRequest, number>();
  const note = (request: ClientRequest, status: number, answered: number) => {
    const start = began.get(request);
    const operation = operationOf(request);
    if (start === undefined || operation === undefined) return;
    began.delete(request);
    sent.push({
      operation,
      ms: Math.round(performance.now() - start),
      status,
      bytes: Number(request.getHeader("content-length") ?? 0),
      answered,
    });
  };
  subscribe("http.client.request.start", (message) => {
    began.set((message as { request: ClientRequest }).request, performance.now());
  });
  subscribe("http.client.response.finish", (message) => {
    const { request, response } = message as { request: ClientRequest; response: IncomingMessage };
    note(request, response.statusCode ?? 0, Number(response.headers["content-length"] ?? 0));
  });
  subscribe("http.client.request.error", (message) => note((message as { request: ClientRequest }).request, 0, 0));
  return {
    take() {
      const taken = sent;
      sent = [];
      return taken;
    },
  };
}

/** What one invocation of a function says of itself. */
export interface Told {
  /** `celery`, or `beat`. */
  readonly by: string;
  readonly ms: number;
  readonly memory: number;
  readonly sent: readonly Sent[];
}
