/** The routes. Runs wherever Hono does: Node, Bun, Deno, Lambda. */
import { readFileSync } from "node:fs";
import { Hono } from "hono";
import { states } from "lovage";
import { resultEvents } from "lovage/web";
import { app, build } from "./tasks.ts";

const page = readFileSync(new URL("page.html", import.meta.url), "utf8");

export const service = new Hono();

service.get("/", (c) => c.html(page));

/** Sends: the answer is there as soon as the queue has the task. */
service.post("/reports", async (c) => {
  const { customer, pages = 5 } = await c.req.json<{ customer: string; pages?: number }>();
  const { id } = await build.delay(customer, pages);
  return c.json({ id }, 202, { Location: `/reports/${id}` });
});

/** Reads. An id that nobody knows is PENDING. */
service.get("/reports/:id", async (c) => {
  const result = app.result(c.req.param("id"));
  const state = await result.state();
  if (!states.isReady(state)) return c.json({ state });
  const value = await result.result();
  return c.json(value instanceof Error ? { state, error: value.message } : { state, result: value });
});

/** Pushes what the task writes, as Server-Sent Events. */
service.get("/reports/:id/events", (c) => resultEvents(c.req.raw, app.result(c.req.param("id"))));
