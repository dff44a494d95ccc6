/** `lovage/board`: the board as a handler of requests. */
export {} from "../oldest-node.ts";
import { type Context, Hono } from "hono";
import type { Lovage } from "../app.ts";
import { toJson } from "../brief.ts";
import { checkApp } from "../check-app.ts";
import {
  CannotRetry,
  ImproperlyConfigured,
  LovageError,
  NotRegistered,
  OperationalError,
  QueueNotFound,
  ValidationError,
  WorkerNotFound,
} from "../errors.ts";
import { boolean, options as readOptions, type Parse, seconds, shape, text } from "../parse.ts";
import { VERSION } from "./version.ts";
import { EntryNotFound } from "./actions.ts";
import { type BoardData, createData } from "./data.ts";
import { createFileCheck } from "./file.ts";
import { checkInput, type Fields, type Input, readQuery } from "./input.ts";
import { problemOf } from "./live.ts";
import { inPath, openApi, WORK_PATH } from "./openapi.ts";
import { OPERATIONS, type Operation } from "./operations.ts";
import { failed, findAsset, type PageRequest, pages } from "./pages/index.ts";
import { giveToken, HEADERS, refusalOf } from "./safety.ts";
import { createWorks } from "./work.ts";

/** Whom a request comes from, and what they may. */
export interface BoardUser {
  /** Their name, which the journal keeps for each of their actions. Default: the caller's ARN on AWS, else the user of the operating system. */
  readonly by?: string | undefined;
  /** They may look and change nothing. Default: as the board. */
  readonly readOnly?: boolean | undefined;
}

/** How a board is mounted. */
export interface BoardOptions {
  /** Show everything, change nothing: the pages have no buttons, and the API answers 403. Default false. */
  readonly readOnly?: boolean | undefined;
  /** The path below which it is mounted, such as `/board`. Default: none. */
  readonly basePath?: string | undefined;
  /**
   * Called for every request, to decide who may see the board. It gives `true`, or who it is, to allow the request. It gives `false` (403), or a response such as a redirect to your login, to refuse it. Default: everybody who reaches it. Without it, mount it only below a login
   * of yours.
   */
  readonly authorize?: ((request: Request) => Authorized | Promise<Authorized>) | undefined;
  /**
   * Seconds between two looks of a page that is open, however many look. Each costs requests where the app is on AWS.
   * Default: 2 on SQLite and emulators, 60 on AWS, which is less than a cent a day.
   */
  readonly refresh?: number | undefined;
}

/** What `authorize` answers. */
export type Authorized = boolean | BoardUser | Response;

/** A function of a request, and an object with it as its `fetch`: what servers and frameworks take is one of the two. */
export interface Board {
  (request: Request): Promise<Response>;
  /** The same function, for servers that take an object with `fetch`. */
  fetch(request: Request): Promise<Response>;
}

/** Of a body: the largest message of SQS is 1 MiB. */
const MOST_BYTES = 2 * 1024 * 1024;
/** A page is there after so many milliseconds, with what is there by then; one that updates itself has more patience. */
const FIRST_PAINT_MS = 60;
const UPDATE_MS = 20_000;
/** Somebody who loads a page anew wants to see what is now, but for so many milliseconds. */
const RELOAD_MS = 5_000;
/** The script of a page asks with it for what has changed. */
const LIVE_HEADER = "x-board";

const path: Parse<string> = (value, at) => {
  const given = text(value, at).replace(/\/$/, "");
  if (given === "" || /^(\/[\w.~-]+)+$/.test(given)) return given;
  throw new ImproperlyConfigured(at, `must be a path such as "/board" (given: ${JSON.stringify(given)})`);
};
const callback: Parse<NonNullable<BoardOptions["authorize"]>> = (value, at) => {
  if (typeof value === "function") return value as NonNullable<BoardOptions["authorize"]>;
  throw new ImproperlyConfigured(at, "must be a function of the request, which says who may see the board");
};
const optionsShape = shape<BoardOptions>(
  { readOnly: boolean, basePath: path, authorize: callback, refresh: seconds({ max: 86_400 }) },
  {},
);

interface Variables {
  readonly user: BoardUser;
}
type Env = { readonly Variables: Variables };

/**
 * The board of an app: its pages, and its API below `/api`.
 *
 * ```ts
 * const board = createBoard(app, { basePath: "/board", authorize: (request) => isOperator(request) });
 * server.all("/board/*", (c) => board(c.req.raw)); // Hono; and so on wherever there are Request and Response
 * ```
 * Throws `ImproperlyConfigured` for an option that there is not, or that is not what it has to be.
 */
