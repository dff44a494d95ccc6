/** Signs what is sent to AWS: by AWS's own signer, the one that the SDK's clients have. */
import { createHash, createHmac } from "node:crypto";
import { SignatureV4 } from "@smithy/signature-v4";
import type { AwsCredentials } from "./connection.ts";

export interface Unsigned {
  /** Default: `POST`. */
  readonly method?: string;
  readonly url: URL;
  readonly body: string;
  /** Names in small letters, without `host`, which is the URL's. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface Scope {
  /** As signatures name it: `sqs`, `dynamodb`, `events`. */
  readonly service: string;
  readonly region: string;
}

type Bytes = string | ArrayBuffer | ArrayBufferView;

/** SHA-256 by Node's own, or with a secret HMAC, as the signer asks for it. */
class Sha256 {
  readonly #hash;
  constructor(secret?: Bytes) {
    this.#hash = secret === undefined ? createHash("sha256") : createHmac("sha256", fed(secret));
  }
  update(data: Bytes): void {
    this.#hash.update(fed(data));
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
  reset(): never {
    throw new Error("each hash is taken once");
  }
}

function fed(data: Bytes): string | Uint8Array {
  if (typeof data === "string") return data;
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
}

/**
 * The headers that a request of one scope is sent with.
 *
 * @param now In milliseconds since the epoch.
 */
export async function signed(
  { method = "POST", url, body, headers }: Unsigned,
  { service, region }: Scope,
  credentials: AwsCredentials,
  now: number,
): Promise<Record<string, string>> {
  // It keeps the keys that it derives by itself, for all signers.
  const signer = new SignatureV4({ service, region, credentials, sha256: Sha256 });
  const { protocol, host, hostname, pathname: path, searchParams } = url;
  const query = Object.fromEntries(searchParams);
  const request = { method, protocol, hostname, path, query, headers: { ...headers, host }, body };
  return (await signer.sign(request, { signingDate: new Date(now) })).headers;
}
