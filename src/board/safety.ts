/** What keeps others out: headers of every answer, and who may change anything. */

/** Nothing but what the board serves itself is loaded or run, and nobody frames it. */
export const HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
  "referrer-policy": "same-origin",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

const TOKEN_HEADER = "x-board-token";
const COOKIE = "lovage-board";
const TOKEN = /^[0-9a-f]{64}$/;

/** The token that this browser was given before. */
function tokenOf(request: Request): string | undefined {
  for (const part of (request.headers.get("cookie") ?? "").split(";")) {
    const [name = "", value = ""] = part.trim().split("=");
    if (name === COOKIE && TOKEN.test(value)) return value;
  }
  return undefined;
}

/**
 * The token of a browser, and the header that gives it one where it has none. It is in a cookie that other sites cannot make
 * the browser send, and in the page, which they cannot read. So every process that serves the board can check it.
 */
export function giveToken(request: Request, path: string): { readonly token: string; readonly cookie?: string } {
  const known = tokenOf(request);
  if (known !== undefined) return { token: known };
  const token = [...crypto.getRandomValues(new Uint8Array(32))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
  const secure = new URL(request.url).protocol === "https:" ? "; Secure" : "";
  return { token, cookie: `${COOKIE}=${token}; Path=${path || "/"}; HttpOnly; SameSite=Strict${secure}` };
}

/**
 * Why a request may change nothing; `undefined`: it may. A browser has to come from a page of the board, and have its token.
 * Who is no browser has no cookies of anybody's that another site could make use of.
 */
export function refusalOf(request: Request): string | undefined {
  const { headers } = request;
  const site = headers.get("sec-fetch-site");
  const origin = headers.get("origin");
  if (site === null && origin === null && headers.get("cookie") === null) return undefined;
  if (site !== null && site !== "same-origin") return "it comes from another site";
  // A browser that says so knows better than we do, behind a proxy.
  if (site === null && origin !== null && hostOf(origin) !== new URL(request.url).host)
    return "it comes from another site";
  const own = tokenOf(request);
  if (own === undefined || !isEqual(headers.get(TOKEN_HEADER) ?? "", own))
    return "it has no token of this board: load the page again";
  return undefined;
}

function hostOf(origin: string): string | undefined {
  try {
    return new URL(origin).host;
  } catch {
    return undefined;
  }
}

/** Takes as long, whatever differs. */
function isEqual(one: string, other: string): boolean {
  let differs = one.length ^ other.length;
  for (let at = 0; at < other.length; at++) differs |= one.charCodeAt(at) ^ other.charCodeAt(at);
  return differs === 0;
}
