/** The routes. */
import { readFileSync } from "node:fs";
import express from "express";
import { states } from "lovage";
import { sendResultEvents } from "lovage/web";
import { app, build } from "./tasks.ts";

const page = readFileSync(new URL("page.html", import.meta.url), "utf8");

export const service = express();
service.use(express.json());

service.get("/", (_request, response) => {
  response.type("html").send(page);
});

/** Sends: the answer is there as soon as the queue has the task. */
service.post("/reports", async (request, response) => {
  const { customer, pages = 5 } = request.body as { customer: string; pages?: number };
  const { id } = await build.delay(customer, pages);
  response.status(202).location(`/reports/${id}`).json({ id });
});

/** Reads. An id that nobody knows is PENDING. */
service.get("/reports/:id", async (request, response) => {
  const result = app.result(request.params.id);
  const state = await result.state();
  const value = states.isReady(state) ? await result.result() : undefined;
  response.json(value instanceof Error ? { state, error: value.message } : { state, result: value });
});

/** Pushes what the task writes, as Server-Sent Events. */
service.get("/reports/:id/events", (request, response) =>
  sendResultEvents(request, response, app.result(request.params.id)),
);
