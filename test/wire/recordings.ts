import { readdirSync, readFileSync } from "node:fs";

const folder = new URL("./recordings/", import.meta.url);

/** The recordings of a folder, by name. */
export function recordings<T>(
  kind: "messages" | "results" | "reads" | "foreign",
): readonly (readonly [name: string, recording: T])[] {
  const path = new URL(`${kind}/`, folder);
  return readdirSync(path)
    .filter((file) => file.endsWith(".json"))
    .map(
      (file) => [file.slice(0, -".json".length), JSON.parse(readFileSync(new URL(file, path), "utf8")) as T] as const,
    );
}

/** An SQS message as Celery sent it. */
export interface RecordedMessage {
  readonly sqsBody: string;
  readonly decoded: {
    readonly body: readonly [unknown[], Record<string, unknown>, Record<string, unknown>] | null;
    readonly "content-type": string;
    readonly headers: Record<string, unknown>;
    readonly properties: Record<string, unknown>;
  };
  readonly bodyText: string | null;
  readonly others?: readonly RecordedMessage[] | null;
}

/** A DynamoDB item. */
export interface RecordedItem {
  readonly result: { readonly B?: string; readonly S?: string };
}

/** The bytes of an item's result, as a backend reads them. */
export const payloadOf = (item: RecordedItem): Uint8Array => new Uint8Array(Buffer.from(item.result.B ?? "", "base64"));
