/** The board as a server of its own. */
import { createHash, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import type { Lovage } from "../app.ts";
import { type Authorized, createBoard } from "../board/index.ts";
import { compressed } from "../board/compressed.ts";
import { ImproperlyConfigured } from "../errors.ts";

export interface Listening {
  readonly host: string;
  readonly port: number;
  /** `user:password`. */
  readonly auth?: string;
  readonly readOnly: boolean;
  readonly refresh?: number;
  readonly basePath?: string;
}

/**
 * A client has so long for the head of a request, for all of it, and to take anything of an answer, in milliseconds. Who is
 * slower is disconnected.
 */
const HEAD_MS = 10_000;
const REQUEST_MS = 30_000;
const SILENCE_MS = 60_000;
/** So many are connected at most: who holds connections open keeps nobody else's memory. */
const MOST_CONNECTIONS = 500;

const LOOPBACK = /^(localhost|127(?:\.\d{1,3}){3}|::1|\[::1\])$/i;

/** Throws `ImproperlyConfigured` where others could reach it without a password, or the port is taken. */
export async function serveBoard(
  app: Lovage,
  { host, port, auth, readOnly, refresh, basePath }: Listening,
  limits: { readonly head?: number; readonly request?: number } = {},
): Promise<{ readonly url: string; readonly close: () => Promise<void> }> {
  if (auth !== undefined && !/^[^:]+:.+$/.test(auth))
    throw new ImproperlyConfigured("--auth", "must be a name and a password with a colon between: anna:secret");
  if (auth === undefined && !LOOPBACK.test(host)) {
    throw new ImproperlyConfigured(
      "--host",
      `${host} can be reached by others, who could read and change everything: say who may see it with --auth user:password or LOVAGE_BOARD_AUTH, or leave --host out and use a tunnel, as with ssh -L 5555:127.0.0.1:5555`,
    );
  }
  const board = createBoard(app, {
    readOnly,
    authorize: auth === undefined ? onThisMachine : passwordCheck(auth),
    refresh,
    basePath,
  });
  const head = limits.head ?? HEAD_MS;
  const request = limits.request ?? REQUEST_MS;
  const server = serve({
    // To a browser on this machine bytes cost less than to compress them: it paints an eighth sooner.
    fetch: LOOPBACK.test(host) ? board : compressed(board),
    hostname: host.replace(/^\[|\]$/g, ""),
    port,
    overrideGlobalObjects: false,
    serverOptions: {
      headersTimeout: head,
      requestTimeout: request,
      connectionsCheckingInterval: Math.min(head, 5_000) / 2,
    },
  }) as Server;
  server.maxConnections = MOST_CONNECTIONS;
  server.setTimeout(SILENCE_MS);
  try {
    await once(server, "listening");
  } catch (cause) {
    throw notListening(cause, host, port);
  }
  // Code is loaded, files are opened and the journal is read before somebody waits for it.
  const headers = new Headers();
  if (auth !== undefined) headers.set("authorization", `Basic ${Buffer.from(auth).toString("base64")}`);
  board(new Request("http://127.0.0.1/", { headers })).catch(() => undefined);
  const { port: own, family, address } = server.address() as AddressInfo;
  return {
    url: `http://${family === "IPv6" ? `[${address}]` : address}:${own}${basePath?.replace(/\/$/, "") ?? ""}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // A browser keeps its connections open.
        server.closeAllConnections();
      }),
  };
}

function notListening(cause: unknown, host: string, port: number): unknown {
  const { code = "", message } = cause as NodeJS.ErrnoException;
  if (code === "EADDRINUSE")
    return new ImproperlyConfigured("--port", `${port} is taken by another program; --port 0 takes one that is free`, {
      cause,
    });
  if (code === "EACCES")
    return new ImproperlyConfigured("--port", `${port} may not be used by you: take one from 1024 on`, { cause });
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND" || code === "EAI_AGAIN")
    return new ImproperlyConfigured("--host", `${host} is no address of this machine: ${message}`, { cause });
  return cause;
}

/**
 * Without a password whoever is on this machine may see it, and no web site: one whose name was made to lead here would be
 * of the same origin to the browser.
 */
function onThisMachine(request: Request): Authorized {
  const { hostname } = new URL(request.url);
  if (LOOPBACK.test(hostname) || hostname.endsWith(".localhost")) return true;
  return new Response(
    "This board is for this machine: open it as http://127.0.0.1 or http://localhost. Behind a proxy it needs a password: --auth user:password\n",
    {
      status: 421,
    },
  );
}

/** HTTP's Basic: browsers ask for it. It takes as long, whatever is wrong. */
function passwordCheck(auth: string): (request: Request) => Authorized {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const wanted = digest(auth);
  const [user = ""] = auth.split(":");
  return (request) => {
    const [, encoded = ""] = /^Basic\s+([\w+/=-]+)$/i.exec(request.headers.get("authorization") ?? "") ?? [];
    const given = Buffer.from(encoded, "base64").toString("utf8");
    if (timingSafeEqual(digest(given), wanted)) return { by: user };
    return new Response("The board needs a name and a password.\n", {
      status: 401,
      headers: { "www-authenticate": 'Basic realm="Lovage", charset="UTF-8"' },
    });
  };
}
