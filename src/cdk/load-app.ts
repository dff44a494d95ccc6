/** The app that a stack deploys, loaded so that what goes wrong is told in terms of the stack. */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import type { Lovage } from "../app.ts";
import { findApp, findModule, noModule, splitApp, whyNotLoaded } from "../app-module.ts";
import { beyondNodeIn } from "../cli/typescript.ts";
import { ImproperlyConfigured, LovageError } from "../errors.ts";

const require = createRequire(import.meta.url);

/**
 * Loads the app of a module: `loadApp("tasks.ts")`, or `loadApp("tasks.ts:shop")` where it exports several. It is the app that
 * an `import` of the module gives. Where the module cannot be loaded, the error says what synth wants of it, and what to do.
 *
 * @param module A path, read from where `cdk` runs as entries are. Its ending may be left out. It may also be a folder or a package.
 * @throws ImproperlyConfigured where there is no such module, it throws, has an `await` at its top, or exports no app.
 */
export function loadApp(module: string): Lovage {
  const { path, name } = splitApp(module);
  const file = findModule(path);
  if (file === undefined) throw new ImproperlyConfigured("app", noModule(path, ": paths are read from where cdk runs"));
  return findApp("app", load(path, file), path, name);
}

function load(path: string, file: string): Readonly<Record<string, unknown>> {
  try {
    return require(file) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    if ((cause as { readonly code?: unknown } | null)?.code === "ERR_REQUIRE_ASYNC_MODULE")
      throw new ImproperlyConfigured(
        "app",
        `${path} has an await at its top, or imports what has one: import the app in place of loadApp, or put the app into a module without the tasks' code (${WHERE})`,
        { cause },
      );
    const beyond = beyondNodeIn(file, cause);
    if (beyond !== undefined)
      throw new ImproperlyConfigured(
        "app",
        `${path} could not be loaded: ${beyond.construct} (${beyond.file}:${beyond.line}) is more than Node runs by itself. Have cdk run the stack by tsx ("app": "npx tsx app.ts" in cdk.json), and import the app in place of loadApp`,
        { cause },
      );
    throw new ImproperlyConfigured("app", `${path} could not be loaded: ${whyNotLoaded(cause)}. ${WHY} ${WHAT_TO_DO}`, {
      cause,
    });
  }
}

const WHERE = '"Without the tasks\' code" in docs/how-to/deploy.md';
const WHY =
  "Synth runs no task, but loads the module in which tasks are declared: their queues, time limits, rate limits and schedules are what it deploys.";
const WHAT_TO_DO = `What tasks need when they run (DATABASE_URL, sharp), have them ask for within their functions: await import("sharp") there, not at the top of a module. Or put the app into a module without the tasks' code, declare them there by app.taskRef(name, options), and load that one (${WHERE})`;

/**
 * Whether an error was thrown while a module was being loaded that the process's first one imports: its stack then goes
 * through Node's loader before it comes to the first one, or does not come there at all.
 */
export function isOfLoading(stack: string, first: string): boolean {
  const frames = stack.split("\n").filter((line) => /^ +at /.test(line));
  const end = frames.findIndex((line) => line.includes(first) || line.includes(pathToFileURL(first).href));
  return frames.slice(0, end === -1 ? undefined : end).some((line) => line.includes("node:internal/modules/"));
}

// A stack may import the module of the tasks itself. Where that throws nothing of the stack runs any more, and Node shows the
// error: in a process that `cdk` has started, what synth wants of the module is said before it.
if (process.env["CDK_OUTDIR"] !== undefined)
  process.on("uncaughtExceptionMonitor", (error: unknown) => {
    const [, first] = process.argv;
    if (!(error instanceof Error) || error instanceof LovageError || first === undefined) return;
    if (isOfLoading(error.stack ?? "", first))
      console.error(
        `A module of the stack could not be loaded, by the error below. Is it one that tasks need? ${WHY} ${WHAT_TO_DO}\n`,
      );
  });
