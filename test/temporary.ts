/**
 * All that a run of the tests writes beside the checkout goes below one folder, which is removed when the run ends: the
 * tests' own folders, those of a test that was cut short, and what others make for themselves, such as the CDK for each
 * stack. It is what `os.tmpdir()` gives in the tests and in the processes that they start.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const CACHE = join(import.meta.dirname, "../.cache");
const CHECKOUT = "LOVAGE_TESTS_IN_CHECKOUT";

/** Run by Vitest before its workers start, which take the environment over. */
export default function setup(): () => Promise<void> {
  mkdirSync(CACHE, { recursive: true });
  const folders = [mkdtempSync(join(tmpdir(), "lovage-tests-")), mkdtempSync(join(CACHE, "tests-"))] as const;
  // What `os.tmpdir()` reads, on POSIX and on Windows.
  for (const name of ["TMPDIR", "TEMP", "TMP"]) process.env[name] = folders[0];
  process.env[CHECKOUT] = folders[1];
  // The sources are stripped of their types once, not by each of the processes and threads that the tests start. That is quicker,
  // and the WebAssembly that does it can crash a process of Node 24 whose threads do it at once (nodejs/node#64500).
  process.env["NODE_COMPILE_CACHE"] ??= join(folders[0], "compiled");
  // So are the modules of Python, which takes seconds to compile those of Celery and of LocalStack for each process.
  process.env["PYTHONPYCACHEPREFIX"] = join(folders[0], "compiled-python");
  delete process.env["PYTHONDONTWRITEBYTECODE"];
  // The CDK looks for faults in each template that it makes, for seconds, and no more than warns of them: test/infra/architect.test.ts
  // has it do so, and reads what it finds.
  process.env["CDK_VALIDATION"] = "false";
  // Nor does anybody read where in the code each of a stack's resources was made: to note it is a seventh of the work of a synthesis.
  process.env["CDK_CONTEXT_JSON"] = JSON.stringify({ "aws:cdk:disable-creation-stack-traces": true });
  const all = { recursive: true, force: true, maxRetries: 3 };
  // A run that is interrupted has no end of its own.
  process.once("exit", () => {
    for (const folder of folders) rmSync(folder, all);
  });
  // Vitest ends its workers meanwhile.
  return async () => void (await Promise.all(folders.map((folder) => rm(folder, all))));
}

/** A new folder from which the packages of the checkout resolve. */
export const folderInCheckout = (prefix: string): string => mkdtempSync(join(process.env[CHECKOUT] ?? CACHE, prefix));
