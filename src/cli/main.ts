/** What `bin/lovage.js` runs. */
import { CommanderError } from "commander";
import { EXIT, report } from "./exit.ts";
import { appLast } from "./options.ts";
import { createProgram, isServing } from "./program.ts";

const argv = appLast(process.argv);

for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (isServing(argv[2])) return;
    // Who reads has enough, as `head` in `lovage events | head`. Else what was asked for is not all there, as on a full disk.
    process.exit(error.code === "EPIPE" ? undefined : stream === process.stdout ? report(error) : EXIT.failure);
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
