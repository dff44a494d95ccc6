/** What `bin/lovage.js` runs. */
import { CommanderError } from "commander";
import { EXIT, report } from "./exit.ts";
import { appLast, helpLast } from "./options.ts";
import { createProgram, doesOf } from "./program.ts";

const argv = helpLast(appLast(process.argv));

for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    const does = doesOf(argv[2]);
    if (does === "serves") return;
    // Who reads has enough, as `head` in `lovage events | head`. Else what was asked for is not all there, as on a full disk.
    if (error.code !== "EPIPE") process.exitCode = stream === process.stdout ? report(error) : EXIT.failure;
    if (does === undefined) process.exit();
  });
}

try {
  const program = await createProgram(argv[2]);
  await program.parseAsync(argv);
} catch (error) {
  // Commander has said what is wrong.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  else process.exitCode = report(error);
}
