/** `lovage/web`: what a task writes and becomes, as Server-Sent Events. Needs nothing of Node. */
export {} from "../oldest-node.ts";
import type { AsyncResult } from "../results/async-result.ts";
import { stringifyValue } from "../protocol/values.ts";

/** How events are sent. */
export interface ResultEventsOptions {
  /** Seconds between two comments that keep proxies from closing a quiet connection, over 0. Default 15. */
  readonly keepAlive?: number | undefined;
  /** Headers of the answer, in addition to those of an event stream, such as those of CORS. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** What is shown of the error of a task that failed. Default: its name and message, without a stack. */
  readonly showError?: ((error: unknown) => unknown) | undefined;
}

const KEEP_ALIVE_S = 15;

/**
 * Answers a request with the stream of a task, for a browser's `EventSource`: an event `chunk` for each `self.write`, with its
 * value as JSON; `restart` if the task begins again, so that what was shown must be removed; at the end `result` with the value,
 * or `failure` with the error. A browser whose connection broke asks again with `Last-Event-ID`, and goes on from there.
 * Close the source at `result` and `failure`, or it asks again and gets the same event.
 *
 * Check before you call this who may read which task.
 *
 * ```ts
 * app.get("/tasks/:id/events", (c) => resultEvents(c.req.raw, tasks.result(c.req.param("id"))));
 * ```
 */
export function resultEvents(request: Request, result: AsyncResult, options: ResultEventsOptions = {}): Response {
  const { keepAlive = KEEP_ALIVE_S, headers = {}, showError = shown } = options;
  const encoder = new TextEncoder();
  const gone = new AbortController();
  const signal = AbortSignal.any([request.signal, gone.signal]);
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      const send = (text: string) => {
        if (!signal.aborted) controller.enqueue(encoder.encode(text));
      };
      const timer = setInterval(() => send(": still here\n\n"), keepAlive * 1000);
      try {
        // The connection is open, whatever comes when.
        send(": events\n\n");
        for await (const text of events(request, result, signal, showError)) send(text);
      } catch (error) {
        if (!signal.aborted) send(eventOf("failure", showError(error)));
      } finally {
        clearInterval(timer);
        if (!signal.aborted) controller.close();
      }
    },
    cancel: () => gone.abort(),
  });
  return new Response(body, {
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache, no-transform",
      // What nginx would gather is to come at once.
      "x-accel-buffering": "no",
      ...headers,
    },
  });
}

/** What {@link sendResultEvents} uses of Node's `IncomingMessage`. */
export interface NodeRequest {
  /** The headers, by their names in small letters. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** What {@link sendResultEvents} uses of Node's `ServerResponse`. */
export interface NodeResponse {
  /** Sends status and headers. */
  writeHead(status: number, headers: Record<string, string>): unknown;
  /** Sends a part of the body; `false`: wait for `drain`. */
  write(chunk: Uint8Array): boolean;
  /** Ends the answer. */
  end(): unknown;
  /** Calls back once, when it happens. */
  once(event: "close" | "drain", listener: () => void): unknown;
}

/**
 * {@link resultEvents} for Node's own request and response, as Express, NestJS and Fastify (`request.raw`, `reply.raw` after
 * `reply.hijack()`) have them. Resolves when the answer is over, or whoever asked is gone.
 *
 * ```ts
 * server.get("/tasks/:id/events", (request, response) => sendResultEvents(request, response, app.result(request.params.id)));
 * ```
 */
export async function sendResultEvents(
  request: NodeRequest,
  response: NodeResponse,
  result: AsyncResult,
  options: ResultEventsOptions = {},
): Promise<void> {
  const seen = request.headers["last-event-id"];
  const asked = new Request("http://localhost/", {
    headers: typeof seen === "string" ? { "last-event-id": seen } : {},
  });
  const answer = resultEvents(asked, result, options);
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  const gone = new Promise<void>((resolve) => response.once("close", resolve));
  void gone.then(() => reader.cancel());
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (!response.write(value)) {
      await Promise.race([gone, new Promise<void>((resolve) => response.once("drain", resolve))]);
    }
  }
  response.end();
}

async function* events(
  request: Request,
  result: AsyncResult,
  signal: AbortSignal,
  showError: (error: unknown) => unknown,
): AsyncGenerator<string, void> {
  const seen = positionOf(request.headers.get("last-event-id"));
  let { run } = seen;
  try {
    for await (const chunk of result.chunks({ ...seen, signal })) {
      if (run !== undefined && chunk.run !== run) yield eventOf("restart", null);
      run = chunk.run;
      yield eventOf("chunk", chunk.value, `${chunk.run}:${chunk.offset + 1}`);
    }
    yield eventOf("result", await result.get({ signal }));
  } catch (error) {
    if (signal.aborted) throw error;
    yield eventOf("failure", showError(error));
  }
}

/** `<run>:<offset>`, as events are called here. What somebody else made up is where it begins. */
function positionOf(id: string | null): { readonly run?: string; readonly from?: number } {
  const [, run, offset] = /^([\w-]{1,64}):(\d{1,15})$/.exec(id ?? "") ?? [];
  return run === undefined ? {} : { run, from: Number(offset) };
}

function eventOf(name: string, value: unknown, id?: string): string {
  // JSON has no line breaks of its own: one line is one event's data.
  return `${id === undefined ? "" : `id: ${id}\n`}event: ${name}\ndata: ${stringifyValue(value)}\n\n`;
}

const shown = (error: unknown): unknown =>
  error instanceof Error ? { name: error.name, message: error.message } : { name: "Error", message: String(error) };
