/** Takes the place of `@aws-sdk/client-s3` in a function's bundle: what `payloads/s3.ts` uses of it. Objects are texts. */
import { clientOf, command } from "./client.ts";

interface Target {
  readonly Bucket: string;
  readonly Key: string;
}

// By path, as in the SDK's `forcePathStyle`: keys of ours need no escapes.
const path = (input: object): string => `/${(input as Target).Bucket}/${(input as Target).Key}`;

export const S3Client = clientOf({
  name: "S3",
  service: "s3",
  contentType: "application/json",
  stringify: (input) => Buffer.from((input as { readonly Body: Uint8Array }).Body).toString(),
  parse: (text) => (isError(text) ? errorIn(text) : { Body: bytesOf(text) }),
});

export const PutObjectCommand = command("PutObject", path, "PUT");
export const GetObjectCommand = command("GetObject", path, "GET");

/** What S3 says of an error is XML, and no text that is kept is. */
const isError = (text: string): boolean => /^\s*(<\?xml[^>]*>\s*)?<Error>/.test(text);

const errorIn = (text: string) => {
  const [, code] = /<Code>([^<]*)<\/Code>/.exec(text) ?? [];
  const [, message] = /<Message>([^<]*)<\/Message>/.exec(text) ?? [];
  return { code, message };
};

async function* bytesOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

/** A body is sent as a whole. */
export const streams = false;
