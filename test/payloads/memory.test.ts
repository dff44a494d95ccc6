/** What is large is not in memory as often as it is passed on. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";

const MB = 1_000_000;
/** `LOVAGE_LARGE_MB=300` is what an export may have, and takes a minute. */
const SIZE = Number(process.env["LOVAGE_LARGE_MB"] ?? 100) * MB;

function processes() {
  const folder = mkdtempSync(join(tmpdir(), "lovage-large-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const url = `sqlite:///${join(folder, "lovage.db")}`;
  /** `heap`: megabytes of memory that texts may take in the process. */
  return async (heap: number, part: string, given: string | number = "") => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        `--max-old-space-size=${Math.floor(heap)}`,
        "--import",
        "./scripts/source.ts",
        "test/payloads/child.ts",
        part,
        url,
        String(given),
      ],
      { cwd: new URL("../..", import.meta.url) },
    );
    return JSON.parse(stdout) as { id: string; state: string; value: unknown; taken: number };
  };
}

// With so many megabytes of heap no three copies have room.
const lessThanThree = (bytes: number): number => (3 * bytes - 64 * MB) / 2 ** 20;

test("a large argument: sending it takes no copy, and a worker has no three", async () => {
  const run = processes();
  const { taken } = await run(lessThanThree(SIZE), "send", SIZE);
  expect(taken).toBeLessThan(SIZE / 2);
  const worked = await run(lessThanThree(SIZE), "work");
  expect(worked.state).toBe("SUCCESS");
  // All of its memory, not only that of its heap.
  expect(worked.taken).toBeLessThan(3 * SIZE);
});

test("a large result, for the worker that made it and for who reads it", async () => {
  const run = processes();
  const { id } = await run(lessThanThree(SIZE), "order", SIZE);
  const worked = await run(lessThanThree(SIZE), "work");
  expect(worked.state).toBe("SUCCESS");
  // The value itself, as bytes and as text.
  expect(worked.taken).toBeLessThan(2.5 * SIZE);
  const read = await run(lessThanThree(SIZE), "read", id);
  expect(read.value).toBe(SIZE);
  expect(read.taken).toBeLessThan(2.5 * SIZE);
});

test("large bytes, which travel as base64: as an argument, and as the result that they come back as", {
  timeout: 240_000,
}, async () => {
  const run = processes();
  const sent = await run(lessThanThree(SIZE), "sendBytes", SIZE);
  // One copy: their owner may change them as soon as they are sent.
  expect(sent.taken).toBeLessThan(1.75 * SIZE);
  expect((await run(lessThanThree(SIZE), "work")).state).toBe("SUCCESS");
  const read = await run(lessThanThree(SIZE), "read", sent.id);
  expect(read.value).toBe(SIZE);
  expect(read.taken).toBeLessThan(3 * SIZE);
});
