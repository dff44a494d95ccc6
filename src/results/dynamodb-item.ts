/** Rows as DynamoDB keeps them: an item's attributes and their types. */
import type { AttributeValue } from "@aws-sdk/client-dynamodb";
import type { Payload, Row } from "./backend.ts";
import { addedTo, MEMBER_LENGTH } from "./record.ts";

export type Item = Record<string, AttributeValue>;

/**
 * Every attribute of a row, with its type in DynamoDB. `result`, `timestamp` and `ttl` are Celery's. A row that is hidden has
 * its result in `hidden`, and an empty one in its place: Python then reads that there is none. A join has its members as a
 * set and those added as a list, so that they can be added to unseen.
 */
const TYPES = {
  result: "B",
  timestamp: "N",
  ttl: "N",
  attempt: "N",
  owner: "S",
  lease: "N",
  runs: "N",
  accounted: "S",
  settled: "BOOL",
  done: "BOOL",
  revoked: "S",
  next: "S",
  hidden: "B",
  forgotten: "N",
  again: "N",
  buried: "BOOL",
  redrive: "N",
  kept: "S",
  chord_count: "N",
  members: "SS",
  size: "N",
  added: "L",
} as const satisfies Record<keyof Row, "B" | "N" | "S" | "BOOL" | "SS" | "L">;
export const ATTRIBUTES = Object.keys(TYPES) as readonly (keyof Row)[];

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const bytesOf = (payload: Payload): Uint8Array => (typeof payload === "string" ? encoder.encode(payload) : payload);
const OPENING_BRACE = 0x7b;

export function toAttribute(attribute: keyof Row, value: NonNullable<Row[keyof Row]>): AttributeValue {
  if (typeof value === "number") return { N: String(value) };
  if (typeof value === "boolean") return { BOOL: value };
  return typeof value === "string" && TYPES[attribute] === "S" ? { S: value } : { B: bytesOf(value) };
}

/** The item of a row, without its key. */
export function toItem(row: Row): Item {
  const item: Item = {};
  for (const attribute of ATTRIBUTES) {
    const value = row[attribute];
    if (value !== undefined) item[attribute] = toAttribute(attribute, value);
  }
  if (row.members !== undefined) item["members"] = { SS: hashesIn(row.members) };
  if (row.added !== undefined) item["added"] = { L: addedTo(row).map((id) => ({ S: id })) };
  if (row.hidden && item["result"] !== undefined) {
    item["hidden"] = item["result"];
    item["result"] = { B: new Uint8Array() };
  }
  return item;
}

const hashesIn = (members: string): string[] =>
  Array.from({ length: members.length / MEMBER_LENGTH }, (_, at) =>
    members.slice(at * MEMBER_LENGTH, (at + 1) * MEMBER_LENGTH),
  );

/** The row in an item. One without a result in bytes is none of ours, but for Celery's counter of a chord. */
export function toRow(item: Item | undefined): Row | undefined {
  const result =
    item?.["hidden"]?.B ?? item?.["result"]?.B ?? (item?.["chord_count"] === undefined ? undefined : new Uint8Array());
  if (item === undefined || result === undefined) return undefined;
  const row: Record<string, unknown> = {
    result: result.length === 0 || result[0] === OPENING_BRACE ? decoder.decode(result) : result,
    timestamp: 0,
  };
  for (const attribute of ATTRIBUTES) {
    const value = item[attribute];
    if (attribute === "result" || value === undefined) continue;
    const type = TYPES[attribute];
    if (type === "N" && value.N !== undefined) row[attribute] = Number(value.N);
    if (type === "S" && value.S !== undefined) row[attribute] = value.S;
    if (type === "SS" && value.SS !== undefined) row[attribute] = value.SS.join("");
    if (type === "L" && value.L !== undefined) row[attribute] = JSON.stringify(value.L.map(({ S }) => S));
    if ((type === "BOOL" && value.BOOL) || (attribute === "hidden" && value.B !== undefined)) row[attribute] = true;
  }
  // Each attribute that a row has was read by its type in the table above.
  return row as unknown as Row;
}

export function isSame(row: Row, written: Row | undefined): boolean {
  if (written === undefined) return false;
  return ATTRIBUTES.every((attribute) =>
    attribute === "result" ? isSamePayload(row.result, written.result) : row[attribute] === written[attribute],
  );
}

function isSamePayload(a: Payload, b: Payload): boolean {
  const x = bytesOf(a);
  const y = bytesOf(b);
  return x.length === y.length && x.every((byte, at) => byte === y[at]);
}

/** What DynamoDB counts, in bytes: names in UTF-8, texts and bytes as they are, a number by its digits (21 at most), 1 for a truth value. */
export function sizeOf(id: string, item: Item): number {
  let size = "id".length + sizeOfText(id);
  for (const attribute of ATTRIBUTES) {
    const value = item[attribute];
    if (value !== undefined) size += attribute.length + sizeOfValue(value);
  }
  return size;
}

/** Of a short text the most that it could be: it is only to be known whether a row is too large. */
const sizeOfText = (text: string): number => (text.length < 64 ? 3 * text.length : encoder.encode(text).length);

function sizeOfValue({ B, N, S, SS, L }: AttributeValue): number {
  if (B !== undefined) return B.length;
  if (N !== undefined) return 21;
  if (S !== undefined) return sizeOfText(S);
  if (SS !== undefined) return SS.length * MEMBER_LENGTH;
  // A list and each of its members have a byte more.
  if (L !== undefined) return L.reduce((size, value) => size + 1 + sizeOfValue(value), 3);
  return 1;
}
