/** The routes. */
import { readFileSync } from "node:fs";
import fastify from "fastify";
import { states } from "lovage";
import { sendResultEvents } from "lovage/web";
import { app, build } from "./tasks.ts";

const page = readFileSync(new URL("page.html", import.meta.url), "utf8");

export const service = fastify();
service.addHook("onClose", () => app.close());

service.get("/", (_request, reply) => reply.type("text/html").send(page));

/** Sends: the answer is there as soon as the queue has the task. */
service.post<{ Body: { customer: string; pages: number } }>(
  "/reports",
  {
    schema: {
      body: {
        type: "object",
        required: ["customer"],
        properties: { customer: { type: "string" }, pages: { type: "integer", minimum: 1, default: 5 } },
      },
    },
  },
  async ({ body: { customer, pages } }, reply) => {
    const { id } = await build.delay(customer, pages);
    return reply.code(202).header("location", `/reports/${id}`).send({ id });
  },
);

/** Reads. An id that nobody knows is PENDING. */
service.get<{ Params: { id: string } }>("/reports/:id", async ({ params }) => {
  const result = app.result(params.id);
  const state = await result.state();
  const value = states.isReady(state) ? await result.result() : undefined;
  return value instanceof Error ? { state, error: value.message } : { state, result: value };
});

/** Pushes what the task writes, as Server-Sent Events. */
service.get<{ Params: { id: string } }>("/reports/:id/events", async (request, reply) => {
  // Fastify is told that the answer is written past it.
  reply.hijack();
  await sendResultEvents(request.raw, reply.raw, app.result(request.params.id));
});
