/** A disk that takes no more, as a process sees it whose files may have so many bytes. */
import { spawnSync } from "node:child_process";
import { globSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, onTestFinished, test } from "vitest";

const SENDS = `
  import { randomBytes } from "node:crypto";
  import { Lovage } from "lovage";
  // Else the system ends a process whose file grows too large.
  process.on("SIGXFSZ", () => {});
  const app = new Lovage("tasks", { brokerUrl: "memory://full", payloadStore: process.argv[1] });
  const size = app.task("tasks.size", (text) => text.length);
  const error = await size.delay(randomBytes(2 ** 21).toString("base64")).catch((thrown) => thrown);
  const { ready } = await (await app.engine.broker()).size("celery");
  const { name, message, retryable, cause } = error;
  process.stderr.write(JSON.stringify({ name, message, retryable, code: cause?.code, ready }));
  await app.close();
`;

// Windows has no limit of a process's files.
const isWindows = process.platform === "win32";
if (isWindows)
  process.stderr.write("\nSKIPPED: a disk that is full was not tried: Windows cannot limit a file's size.\n\n");

test.skipIf(isWindows)("a disk that is full: the send fails, nothing is sent, and no half is left", () => {
  const folder = mkdtempSync(join(tmpdir(), "lovage-full-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  // More than half of the text has room: 4,096 blocks of 512 bytes.
  const { stderr } = spawnSync(
    "/bin/sh",
    [
      "-c",
      'ulimit -f 4096 && exec "$0" --import ./scripts/source.ts --input-type=module -e "$1" "$2"',
      process.execPath,
      SENDS,
      pathToFileURL(folder).href,
    ],
    { cwd: new URL("../..", import.meta.url), encoding: "utf8" },
  );
  expect(JSON.parse(stderr)).toMatchObject({
    name: "OperationalError",
    retryable: true,
    code: "EFBIG",
    message: expect.stringMatching(/could not be written, at .*see the disk/),
    ready: 0,
  });
  expect(globSync("**/*", { cwd: folder, withFileTypes: true }).filter((entry) => entry.isFile())).toEqual([]);
});
