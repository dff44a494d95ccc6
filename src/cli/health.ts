/** `--health`: a worker's process answers whoever asks whether it is well, and Prometheus. */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Lovage } from "../app.ts";
import { ImproperlyConfigured, LovageError } from "../errors.ts";
import type { Log } from "../workers/log.ts";
import type { PollingWorker } from "../workers/poll.ts";
import { type Metrics, openMetrics } from "./metrics.ts";
import type { HealthAddress } from "./options.ts";

export interface Health {
  /** From now on it is this worker that is asked about. */
  watch(worker: PollingWorker): void;
  /** What a worker tells of its messages and runs. `undefined` where nobody could be told. */
  readonly metrics: Metrics | undefined;
}

/**
 * Listens. Throws `ImproperlyConfigured` where it cannot. It answers as soon as it listens, which is before the worker is
 * ready: who waits for that asks `/readyz`.
 */
export async function startHealth(app: Lovage, address: HealthAddress, log: Log): Promise<Health> {
  const metrics = await openMetrics(app, log).catch((error: unknown) => {
    if (!(error instanceof LovageError)) throw error;
    log("warning", `There is no /metrics: ${error.message}`);
    return error;
  });
  let worker: PollingWorker | undefined;
  // Imported by name it would load all that Node has of WebSocket and fetch too, which takes as long as a third of Lovage.
  const { createServer } = process.getBuiltinModule("node:http");
  const server = createServer((request, response) => {
    const answer = (status: number, body: string, type = "text/plain; charset=utf-8") => {
      response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
      response.end(request.method === "HEAD" ? undefined : body);
    };
    if (request.method !== "GET" && request.method !== "HEAD") return answer(405, "GET or HEAD\n");
    const [path] = (request.url ?? "").split("?", 1);
    if (path === "/healthz") return answer(200, "alive\n");
    if (path === "/readyz") {
      const { ready, reason } = worker?.readiness() ?? { ready: false, reason: "starts" };
      return answer(ready ? 200 : 503, `${reason ?? "ready"}\n`);
    }
    if (path !== "/metrics") return answer(404, "/healthz, /readyz or /metrics\n");
    if (metrics instanceof Error) return answer(501, `${metrics.message}\n`);
    metrics.text(worker).then(
      (text) => answer(200, text, metrics.contentType),
      (error: unknown) => answer(500, `${String(error)}\n`),
    );
  });
  const port = await listen(server, address);
  log("info", `Health at http://${address.host.includes(":") ? `[${address.host}]` : address.host}:${port}/healthz`);
  return {
    watch(one) {
      worker = one;
    },
    metrics: metrics instanceof Error ? undefined : metrics,
  };
}

/** The port that it listens on. What asks for it does not keep the process. */
async function listen(server: Server, { host, port }: HealthAddress): Promise<number> {
  await new Promise<void>((listening, failed) => {
    server.once("error", failed);
    server.listen(port, host, listening);
  }).catch((error: unknown) => {
    throw new ImproperlyConfigured("--health", `cannot listen on ${host}:${port}: ${(error as Error).message}`, {
      cause: error,
    });
  });
  server.unref();
  return (server.address() as AddressInfo).port;
}
