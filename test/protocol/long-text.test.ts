import { describe, expect, test } from "vitest";
import { decodeEnvelope, encodeEnvelope, encodeLong } from "../../src/protocol/envelope.ts";
import { LONG, longText } from "../../src/protocol/long-text.ts";
import { createMessage, type Message } from "../../src/protocol/message.ts";
import { parseValue, stringifyValue } from "../../src/protocol/values.ts";

/** Signs that are escaped once and twice, of two halves, at every place of a piece. */
const awkward = `${'a"\\\n\u0001é😀'.repeat(200_000)}${"x".repeat(LONG)}`;
const bytes = new Uint8Array(LONG + 1).map((_, at) => at * 7);

const messageOf = (args: readonly unknown[], kwargs = {}): Message =>
  createMessage({ id: "an-id", task: "t", args, kwargs, contentType: "application/json", compression: null });

describe("a text that is not made as a whole", () => {
  test.each<[string, unknown]>([
    ["text", awkward],
    ["bytes", bytes],
    ["several of both, in lists and objects", { rows: [awkward, { more: awkward, small: "x" }], raw: bytes, n: [1] }],
  ])("is in all its pieces what it would be: %s", (_, value) => {
    const long = longText(value, 1, stringifyValue);
    expect(long?.marked.length).toBeLessThan(1000);
    const text = [...(long?.pieces() ?? [])].join("");
    expect(text.length).toBeGreaterThan(LONG);
    expect(text === stringifyValue(value)).toBe(true);
  });

  test("is not one where nothing is long", () => {
    expect(longText({ a: ["x".repeat(LONG - 1)] }, 1, stringifyValue)).toBeUndefined();
  });

  test("a message is read as any other, by its pieces and by its marks", async () => {
    const message = messageOf([awkward, "short"], { raw: bytes });
    const long = encodeLong(message, 0);
    if (long === undefined) throw new Error("it is long");
    const whole = [...long.pieces()].join("");
    expect(whole === (await encodeEnvelope(message, 0))).toBe(true);
    const { args, kwargs } = long.restored(await decodeEnvelope(long.marked, { accept: ["json"] }));
    expect(args[0] === awkward && args[1] === "short").toBe(true);
    expect(Buffer.compare(kwargs["raw"] as Uint8Array, bytes)).toBe(0);
  });

  test("what the caller does to bytes later changes nothing", () => {
    const own = bytes.slice();
    const long = longText([own], 1, stringifyValue);
    own.fill(0);
    const [read] = parseValue([...(long?.pieces() ?? [])].join("")) as [Uint8Array];
    expect(Buffer.compare(read, bytes)).toBe(0);
  });
});
