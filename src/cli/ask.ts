/** Questions on the terminal, before what deletes or repeats in bulk. */
import { createInterface } from "node:readline/promises";
import { harmlessLine } from "../brief.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { EXIT } from "./exit.ts";
import { print } from "./output.ts";

/** Whether it may be done. Throws `ImproperlyConfigured` where nobody can be asked. */
export async function ask(question: string, yes: boolean): Promise<boolean> {
  if (yes) return true;
  if (!process.stdin.isTTY)
    throw new ImproperlyConfigured("--yes", "is needed, because nobody can be asked: the input is not a terminal");
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await terminal.question(harmlessLine(`${question} Are you sure? (yes/NO) `))).trim());
  } finally {
    terminal.close();
  }
}

/** Nobody wanted it. */
export function declined(): void {
  print("Nothing was done.");
  process.exitCode = EXIT.failure;
}
