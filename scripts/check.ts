/** All that is checked without running anything, at once: each alone leaves cores idle. What one has to say comes when it ends. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";

const CHECKS = ["lint", "typecheck", "knip", "package"];

const codes = await Promise.all(
  CHECKS.map(async (name) => {
    const child = spawn("npm", ["run", "--silent", name], {
      stdio: ["ignore", "pipe", "pipe"],
      shell: process.platform === "win32",
    });
    const said = Promise.all([text(child.stdout), text(child.stderr)]);
    const [code] = (await once(child, "close")) as [number | null];
    process.stdout.write(`\n> npm run ${name}\n${(await said).join("")}`);
    return code;
  }),
);
const failed = CHECKS.filter((_, index) => codes[index] !== 0);
if (failed.length > 0) {
  console.error(`\nnot as it must be: ${failed.map((name) => `npm run ${name}`).join(", ")}`);
  process.exitCode = 1;
}