export function createBoard(app: Lovage, given: BoardOptions = {}): Board {
  checkApp(app);
  const {
    readOnly = false,
    basePath: base = "",
    authorize,
    refresh,
  } = readOptions(optionsShape, given, "createBoard", '{ readOnly: true, basePath: "/board" }');
  const { engine } = app;
  const now = () => engine.clock.now();
  // Lambda freezes a function when it has answered: nothing goes on behind an answer there.
  const isFrozen = engine.platform.env["AWS_LAMBDA_FUNCTION_NAME"] !== undefined;
  const data = createData(app, { refresh });
  const works = createWorks(engine.uuid);
  const server = new Hono<Env>({ getPath: (request) => pathOf(request, base) });

  const isReadOnly = (c: Context<Env>) => readOnly || c.get("user").readOnly === true;

  server.use(async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(HEADERS)) c.res.headers.set(name, value);
    if (!c.res.headers.has("cache-control")) c.res.headers.set("cache-control", "no-store");
  });
  server.use(async (c, next) => {
    const answer = authorize === undefined ? true : await authorize(c.req.raw);
    // Headers of an answer of theirs may be frozen.
    if (answer instanceof Response) return new Response(answer.body, answer);
    if (!answer) return refuse(c, 403, "Forbidden", "you may not see this board");
    c.set("user", answer === true ? {} : answer);
    return next();
  });

  const file = createFileCheck(engine);
  server.use(async (c, next) => {
    if (c.req.path.startsWith("/assets/")) return next();
    try {
      file.before();
    } catch (error) {
      const { status, name, message } = explain(error);
      if (c.req.path.startsWith("/api")) return refuse(c, status, name, message);
      return c.html(
        await failed(requestOf(c, giveToken(c.req.raw, base).token), "The file is not there", message),
        status,
      );
    }
    await next();
    file.after();
    return undefined;
  });

  // ── the pages ────────────────────────────────────────────────────────────────────────────────────────────────────

  function requestOf(c: Context<Env>, token: string): PageRequest {
    const isLive = c.req.header(LIVE_HEADER) !== undefined;
    return {
      app: app.name,
      zone: app.config.timezone,
      now: now(),
      base,
      path: c.req.path,
      query: new URL(c.req.url).searchParams,
      id: c.req.param("id") ?? "",
      data,
      readOnly: isReadOnly(c),
      token,
      version: VERSION,
      patience: isLive ? { wait: UPDATE_MS } : { wait: isFrozen ? UPDATE_MS : FIRST_PAINT_MS, maxAge: RELOAD_MS },
    };
  }

  for (const [at, page] of Object.entries(pages)) {
    server.get(at, async (c) => {
      const { token, cookie } = giveToken(c.req.raw, base);
      if (cookie !== undefined) c.header("set-cookie", cookie);
      const asked = requestOf(c, token);
      try {
        return c.html(await page(asked));
      } catch (error) {
        const { status, name, message } = explain(error);
        return c.html(
          await failed(asked, status === 404 ? "Not found" : `It cannot be shown: ${name}`, message),
          status,
        );
      }
    });
  }

  server.get("/assets/:name", (c) => {
    const asset = findAsset(c.req.param("name"));
    if (asset === undefined) return c.notFound();
    c.header("cache-control", "public, max-age=31536000, immutable");
    return c.body(asset.text, 200, { "content-type": asset.type });
  });

  // ── the API ──────────────────────────────────────────────────────────────────────────────────────────────────────

  const json = (value: unknown, status = 200) =>
    new Response(toJson(value), { status, headers: { "content-type": "application/json; charset=utf-8" } });
  const refuse = (_: Context<Env>, status: number, name: string, message: string) =>
    json({ error: { name, message } }, status);

  server.get("/api/openapi.json", (c) =>
    json(openApi({ app: app.name, version: VERSION ?? "unknown", url: `${base}/api`, readOnly: isReadOnly(c) })),
  );
  server.get("/api", () => json({ openapi: `${base}/api/openapi.json` }));
  server.get(`/api${routeOf(WORK_PATH)}`, (c) => {
    const work = works.find(c.req.param("id") ?? "");
    return work === undefined
      ? refuse(c, 404, "NotFound", "nothing is known of this work: it ended long ago, or another process does it")
      : json(work);
  });

  for (const operation of OPERATIONS) {
    const at = `/api${routeOf(operation.path)}`;
    if (!operation.changes) {
      server.get(at, (c) =>
        answer(c, operation, async () => readQuery(operation.input, new URL(c.req.url).searchParams)),
      );
      continue;
    }
    server.post(at, async (c) => {
      if (isReadOnly(c)) return refuse(c, 403, "ReadOnly", "this board is read-only: it changes nothing");
      const why = refusalOf(c.req.raw);
      if (why !== undefined) return refuse(c, 403, "Forbidden", `the request is refused: ${why}`);
      if (!/^application\/json\b/i.test(c.req.header("content-type") ?? ""))
        return refuse(c, 415, "UnsupportedMediaType", "a body of JSON is needed, with content-type: application/json");
      const body = await bodyOf(c.req.raw);
      if (body === undefined) return refuse(c, 413, "PayloadTooLarge", `a body has at most ${MOST_BYTES} bytes`);
      return answer(c, operation, async () => parseBody(body));
    });
  }

  async function answer(c: Context<Env>, operation: Operation, read: () => Promise<unknown>): Promise<Response> {
    try {
      const body = await read();
      if (!isObject(body)) return refuse(c, 400, "ImproperlyConfigured", "body: must be an object of JSON");
      const { background, ...rest } = body;
      const own = Object.fromEntries(inPath(operation.path).map((name) => [name, c.req.param(name)]));
      const fields: Fields = operation.long
        ? { ...operation.input, background: { type: "boolean", is: "Answer at once" } }
        : operation.input;
      const input = checkInput(fields, { ...rest, ...(background !== undefined && { background }), ...own }, now());
      return await perform(operation, input, c.get("user").by);
    } catch (error) {
      const { status, name, message } = explain(error);
      return refuse(c, status, name, message);
    }
  }

  async function perform(operation: Operation, { background = false, ...input }: Input, by: string | undefined) {
    if (background !== true || isFrozen) return json((await operation.run(data, input, { by })) ?? { ok: true });
    return json(
      works.begin(operation.name, { by }, (doing) => operation.run(data, input, doing)),
      202,
    );
  }

  server.notFound(async (c) => {
    const methods = methodsOf(c.req.path);
    if (methods.length > 0) {
      const answer = refuse(
        c,
        405,
        "MethodNotAllowed",
        `${c.req.method} does nothing here: use ${methods.join(" or ")}`,
      );
      answer.headers.set("allow", methods.join(", "));
      return answer;
    }
    if (c.req.path.startsWith("/api/") || c.req.method !== "GET")
      return refuse(c, 404, "NotFound", "there is nothing here");
    const asked = requestOf(c, giveToken(c.req.raw, base).token);
    return c.html(await failed(asked, "Not found", "There is no such page."), 404);
  });
  server.onError((error, c) => {
    const { status, name, message } = explain(error);
    return refuse(c, status, name, message);
  });

  const fetch = async (request: Request): Promise<Response> => server.fetch(request);
  return Object.assign(fetch, { fetch });
}

