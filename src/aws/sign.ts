/**
 * Signs what is sent to AWS: Signature Version 4, as far as requests need it whose headers we write ourselves. AWS's own
 * signer does the same with presigned URLs, event streams and streams of bytes, 15 KB in every function's bundle; the tests
 * compare with what the SDK's clients send.
 */
import { createHash, createHmac } from "node:crypto";
import type { AwsCredentials } from "./connection.ts";

export interface Unsigned {
  /** Default: `POST`. */
  readonly method?: string;
  readonly url: URL;
  readonly body: string;
  /** Names in small letters, without `host`, which is the URL's. All of them are signed. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface Scope {
  /** As signatures name it: `sqs`, `dynamodb`, `events`. */
  readonly service: string;
  readonly region: string;
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const hmac = (key: string | Uint8Array, text: string): Uint8Array => createHmac("sha256", key).update(text).digest();

/** In a signature all is escaped but letters, digits and `-_.~`. */
const escaped = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);

/** The keys of a day by what they are derived from: two or three scopes, and after a change of credentials the new ones. */
const keys = new Map<string, Uint8Array>();
const MAX_KEYS = 16;

function keyFor(secret: string, scope: readonly string[]): Uint8Array {
  const name = [secret, ...scope].join(" ");
  const known = keys.get(name);
  if (known !== undefined) return known;
  const key = scope.reduce<string | Uint8Array>(hmac, `AWS4${secret}`) as Uint8Array;
  if (keys.size >= MAX_KEYS) keys.clear();
  keys.set(name, key);
  return key;
}

/**
 * The headers that a request of one scope is sent with.
 *
 * @param now In milliseconds since the epoch.
 */
export function signed(
  { method = "POST", url, body, headers }: Unsigned,
  { service, region }: Scope,
  { accessKeyId, secretAccessKey, sessionToken }: AwsCredentials,
  now: number,
): Record<string, string> {
  const time = new Date(now).toISOString().replace(/[-:]|\.\d+/g, "");
  const contentHash = sha256(body);
  const sent: Record<string, string> = {
    ...headers,
    host: url.host,
    "x-amz-date": time,
    ...(sessionToken === undefined ? {} : { "x-amz-security-token": sessionToken }),
    "x-amz-content-sha256": contentHash,
  };
  const names = Object.keys(sent).sort();
  const signedHeaders = names.join(";");
  const query = [...url.searchParams].map(([name, value]) => `${escaped(name)}=${escaped(value)}`);
  const described = [
    method,
    // What is escaped in a URL is escaped once more.
    url.pathname.replace(/\/+/g, "/").split("/").map(escaped).join("/"),
    query.sort().join("&"),
    ...names.map((name) => `${name}:${sent[name]?.trim().replace(/\s+/g, " ")}`),
    "",
    signedHeaders,
    contentHash,
  ].join("\n");
  const scope = [time.slice(0, 8), region, service, "aws4_request"];
  const text = ["AWS4-HMAC-SHA256", time, scope.join("/"), sha256(described)].join("\n");
  const signature = createHmac("sha256", keyFor(secretAccessKey, scope)).update(text).digest("hex");
  return {
    ...sent,
    authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope.join("/")}, SignedHeaders=${signedHeaders}, Signature=${signature}`,
  };
}
