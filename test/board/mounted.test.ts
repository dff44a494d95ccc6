/**
 * The board where it is mounted, in the servers and frameworks themselves, as `docs/how-to/board.md` says. Next.js has it in
 * `test/package/callers.test.ts`, which builds and starts a project of it.
 */
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener, serve } from "@hono/node-server";
import express from "express";
import Fastify from "fastify";
import { Hono } from "hono";
import { Lovage } from "lovage";
import { createBoard } from "lovage/board";
import { createBoardHandler } from "lovage/lambda";
import { expect, onTestFinished, test } from "vitest";

const basePath = "/ops/board";
const makeApp = () => {
  const app = new Lovage("shop", { brokerUrl: "memory://", resultBackend: "memory://" });
  onTestFinished(() => app.close());
  return app;
};
const makeBoard = (base = basePath) => createBoard(makeApp(), { basePath: base });

type Ask = (path: string, init?: RequestInit) => Promise<Response>;

const askAt =
  (port: number): Ask =>
  (path, init) =>
    fetch(`http://127.0.0.1:${port}${path}`, init);

/** Pages, what they load and lead to, and an action with its body. */
async function isThere(ask: Ask): Promise<void> {
  for (const path of [basePath, `${basePath}/`, `${basePath}/tasks`, `${basePath}/api/queues`])
    expect([path, (await ask(path)).status]).toEqual([path, 200]);
  const page = await (await ask(`${basePath}/tasks`)).text();
  const links = [...page.matchAll(/(?:href|src|action)="(\/[^"]*)"/g)].map(([, link = ""]) =>
    link.replaceAll("&amp;", "&"),
  );
  expect(links.length).toBeGreaterThan(5);
  for (const link of links) {
    expect(link).toMatch(/^\/ops\/board(\/|$)/);
    expect([link, (await ask(link)).status]).toEqual([link, 200]);
  }
  const headers = { "content-type": "application/json" };
  const paused = await ask(`${basePath}/api/queues/celery/pause`, { method: "POST", headers, body: "{}" });
  expect([paused.status, await paused.text()]).toEqual([200, '{"ok":true}']);
  // Neither with a length that is said before nor with a body: `curl -X POST`, and many proxies.
  const streamed = { body: new Blob(["{}"]).stream(), duplex: "half" } as RequestInit;
  for (const body of [streamed, {}]) {
    const resumed = await ask(`${basePath}/api/queues/celery/resume`, { method: "POST", headers, ...body });
    expect([resumed.status, await resumed.text()]).toEqual([200, '{"ok":true}']);
    await ask(`${basePath}/api/queues/celery/pause`, { method: "POST", headers, body: "{}" });
  }
  const sent = await ask(`${basePath}/api/tasks`, {
    method: "POST",
    headers,
    body: '{"task":"shop.no","queue":"celery"}',
  });
  expect([sent.status, await sent.json()]).toEqual([200, { id: expect.any(String) }]);
  expect(await (await ask(`${basePath}/api/queues`)).json()).toMatchObject([{ ready: expect.any(Number), paused: {} }]);
}

async function listening(server: ReturnType<typeof createServer>): Promise<number> {
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  if (!server.listening) await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

test("in Hono, with its whole path or below it", async () => {
  const board = makeBoard();
  const server = new Hono();
  server.all("/ops/board", (c) => board(c.req.raw));
  server.all("/ops/board/*", (c) => board(c.req.raw));
  const port = await listening(serve({ fetch: server.fetch, port: 0, hostname: "127.0.0.1" }) as never);
  await isThere(askAt(port));
  const mounting = new Hono().mount("/ops/board", makeBoard());
  await isThere(async (path, init) => mounting.request(path, init));
});

test.each(["", "/ops/board"])("with a slash at the end of a path, below %j", async (base) => {
  const board = makeBoard(base);
  const ask = (path: string, init?: RequestInit) => board(new Request(`http://board.test${base}${path}`, init));
  const title = async (path: string) => /<title>.*<\/title>/.exec(await (await ask(path)).text())?.[0];
  for (const path of ["/tasks", "/failures", "/beat"]) {
    expect((await ask(`${path}/`)).status).toBe(200);
    expect(await title(`${path}/`)).toBe(await title(path));
  }
  expect((await ask("/api/queues/")).status).toBe(200);
  const headers = { "content-type": "application/json" };
  expect((await ask("/api/queues/celery/pause/", { method: "POST", headers })).status).toBe(200);
  expect((await ask("/tasks//")).status).toBe(404);
  expect((await ask("/nothing/")).status).toBe(404);
});

test("in Node's own server", async () => {
  const listener = getRequestListener(makeBoard(), { overrideGlobalObjects: false });
  const port = await listening(createServer(listener as RequestListener).listen(0, "127.0.0.1"));
  await isThere(askAt(port));
  expect((await askAt(port)("/other")).status).toBe(404);
});

test("in Express, before or behind what reads bodies", async () => {
  for (const readsFirst of [false, true]) {
    const server = express();
    if (readsFirst)
      server.use(express.json({ verify: (request, _, buffer) => Object.assign(request, { rawBody: buffer }) }));
    server.use("/ops/board", getRequestListener(makeBoard(), { overrideGlobalObjects: false }));
    server.get("/other", (_, response) => void response.send("its own"));
    const port = await listening(server.listen(0, "127.0.0.1"));
    await isThere(askAt(port));
    expect(await (await askAt(port)("/other")).text()).toBe("its own");
  }
});

test("in Fastify", async () => {
  const listener = getRequestListener(makeBoard(), { overrideGlobalObjects: false });
  const server = Fastify();
  onTestFinished(() => server.close());
  await server.register(async (scope) => {
    // The board reads bodies itself.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", (_request, _body, done) => done(null));
    scope.all("/ops/board", (request, reply) => {
      reply.hijack();
      return listener(request.raw, reply.raw);
    });
    scope.all("/ops/board/*", (request, reply) => {
      reply.hijack();
      return listener(request.raw, reply.raw);
    });
  });
  server.get("/other", async () => "its own");
  await server.listen({ port: 0, host: "127.0.0.1" });
  const { port } = server.server.address() as AddressInfo;
  await isThere(askAt(port));
  expect(await (await askAt(port)("/other")).text()).toBe("its own");
});

test("as an object with a fetch, as Bun, Deno and Workers take", async () => {
  const board = makeBoard();
  await isThere((path, init) => board.fetch(new Request(`http://board.test${path}`, init)));
  expect((await board(new Request("http://board.test/ops/boards"))).status).toBe(404);
});

test("behind a Lambda function URL", async () => {
  const handler = createBoardHandler(makeApp(), { basePath });
  await isThere(async (path, { method = "GET", headers = {}, body } = {}) => {
    const url = new URL(path, "https://abc.lambda-url.eu-west-1.on.aws");
    const {
      statusCode,
      headers: answered,
      body: text,
      isBase64Encoded,
    } = await handler({
      version: "2.0",
      routeKey: "$default",
      rawPath: url.pathname,
      rawQueryString: url.search.slice(1),
      headers: { host: url.host, ...(headers as Record<string, string>) },
      requestContext: { domainName: url.host, http: { method, path: url.pathname } },
      body: body ? await new Response(body).text() : null,
      isBase64Encoded: false,
    } as never);
    return new Response(isBase64Encoded ? Buffer.from(text, "base64") : text, {
      status: statusCode,
      headers: answered as never,
    });
  });
});
