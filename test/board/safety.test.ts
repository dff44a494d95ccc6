/** Who may see the board, and who may change anything by it. */
import { Lovage } from "lovage";
import { type BoardOptions, createBoard } from "lovage/board";
import { expect, test } from "vitest";

const ORIGIN = "http://board.test";
const TOKEN = "a".repeat(64);

const boardOf = (options: BoardOptions = {}) =>
  createBoard(
    new Lovage("shop", { brokerUrl: "memory://", resultBackend: "memory://", taskQueues: { celery: {} } }),
    options,
  );
const pause = (headers: Record<string, string>, body = "{}") =>
  boardOf()(new Request(`${ORIGIN}/api/queues/celery/pause`, { method: "POST", headers, body }));

const JSON_TYPE = { "content-type": "application/json" };
const OWN = { cookie: `other=1; lovage-board=${TOKEN}`, "x-board-token": TOKEN };

test.each<[string, number, Record<string, string>]>([
  ["a script without anything of a browser's", 200, JSON_TYPE],
  ["a page of the board", 200, { ...JSON_TYPE, ...OWN, origin: ORIGIN, "sec-fetch-site": "same-origin" }],
  ["the same in a browser that says less", 200, { ...JSON_TYPE, ...OWN, origin: ORIGIN }],
  [
    "a page of the board behind a proxy",
    200,
    { ...JSON_TYPE, ...OWN, origin: "https://ops.example", "sec-fetch-site": "same-origin" },
  ],
  ["another site", 403, { ...JSON_TYPE, ...OWN, origin: "https://evil.example", "sec-fetch-site": "cross-site" }],
  [
    "another site of the same domain",
    403,
    { ...JSON_TYPE, ...OWN, origin: "http://a.board.test", "sec-fetch-site": "same-site" },
  ],
  ["another site in a browser that says less", 403, { ...JSON_TYPE, ...OWN, origin: "https://evil.example" }],
  ["a frame without an origin", 403, { ...JSON_TYPE, ...OWN, origin: "null" }],
  ["a form of another site", 403, { "content-type": "text/plain", origin: "https://evil.example" }],
  [
    "a form of the board's own place",
    415,
    { "content-type": "application/x-www-form-urlencoded", ...OWN, origin: ORIGIN },
  ],
  ["a page without the token", 403, { ...JSON_TYPE, origin: ORIGIN, cookie: OWN.cookie }],
  ["a page with another token", 403, { ...JSON_TYPE, ...OWN, "x-board-token": "b".repeat(64), origin: ORIGIN }],
  ["a page with a part of the token", 403, { ...JSON_TYPE, ...OWN, "x-board-token": TOKEN.slice(1), origin: ORIGIN }],
  [
    "a token that was made up for both",
    403,
    { ...JSON_TYPE, cookie: "lovage-board=x", "x-board-token": "x", origin: ORIGIN },
  ],
])("%s: %d", async (_, status, headers) => {
  expect((await pause(headers)).status).toBe(status);
});

test("nothing is changed by GET", async () => {
  expect((await boardOf()(new Request(`${ORIGIN}/api/queues/celery/pause`))).status).toBe(405);
});

test.each(["/", "/tasks", "/nothing", "/api", "/api/nothing", "/assets/nothing.js"])(
  "%s is answered with headers that let nothing in",
  async (path) => {
    const { headers } = await boardOf()(new Request(ORIGIN + path));
    const policy = headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain("unsafe");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("cache-control")).toBe("no-store");
  },
);

test("a browser is given a token once, in a cookie that no script reads and no other site makes it send", async () => {
  const first = await boardOf({ basePath: "/board" })(new Request("https://board.test/board/"));
  const cookie = first.headers.get("set-cookie") ?? "";
  expect(cookie).toMatch(/^lovage-board=[0-9a-f]{64}; Path=\/board; HttpOnly; SameSite=Strict; Secure$/);
  const again = await boardOf()(new Request(ORIGIN, { headers: OWN }));
  expect(again.headers.get("set-cookie")).toBeNull();
});

test.each([
  "/../../etc/passwd",
  "/assets/../package.json",
  "/assets/%2e%2e/package.json",
  "/assets/..%2fpackage.json",
  "/assets/..%5cpackage.json",
  "/assets/__proto__",
  "//evil.example/tasks",
  "/tasks/%00/x",
  "/%E0%A4%A",
  "/api/../api/nothing",
])("%s leads nowhere", async (path) => {
  expect((await boardOf()(new Request(ORIGIN + path))).status).toBe(404);
});

test("a body of many megabytes is refused before it is read, with or without its length", async () => {
  const chunk = new Uint8Array(1024 * 1024);
  let sent = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      sent += chunk.length;
      controller.enqueue(chunk);
    },
  });
  const url = `${ORIGIN}/api/tasks/retry`;
  const streamed = new Request(url, {
    method: "POST",
    headers: JSON_TYPE,
    body: endless,
    duplex: "half",
  } as RequestInit);
  expect((await boardOf()(streamed)).status).toBe(413);
  expect(sent).toBeLessThan(10 * chunk.length);
  const whole = new Request(url, { method: "POST", headers: JSON_TYPE, body: new Uint8Array(3 * chunk.length) });
  expect((await boardOf()(whole)).status).toBe(413);
});

test.each(["", "{", "[1]", "null", '"text"', '{"__proto__": {"ids": ["x"]}}'])(
  "a body that is %j is refused",
  async (body) => {
    const answer = await boardOf()(
      new Request(`${ORIGIN}/api/tasks/retry`, { method: "POST", headers: JSON_TYPE, body }),
    );
    expect(answer.status).toBe(400);
  },
);

test("whoever says who may see it has the last word, at every path", async () => {
  const asked: string[] = [];
  const board = boardOf({
    authorize: (request) => {
      asked.push(new URL(request.url).pathname);
      return request.headers.get("x-user") === "anna"
        ? { by: "anna" }
        : Response.redirect("https://login.example/", 302);
    },
  });
  for (const path of ["/", "/tasks", "/assets/x", "/api/queues", "/nothing"]) {
    const answer = await board(new Request(ORIGIN + path));
    expect([path, answer.status, answer.headers.get("location")]).toEqual([path, 302, "https://login.example/"]);
    expect(answer.headers.get("content-security-policy")).not.toBeNull();
  }
  expect(asked).toHaveLength(5);
  expect((await board(new Request(ORIGIN, { headers: { "x-user": "anna" } }))).status).toBe(200);
  expect((await boardOf({ authorize: () => false })(new Request(ORIGIN))).status).toBe(403);
  const broken = boardOf({
    authorize: () => {
      throw new Error("the login is down");
    },
  });
  expect((await broken(new Request(ORIGIN))).status).toBe(500);
});
