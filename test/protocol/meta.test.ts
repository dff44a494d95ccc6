import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DecodeError, EncodeError, ImproperlyConfigured } from "../../src/errors.ts";
import {
  decodeGroupMeta,
  decodeMeta,
  encodeGroupMeta,
  encodeMeta,
  type Meta,
  type ResultTuple,
} from "../../src/protocol/meta.ts";

const meta = (facts: Partial<Meta> = {}): Meta => ({
  status: "SUCCESS",
  result: 4,
  traceback: null,
  children: [],
  dateDone: "2026-11-23T22:18:21.809380+00:00",
  taskId: "T1",
  ...facts,
});

describe("what is written", () => {
  test("has Celery's keys in Celery's order", () => {
    const extended = {
      name: "add",
      args: [2],
      kwargs: { y: 2 },
      worker: "w",
      retries: 0,
      queue: "celery",
      stampedHeaders: ["tenant"],
      stamps: { tenant: "t1" },
    };
    expect(encodeMeta(meta({ groupId: "G1", parentId: "P1", extended, extra: { mine: 1 } }))).toBe(
      '{"status":"SUCCESS","result":4,"traceback":null,"children":[],"date_done":"2026-11-23T22:18:21.809380+00:00","group_id":"G1","parent_id":"P1",' +
        '"name":"add","args":[2],"kwargs":{"y":2},"worker":"w","retries":0,"queue":"celery","stamped_headers":["tenant"],"tenant":"t1","mine":1,"task_id":"T1"}',
    );
  });

  test("has a date in final states only", () => {
    const dateDone = (status: string) =>
      (
        JSON.parse(
          encodeMeta(meta({ status, result: { exc_type: "E", exc_message: [], exc_module: null } })) as string,
        ) as Record<string, unknown>
      ).date_done;
    expect(["SUCCESS", "FAILURE", "REVOKED"].map(dateDone)).not.toContain(null);
    expect(["STARTED", "RETRY", "PROGRESS"].map(dateDone)).toEqual([null, null, null]);
  });

  test("names the place of a value that cannot travel", () => {
    expect(() => encodeMeta(meta({ result: { rows: [new Map()] } }))).toThrow(/^result\.rows\[0\] is a Map/);
  });

  test.each<[string, Partial<Meta>]>([
    ["a FAILURE that is text", { status: "FAILURE", result: "boom" }],
    ["a FAILURE that is nothing", { status: "FAILURE", result: null }],
    ["a RETRY without a type", { status: "RETRY", result: { exc_message: ["x"] } }],
    ["a REVOKED with an empty type", { status: "REVOKED", result: { exc_type: "" } }],
    ["SystemExit", { status: "FAILURE", result: { exc_type: "SystemExit", exc_message: [3], exc_module: "builtins" } }],
    [
      "a builtin that is no exception",
      { status: "FAILURE", result: { exc_type: "map", exc_message: [], exc_module: "builtins" } },
    ],
    ["a child that is an id alone", { children: ["c1"] }],
    ["a child that is half a tuple", { children: [["c1"]] }],
  ])("is never %s, which Python's readers do not survive", (_, facts) => {
    expect(() => encodeMeta(meta(facts))).toThrow(EncodeError);
  });

  test("may be a RETRY without a reason", () => {
    expect(decodeMeta(encodeMeta(meta({ status: "RETRY", result: null })) as string)).toMatchObject({
      status: "RETRY",
      result: null,
    });
  });
});

test("an absent result is null, so that a reader finds one", () => {
  for (const result of [undefined, { toJSON: () => undefined }]) {
    expect(JSON.parse(encodeMeta(meta({ result })) as string)).toHaveProperty("result", null);
  }
});

test.each([
  {},
  { serializer: "msgpack" },
  { serializer: "yaml" },
  { compression: "gzip" },
  { compression: "zstd", serializer: "msgpack" },
] as const)("a meta stored with %j comes back equal", async (codec) => {
  const stored = meta({
    result: { when: new Date(0), bytes: new Uint8Array([0, 255]), n: 2n ** 60n },
    children: [[["c1", null], null]],
  });
  const payload = await encodeMeta(stored, codec);
  expect(await decodeMeta(payload, codec)).toEqual(stored);
  // As a store gives it back that knows only bytes.
  if (typeof payload === "string") expect(await decodeMeta(new TextEncoder().encode(payload), codec)).toEqual(stored);
});

test("a compressed meta has Celery's mark, and is read whatever the reader's own setting", async () => {
  const payload = (await encodeMeta(meta(), { compression: "gzip" })) as Uint8Array;
  expect(new TextDecoder("latin1").decode(payload)).toMatch(/^\0celery-compressed\0application\/x-gzip\0x/);
  expect(await decodeMeta(payload)).toEqual(meta());
  await expect((async () => encodeMeta(meta(), { compression: "bzip2" }))()).rejects.toThrow(ImproperlyConfigured);
  await expect((async () => encodeMeta(meta(), { compression: "zip" }))()).rejects.toThrow(ImproperlyConfigured);
});

test.each([
  "\0celery-compressed\0",
  "\0celery-compressed\0application/x-gzip",
  "\0celery-compressed\0application/x-gzip\0xx",
  "\0celery-compressed\0application/x-bz2\0BZ",
  "\0",
  "",
  "[]",
  "null",
  "{}",
  '{"status": 1}',
  "\xff",
])("%j is a DecodeError", async (text) => {
  const payload = new Uint8Array(Buffer.from(text, "latin1"));
  await expect((async () => decodeMeta(payload))()).rejects.toThrow(DecodeError);
});

test("what is stored in another way than resultSerializer says is told so", async () => {
  const pickled = new Uint8Array([0x80, 0x04, 0x7d, 0x94]);
  const read = async (serializer: "json" | "yaml" | "msgpack") => decodeMeta(pickled, { serializer });
  for (const serializer of ["json", "yaml", "msgpack"] as const)
    await expect(read(serializer)).rejects.toThrow(`the row cannot be read as ${serializer} (resultSerializer): the `);
});

test("JSON without compression is at hand at once", () => {
  expect(typeof encodeMeta(meta())).toBe("string");
  expect(decodeMeta(encodeMeta(meta()) as string)).toEqual(meta());
});

test("a saved group comes back equal", () => {
  const group: ResultTuple = [
    ["g", [["p", null], null]],
    [
      [["m1", null], null],
      [["g2", null], [[["m2", null], null]]],
    ],
  ];
  expect(encodeGroupMeta(group)).toBe(JSON.stringify({ result: group }));
  expect(decodeGroupMeta(encodeGroupMeta(group) as string)).toEqual(group);
});

test.each([
  "{}",
  '{"result": 4}',
  '{"result": [["g", null], null]}',
  '{"result": [["g", null], ["m"]]}',
  '{"result": [[1, null], []]}',
  "[]",
])("%s is no saved group", (text) => {
  expect(() => decodeGroupMeta(text)).toThrow(DecodeError);
});

test("any JSON is a meta or a DecodeError", () => {
  const member = fc.constantFrom(
    "status",
    "result",
    "traceback",
    "children",
    "date_done",
    "task_id",
    "args",
    "kwargs",
    "retries",
    "stamped_headers",
    "a",
  );
  fc.assert(
    fc.property(fc.dictionary(member, fc.jsonValue({ maxDepth: 2 })), (value) => {
      try {
        const read = decodeMeta(JSON.stringify(value));
        expect(typeof (read as Meta).status).toBe("string");
      } catch (error) {
        expect(error).toBeInstanceOf(DecodeError);
      }
    }),
    { numRuns: 500 },
  );
});
