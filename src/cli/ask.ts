/** Questions on the terminal, before what deletes or repeats in bulk. */
import { createInterface } from "node:readline/promises";
import { harmlessLine } from "../brief.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { EXIT } from "./exit.ts";
import { complain } from "./output.ts";

/** Whether it may be done. Throws `ImproperlyConfigured` where nobody can be asked. */
export async function ask(question: string, yes: boolean): Promise<boolean> {
  if (yes) return true;
  if (!process.stdin.isTTY)
    throw new ImproperlyConfigured("--yes", "is needed, because nobody can be asked: the input is not a terminal");
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const gone = new AbortController();
  terminal.on("SIGINT", () => {
    process.exitCode = EXIT.interrupted;
    gone.abort();
  });
  // By Ctrl-D: without this the question waits for ever in some versions of Node.
  terminal.on("close", () => gone.abort());
  try {
    const asked = harmlessLine(`${question} Are you sure? (yes/NO) `);
    return /^y(es)?$/i.test((await terminal.question(asked, { signal: gone.signal })).trim());
  } catch (error) {
    if (!gone.signal.aborted) throw error;
    // The cursor stands behind the question.
    process.stderr.write("\n");
    return false;
  } finally {
    terminal.close();
  }
}

/** Nobody wanted it. It stands below the question. */
export function declined(): void {
  complain("Nothing was done.");
  process.exitCode ??= EXIT.failure;
}