export type { BoardData };

const routeOf = (given: string): string => given.replace(/\{(\w+)\}/g, ":$1");

/** The methods of the operations of a path; none where there are no operations. */
function methodsOf(path: string): readonly string[] {
  const isAt = (given: string) => new RegExp(`^/api${given.replace(/\{\w+\}/g, "[^/]+")}$`).test(path);
  return [
    ...new Set(OPERATIONS.filter((one) => isAt(one.path)).map(({ changes }) => (changes ? "POST" : "GET"))),
  ].sort();
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Below the base. Who mounts it may have taken the base away already, and a proxy may have put a slash at the end. */
function pathOf(request: Request, base: string): string {
  const { pathname } = new URL(request.url);
  const isBelow = base !== "" && (pathname === base || pathname.startsWith(`${base}/`));
  return (isBelow ? pathname.slice(base.length) : pathname).replace(/\/$/, "") || "/";
}

/** The text, whether or not its length was said before; `undefined`: it is longer than is read. */
async function bodyOf({ headers, body }: Request): Promise<string | undefined> {
  if (Number(headers.get("content-length")) > MOST_BYTES) return undefined;
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for await (const part of body ?? []) {
    size += part.length;
    if (size > MOST_BYTES) return undefined;
    text += decoder.decode(part, { stream: true });
  }
  return text + decoder.decode();
}

function parseBody(body: string): unknown {
  if (body === "") return {};
  try {
    return JSON.parse(body);
  } catch (cause) {
    throw new ImproperlyConfigured("body", `is no JSON: ${problemOf(cause)}`, { cause });
  }
}

const NOT_THERE = [EntryNotFound, NotRegistered, QueueNotFound, WorkerNotFound];

/** What an error is to who asked. */
function explain(error: unknown): {
  readonly status: 400 | 404 | 409 | 500 | 503;
  readonly name: string;
  readonly message: string;
} {
  const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
  if (NOT_THERE.some((Class) => error instanceof Class)) return { status: 404, name, message };
  if (error instanceof CannotRetry) return { status: 409, name, message };
  if (error instanceof OperationalError) return { status: 503, name, message };
  if (error instanceof ImproperlyConfigured || error instanceof ValidationError || error instanceof TypeError)
    return { status: 400, name, message };
  return { status: error instanceof LovageError ? 400 : 500, name, message };
}
