/** The service: orders are accepted with 202, and done by a worker somewhere else. Runs wherever Hono does. */
import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import {
  type AsyncResult,
  type Lovage,
  OperationalError,
  PayloadTooLarge,
  states,
  type TaskRef,
  ValidationError,
} from "lovage";
import { resultEvents } from "lovage/web";
import { z } from "zod";
import { Order } from "./order.ts";
// Of the tasks only the types: a bundle of this service holds none of their code.
import type { build } from "./tasks.ts";

/** Seconds after which a client may come back. */
const RETRY_AFTER = 5;

/** What the service sends. A registered task is one, and so is `app.taskRef<typeof build>("reports.build")`. */
export interface Tasks {
  readonly build: TaskRef<typeof build>;
}

export function createService(app: Lovage, tasks: Tasks): Hono {
  const service = new Hono();

  service.post("/reports", async (c) => {
    const order = parse(tasks.build.name, Order, await c.req.json());
    // A client that heard nothing sends its order again, under the same key: the second does not run.
    const taskId = parse(tasks.build.name, z.uuid().optional(), c.req.header("Idempotency-Key"));
    const { id } = await tasks.build.applyAsync([order], taskId === undefined ? {} : { taskId });
    return c.json({ id }, 202, { Location: `/tasks/${id}`, "Retry-After": "1" });
  });

  // An id that nobody knows is PENDING, as in Celery: it may be on its way.
  service.get("/tasks/:id", async (c) =>
    c.json(await describe(app.result(c.req.param("id"))), 200, { "Cache-Control": "no-store" }),
  );

  // What the task writes, as Server-Sent Events.
  service.get("/tasks/:id/events", (c) => resultEvents(c.req.raw, app.result(c.req.param("id"))));

  // A task that has begun goes on, unless it is to be terminated and listens to its signal.
  service.delete("/tasks/:id", async (c) => {
    await app.result(c.req.param("id")).revoke({ terminate: c.req.query("terminate") === "true" });
    return c.body(null, 202);
  });

  service.notFound((c) => c.json({ error: "there is nothing here" }, 404));
  service.onError((error, c) => {
    const { status, ...body } = answerTo(error);
    if (status >= 500) console.error(error);
    return c.json(body, status, status === 503 ? { "Retry-After": String(RETRY_AFTER) } : {});
  });
  return service;
}

async function describe(result: AsyncResult) {
  const { id } = result;
  const state = await result.state();
  if (!states.isReady(state)) return { id, state };
  // An outcome that was seen is kept: this asks the store for nothing more.
  const value = await result.result();
  return value instanceof Error
    ? { id, state, error: { name: value.name, message: value.message } }
    : { id, state, result: value };
}

function parse<T>(task: string, schema: z.ZodType<T>, input: unknown): T {
  const { data, error } = schema.safeParse(input);
  if (error === undefined) return data as T;
  throw new ValidationError(
    task,
    error.issues.map(({ path, message }) => ({ path: path.join("."), message })),
  );
}

/** An error in HTTP's words. What only the service's owner can mend is told to the log alone. */
function answerTo(error: Error): { status: ContentfulStatusCode; error: string; issues?: unknown } {
  if (error instanceof ValidationError) return { status: 400, error: error.message, issues: error.issues };
  if (error instanceof SyntaxError) return { status: 400, error: "the body is not JSON" };
  if (error instanceof PayloadTooLarge) return { status: 413, error: error.message };
  if (error instanceof OperationalError && error.retryable) return { status: 503, error: "try again later" };
  if (error instanceof HTTPException) return { status: error.status as ContentfulStatusCode, error: error.message };
  return { status: 500, error: "the service is not well" };
}
