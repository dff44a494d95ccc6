import { describe, expect, test } from "vitest";
import { DecodeError, MaxRetriesExceededError, NotRegistered, TaskError, TaskRevokedError } from "../../src/errors.ts";
import { dataToError } from "../../src/protocol/exceptions.ts";
import { decodeGroupMeta, decodeMeta, encodeGroupMeta, encodeMeta, type ResultTuple } from "../../src/protocol/meta.ts";
import { Decimal, PlainDate, Uuid } from "../../src/protocol/values.ts";
import { payloadOf, type RecordedItem, recordings } from "./recordings.ts";

interface Stored {
  readonly item: RecordedItem | null;
  readonly meta: Record<string, unknown>;
  readonly resultText: string | null;
  readonly group?: { readonly item: RecordedItem; readonly meta: { readonly result: ResultTuple } };
  readonly others?: readonly Stored[];
}

const all = recordings<Stored>("results").flatMap(([name, recording]) =>
  [recording, ...(recording.others ?? [])].flatMap(({ item, ...rest }, index) =>
    item ? [{ name: index === 0 ? name : `${name}, task ${index + 1}`, item, ...rest }] : [],
  ),
);
const find = (name: string) => {
  const found = all.find((entry) => entry.name === name);
  if (!found) throw new Error(`there is no recording ${name}`);
  return found;
};
const read = async (name: string) => decodeMeta(payloadOf(find(name).item));

/** Text of the value as it is on the wire, so that NaN and long integers can be compared too. */
const members = (text: string): unknown =>
  JSON.parse(
    text.replaceAll(/(?<![\w"])-?(Infinity|NaN)(?![\w"])/g, '"$&"').replaceAll(/(?<![\w".])\d{16,}(?![\w"])/g, '"$&"'),
  );

describe.each(all)("$name", ({ item, resultText, meta }) => {
  test("is read, and written again with Celery's keys in Celery's order", async () => {
    const decoded = await decodeMeta(payloadOf(item));
    const encoded = await encodeMeta(decoded);
    expect(typeof encoded).toBe("string");
    expect(Object.keys(members(String(encoded)) as object)).toEqual(Object.keys(meta));
    if (resultText !== null) expect(members(String(encoded))).toEqual(members(resultText));
    expect(await decodeMeta(encoded)).toEqual(decoded);
  });

  test("says what Python stored", async () => {
    const decoded = await decodeMeta(payloadOf(item));
    expect(decoded).toMatchObject({
      status: meta.status,
      traceback: meta.traceback ?? null,
      children: meta.children ?? null,
      dateDone: meta.date_done ?? null,
      taskId: meta.task_id,
    });
    expect(decoded.groupId).toBe(meta.group_id);
    expect(decoded.parentId).toBe(meta.parent_id);
  });
});

test.each(all.flatMap(({ name, group }) => (group ? [{ name, group }] : [])))(
  "the group of $name is read and written the same",
  async ({ group }) => {
    const tuple = await decodeGroupMeta(payloadOf(group.item));
    expect(tuple).toEqual(group.meta.result);
    expect(JSON.parse(String(await encodeGroupMeta(tuple)))).toEqual(group.meta);
  },
);

test("results of Python's types arrive as values", async () => {
  expect((await read("success-types")).result).toEqual({
    when: new Date("2026-08-20T01:02:03.004Z"),
    naive: new Date("2026-08-20T01:02:03Z"),
    day: new PlainDate("2026-08-20"),
    price: new Decimal("1.10"),
    id: new Uuid("000000000000000000000000000000ff"),
    text: new TextEncoder().encode("abc"),
    raw: new Uint8Array([255, 0]),
  });
  expect((await read("success-non-finite")).result).toEqual([Number.NaN, Number.POSITIVE_INFINITY, 2n ** 60n]);
});

test("a result that Celery 5.7 compressed is read, within the bound", async () => {
  expect((await read("compressed-gzip")).result).toMatch(/^a+$/);
  await expect(
    (async () => decodeMeta(payloadOf(find("compressed-gzip").item), { maxInflatedBytes: 10 }))(),
  ).rejects.toThrow(DecodeError);
});

test("extended metas keep what is beside the result", async () => {
  expect((await read("extended-stamped")).extended).toEqual({
    name: "wire.add",
    args: [2, 2],
    kwargs: {},
    worker: "worker@example",
    retries: 0,
    queue: "celery",
    stampedHeaders: ["tenant"],
    stamps: { tenant: "t1" },
  });
});

test.each([
  ["failure-valueerror", TaskError, "bad, 7"],
  ["failure-with-cause", TaskError, "outer"],
  ["failure-max-retries", MaxRetriesExceededError, undefined],
  ["failure-not-registered", NotRegistered, undefined],
  ["failure-wrong-arguments", TaskError, "add() missing 1 required positional argument: 'y'"],
  ["revoked-expired", TaskRevokedError, "expired"],
] as const)("%s becomes the error it stands for", async (name, type, message) => {
  const { result, traceback, taskId } = await read(name);
  const error = dataToError(result, traceback, taskId);
  expect(error).toBeInstanceOf(type);
  if (message !== undefined) expect(error.message).toBe(message);
  if (traceback !== null) expect(error.stack).toContain(traceback);
});
