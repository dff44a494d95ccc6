/** Answers compressed, for who serves the board to browsers itself. */
import { Hono } from "hono";
import { compress } from "hono/compress";
import type { Board } from "./index.ts";

/** Shorter answers are sent as they are, in bytes: a packet has room for them. */
const LEAST_BYTES = 1024;

/**
 * A server that the board is mounted in compresses what it sends, or has a proxy that does; Next.js does so whatever the answer
 * says of itself. What is compressed already would be so twice, and no browser could read it.
 */
export function compressed(board: Board): (request: Request) => Promise<Response> {
  const server = new Hono();
  server.use(compress({ threshold: LEAST_BYTES }));
  server.all("*", (c) => board(c.req.raw));
  return async (request) => server.fetch(request);
}
