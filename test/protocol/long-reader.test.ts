import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeEnvelope, encodeEnvelope, KeptText } from "../../src/protocol/envelope.ts";
import { longReader, type ReadText } from "../../src/protocol/long-reader.ts";
import { createMessage } from "../../src/protocol/message.ts";
import { Decimal, parseValue, registerType, stringifyValue } from "../../src/protocol/values.ts";

/** What is long here. */
const LEAST = 12;

/** Reads a text in pieces of these lengths, over and over. */
function readIn(text: string, isMessage: boolean, lengths: readonly number[]): ReadText | undefined {
  const reader = longReader(isMessage, LEAST);
  let turn = 0;
  for (let at = 0; at < text.length; ) {
    const length = lengths[turn++ % lengths.length] ?? 1;
    reader.add(text.slice(at, at + length));
    at += length;
  }
  return reader.end();
}

const meant = ({ text, restored }: ReadText): unknown => restored(parseValue(text));

class Note {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
registerType(
  Note,
  "long-reader-note",
  ({ text }) => ({ text }),
  (value) => new Note((value as { readonly text: string }).text),
);

const awkward = fc.string({
  unit: fc.constantFrom("a", "\\", '"', "\n", "\u0001", "é", "😀", "\ud800", "\ufffe", "u", "0"),
});
const leaf = fc.oneof(
  awkward,
  awkward.map((text) => text.repeat(4)),
  fc.uint8Array({ maxLength: 60 }).map((bytes) => new Uint8Array([0xff, ...bytes])),
  fc.constantFrom<unknown>(1, null, true, new Date(0), new Decimal("1.10"), new Uint8Array([65, 66]), '{"body": "['),
  awkward.map((text) => new Note(text.repeat(4))),
);
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    leaf,
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(awkward, tie("value"), { maxKeys: 4, noNullPrototype: true }),
  ),
}));
const pieces = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 5 });

/** As Python's JSON is by default. */
const ascii = (text: string): string =>
  text.replaceAll(/[^\0-\x7f]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);

test("any result is read as it would be as a whole, however its text is cut", () => {
  fc.assert(
    fc.property(value, pieces, fc.boolean(), (given, lengths, isAscii) => {
      const plain = stringifyValue(given);
      const text = isAscii ? ascii(plain) : plain;
      const read = readIn(text, false, lengths);
      if (read !== undefined) expect(meant(read)).toEqual(parseValue(text));
    }),
    { numRuns: 500 },
  );
});

test("any message is read as it would be as a whole, however its text is cut", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(value, { maxLength: 3 }), pieces, fc.boolean(), async (args, lengths, isAscii) => {
      const facts = { id: "an-id", task: "t", contentType: "application/json", compression: null };
      const message = createMessage({
        ...facts,
        args,
        kwargs: { rows: args },
        headers: { note: 'it is 5" long, and more' },
      });
      const plain = await encodeEnvelope(message, 0);
      const text = isAscii ? ascii(plain) : plain;
      const read = readIn(text, true, lengths);
      if (read === undefined) return;
      const options = { accept: ["json"] };
      expect(await decodeEnvelope(new KeptText(read), options)).toEqual(await decodeEnvelope(text, options));
    }),
    { numRuns: 250 },
  );
});

const long = "x".repeat(40);
const raw = new Uint8Array(40).fill(0xff);

test.each<[string, unknown]>([
  ["a text", long],
  ["bytes", raw],
  ["what is beside a number with a tag, and deep", { price: new Decimal("1.10"), rows: [[[[{ raw, long }]]]] }],
])("%s is no part of the text that is left", (_, given) => {
  for (const lengths of [[1], [7], [1000]]) {
    const read = readIn(stringifyValue(given), false, lengths);
    expect(read?.text).not.toContain("xxxx");
    expect(read?.text).not.toContain("////");
    expect(read && meant(read)).toEqual(given);
  }
});

test("what is long in a message's arguments is no part of the text that is left", async () => {
  const facts = { id: "an-id", task: "t", contentType: "application/json", compression: null };
  const text = await encodeEnvelope(createMessage({ ...facts, args: [`"${long}\\`, "short"], kwargs: { raw } }), 0);
  for (const lengths of [[1], [7], [1000]]) {
    const read = readIn(text, true, lengths);
    expect(read?.text).not.toContain("xxxx");
    expect(read?.text).not.toContain("////");
    const message = read && (await decodeEnvelope(new KeptText(read), { accept: ["json"] }));
    expect(message).toMatchObject({ args: [`"${long}\\`, "short"], kwargs: { raw } });
  }
});

test.each<[string, string]>([
  ["a long name", stringifyValue({ [long]: 1 })],
  ["what somebody's own code reads", stringifyValue(new Note(long))],
  ["a tag in other letters", `{"\\u005f_type__": "long-reader-note", "__value__": {"text": "${long}"}}`],
  ["a number of so many digits", stringifyValue(new Decimal("1".repeat(40)))],
  ["bytes in lines", `{"__type__": "base64", "__value__": "${"//8=\\n".repeat(1)}${"////\\n".repeat(20)}"}`],
])("%s is read as a whole", (_, text) => {
  expect(readIn(text, false, [5])).toBeUndefined();
});

test.each([
  ["ends too early", `["${long}`, false],
  ["ends too early in a message", `{"body": "[[\\"${long}"}`, true],
  ["has a bad escape", `["${long}\\x"]`, false],
  ["has an escape that is cut off", `["${long}\\u12"]`, false],
  ["has a control character", `["${long}\n"]`, false],
])("a text that %s is left to who says what is wrong with it", (_, text, isMessage) => {
  for (const length of [1, 9, 1000]) expect(readIn(text, isMessage, [length])).toBeUndefined();
});
