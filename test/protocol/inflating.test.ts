/** What is small as it comes, and large as it is read: in a process of its own, which must outlive it. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const PROGRAM = `
  import { gzipSync } from "node:zlib";
  import { decodeEnvelope, peekEnvelope, salvageMessage } from "./src/protocol/envelope.ts";
  const [, name, megabytes] = process.argv;
  const unit = { arrays: "[],", objects: "{},", text: "xxx" }[name];
  const inner = unit.repeat(Math.floor(megabytes * 2 ** 20 / 3));
  const body = name === "text" ? '[["' + inner + '"],{},{}]' : "[[" + inner + "0],{},{}]";
  const text = JSON.stringify({
    body: gzipSync(body).toString("base64"),
    "content-encoding": "utf-8", "content-type": "application/json",
    headers: { task: "t", id: "id", compression: "application/x-gzip" },
    properties: { body_encoding: "base64" },
  });
  try {
    const { args } = await decodeEnvelope(text, { accept: ["json"] });
    console.log("read", args.length);
  } catch (error) {
    // As a worker does, for the dead letter.
    peekEnvelope(text);
    console.log(error.name, (await salvageMessage(text))?.id ?? "no id", text.length);
  }
`;

async function runIn(heap: number, program: string, ...args: readonly string[]): Promise<string> {
  const node = [`--max-old-space-size=${heap}`, "--import", "./scripts/source.ts", "--input-type=module-typescript"];
  const { stdout } = await promisify(execFile)(process.execPath, [...node, "-e", program, ...args], {
    cwd: new URL("../..", import.meta.url),
  });
  return stdout.trim();
}

const decodeIn = (heap: number, form: string, megabytes: number): Promise<string> =>
  runIn(heap, PROGRAM, form, String(megabytes));

test.each([
  ["arrays", 24],
  ["objects", 24],
  ["text", 60],
])("a process of 256 MB outlives %s of %i MB in a message of a few KB", async (form, megabytes) => {
  expect(await decodeIn(256, form, megabytes)).toMatch(/^DecodeError id \d{4,6}$/);
});

test("what there is room for is read", async () => {
  expect(await decodeIn(256, "text", 4)).toBe("read 1");
});

const KEPT = `
  import { createPayloads } from "./src/payloads/payloads.ts";
  import { keyOf, writePointer } from "./src/protocol/pointer.ts";
  let given = 0;
  async function* endless() {
    for (const piece = new Uint8Array(2 ** 20).fill(120); ; given++) yield piece;
  }
  const payloads = createPayloads({ bucket: "b", prefix: "", get: async () => endless() }, () => "", Date.now);
  const unique = "00000000-0000-4000-8000-000000000000";
  const own = keyOf("", { days: 1, id: "id", length: 2 ** 33, sha256: "0".repeat(64) }, unique);
  for (const key of [own, "kept-by-another-library"]) {
    await payloads.get(writePointer({ bucket: "b", key })).catch((error) => console.log(error.name, given));
  }
`;

test("a process of 256 MB outlives a text that was kept elsewhere, however long it is, and whether its key says so or not", async () => {
  expect(await runIn(256, KEPT)).toMatch(/^DecodeError 0\nDecodeError \d{2,3}$/);
});
