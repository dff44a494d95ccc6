/** Large texts in a bucket of S3. */
import { Readable } from "node:stream";
import { GetObjectCommand, PutObjectCommand, S3Client, streams } from "#aws/s3";
import { clientConfig, parseAwsUrl } from "../aws/connection.ts";
import { translateError } from "../aws/errors.ts";
import { ImproperlyConfigured, OperationalError } from "../errors.ts";
import type { OpenPayloadStore, Pieces } from "./store.ts";

/** For one try of a request, in milliseconds: to the answer's beginning, which waits for the whole of what is put. */
const REQUEST_TIMEOUT_MS = 120_000;
/** Up to here a text is put as one, and can be tried again by the client. In bytes. */
const MAX_WHOLE = streams ? 16 * 1024 * 1024 : Number.POSITIVE_INFINITY;
/** S3's own rule of names; a bucket's name is a host's. */
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

export const open: OpenPayloadStore = (url, { requestHandler }) => {
  const { pathname, hostname: host, search, username, password } = parts(url);
  if (!BUCKET.test(host))
    throw new ImproperlyConfigured("payloadStore", `must name a bucket, as s3://bucket/prefix; given: ${url}`);
  const options = Object.fromEntries(new URLSearchParams(search));
  const asked = parseAwsUrl("payloadStore", `s3://${username === "" ? "" : `${username}:${password}@`}${search}`, {}, [
    "region",
    "endpoint",
  ]);
  const prefix = pathname.replace(/^\/+|\/+$/g, "");
  // What has to be escaped, services read in their own ways.
  if (!/^[\w./-]*$/.test(prefix))
    throw new ImproperlyConfigured(
      "payloadStore",
      `must have letters, digits, "_", "-", "." and "/" after the bucket; given: ${url}`,
    );
  const endpoint = options["endpoint"];
  const settings = { ...asked, requestHandler, ...(endpoint !== undefined && { endpoint }) };
  const client = new S3Client({
    ...clientConfig(settings, REQUEST_TIMEOUT_MS),
    // Where it is a service on this machine, no host is named after a bucket.
    forcePathStyle: true,
    // Length and SHA-256 are in the key: what S3 would add makes of a text that streams a form that not every place reads.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });

  const failed = (error: unknown, action: string, key: string) => {
    const { name } = error as Error;
    const resource = `the object ${key} of the bucket ${host}`;
    if (name === "NoSuchBucket")
      return new OperationalError(`there is no bucket ${host} (payloadStore): make it, or have TaskQueues make one`, {
        retryable: true,
        cause: error,
      });
    if (name === "PermanentRedirect" || name === "AuthorizationHeaderMalformed")
      return new OperationalError(
        `the bucket ${host} is in another region: say so, as in s3://${host}/${prefix}?region=eu-west-1 (payloadStore)`,
        { retryable: true, cause: error },
      );
    return translateError(error, { action, resource });
  };

  return {
    bucket: host,
    prefix: prefix === "" ? "" : `${prefix}/`,
    async put(key, pieces, length) {
      try {
        await client.send(
          new PutObjectCommand({
            Bucket: host,
            Key: key,
            Body: bodyOf(pieces, length),
            ContentLength: length,
            ContentType: "application/json",
          }),
        );
      } catch (error) {
        throw failed(error, "s3:PutObject", key);
      }
    },
    async get(key) {
      try {
        const { Body } = await client.send(new GetObjectCommand({ Bucket: host, Key: key }));
        return reading((Body ?? []) as AsyncIterable<Uint8Array>, (error) => failed(error, "s3:GetObject", key));
      } catch (error) {
        if ((error as Error).name === "NoSuchKey") return undefined;
        throw failed(error, "s3:GetObject", key);
      }
    },
    async close() {
      client.destroy();
    },
  };
};

function bodyOf(pieces: Pieces, length: number): Uint8Array | Readable {
  return length <= MAX_WHOLE ? Buffer.concat([...pieces()]) : Readable.from(pieces());
}

async function* reading(
  body: AsyncIterable<Uint8Array>,
  failed: (error: unknown) => Error,
): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw failed(error);
  }
}

function parts(url: string): URL {
  try {
    return new URL(url);
  } catch (error) {
    throw new ImproperlyConfigured("payloadStore", `must be s3://bucket/prefix; given: ${url}`, { cause: error });
  }
}
