/** AWS's signature of a request, version 4, over what the JSON services need: a body, a path without a query, a few headers. */
import { createHash, createHmac } from "node:crypto";
import type { AwsCredentials } from "./connection.ts";

export interface Unsigned {
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

const ALGORITHM = "AWS4-HMAC-SHA256";
const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex");
const seal = (key: string | Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();

/** Makes the headers that a request of one scope is sent with. The key of a day is derived once. */
export function createSigner({ service, region }: Scope) {
  let known: { readonly secret: string; readonly day: string; readonly key: Buffer } | undefined;

  function keyOf(secret: string, day: string): Buffer {
    if (known?.secret !== secret || known.day !== day) {
      const key = [day, region, service, "aws4_request"].reduce<string | Buffer>(seal, `AWS4${secret}`) as Buffer;
      known = { secret, day, key };
    }
    return known.key;
  }

  /** @param now In milliseconds since the epoch. */
  return function sign(
    { url, body, headers }: Unsigned,
    { accessKeyId, secretAccessKey, sessionToken }: AwsCredentials,
    now: number,
  ): Record<string, string> {
    const time = new Date(now).toISOString().replace(/[-:]|\.\d+/g, "");
    const day = time.slice(0, 8);
    const signed: Record<string, string> = {
      ...headers,
      host: url.host,
      "x-amz-date": time,
      ...(sessionToken && { "x-amz-security-token": sessionToken }),
    };
    const names = Object.keys(signed).sort();
    const list = names.join(";");
    const canonical = `POST\n${url.pathname}\n\n${names.map((name) => `${name}:${signed[name]}\n`).join("")}\n${list}\n${hashOf(body)}`;
    const scope = `${day}/${region}/${service}/aws4_request`;
    const signature = seal(
      keyOf(secretAccessKey, day),
      `${ALGORITHM}\n${time}\n${scope}\n${hashOf(canonical)}`,
    ).toString("hex");
    signed["authorization"] =
      `${ALGORITHM} Credential=${accessKeyId}/${scope}, SignedHeaders=${list}, Signature=${signature}`;
    return signed;
  };
}
