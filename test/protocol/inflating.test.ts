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

async function decodeIn(heap: number, form: string, megabytes: number): Promise<string> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [
      `--max-old-space-size=${heap}`,
      "--import",
      "./scripts/source.ts",
      "--input-type=module-typescript",
      "-e",
      PROGRAM,
      form,
      String(megabytes),
    ],
    { cwd: new URL("../..", import.meta.url) },
  );
  return stdout.trim();
}

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
