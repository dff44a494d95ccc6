/** What `bin/lovage.js` runs. */
import { CommanderError } from "commander";
import { EXIT, report } from "./exit.ts";
import { appLast } from "./options.ts";
import { createProgram } from "./program.ts";

try {
  const argv = appLast(process.argv);
  const program = await createProgram(argv[2]);
  await program.parseAsync(argv);
} catch (error) {
  // Commander has said what is wrong.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  else process.exitCode = report(error);
}
