/** Finds the app that a command is for: `-A ./tasks.ts`, `-A ./tasks.ts:export`, `-A @shop/tasks`. */
import { dirname } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Lovage } from "../app.ts";
import { findApp, findModule, nearby, noModule, splitApp, whyNotLoaded } from "../app-module.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { prepareHeartbeat } from "../workers/heartbeat.ts";
import { EXIT, report } from "./exit.ts";
import { startAhead } from "./heartbeat-ahead.ts";
import { complain } from "./output.ts";
import { beyondNodeIn, useTsx } from "./typescript.ts";

/** A module that has not loaded for so long is spoken of. */
const SLOW_LOAD_MS = 10_000;

/**
 * Loads the app, and the modules that its settings `imports` and `include` name. Throws `ImproperlyConfigured` where the
 * module is not there, throws, or exports no app.
 *
 * @param stop Ends the process while modules load. Nothing is in hand by then, and nothing else ends what their own code awaits.
 */
export async function loadApp(given: string, stop?: AbortSignal): Promise<Lovage> {
  const { path, name } = splitApp(given);
  const file = findModule(path);
  if (file === undefined) throw new ImproperlyConfigured("--app", noModule(path));
  const byTsx = await useTsx(file);
  const app = findApp("--app", await load("--app", path, file, byTsx, stop), path, name);
  for (const specifier of new Set([...app.config.imports, ...app.config.include])) {
    await load("imports", specifier, resolveFrom(file, specifier), byTsx, stop);
  }
  return app;
}

/** The same for commands that reach what other processes do. */
export async function loadSharedApp(given: string, stop?: AbortSignal): Promise<Lovage> {
  const app = await loadApp(given, stop);
  for (const setting of ["brokerUrl", "resultBackend"] as const) {
    if (!app.config[setting].startsWith("memory:")) continue;
    throw new ImproperlyConfigured(
      setting,
      "memory:// exists within one process only, and this command is another process; leave the setting out to use SQLite",
    );
  }
  return app;
}

/** Loads what an app on the embedded file needs, and the project's loader, but nothing of the project: a reload waits for that alone. */
export async function loadAhead(given: string): Promise<void> {
  const file = appFile(given);
  prepareHeartbeat(startAhead());
  await Promise.all([
    import("../brokers/sqlite.ts"),
    import("../results/sqlite.ts"),
    import("../workers/presence.ts"),
    import("../payloads/file.ts"),
    import("../payloads/payloads.ts"),
    // What is wrong with it is said when it is loaded.
    file !== undefined && useTsx(file).catch(() => false),
  ]);
}

/** The file that `-A` names; `undefined`: it is not there. */
export const appFile = (given: string): string | undefined => findModule(splitApp(given).path);

/** Modules named in the settings are found from where the app's own module is. */
function resolveFrom(file: string, specifier: string): string {
  const wanted = fileURLToPath(new URL(specifier, pathToFileURL(file)));
  const found = findModule(wanted) ?? findModule(specifier, dirname(file));
  if (found !== undefined) return found;
  throw new ImproperlyConfigured(
    "imports",
    `there is no module ${specifier} beside ${file}${nearby(wanted, dirname(file))}`,
  );
}

/** Where `process.exit` was called, asked while the process ends; `undefined`: it ends by itself. */
function exitCaller(): string | undefined {
  const frames = (new Error("exit").stack ?? "").split("\n");
  const at = frames.findLastIndex((frame) => /^\s*at (process\.)?exit \(node:/.test(frame));
  return at === -1 ? undefined : frames[at + 1]?.replace(/^.*(\(|\bat )|\)$/g, "");
}

async function load(
  setting: string,
  name: string,
  file: string,
  byTsx: boolean,
  stop: AbortSignal | undefined,
): Promise<Readonly<Record<string, unknown>>> {
  const isKept = process.connected === true;
  // Where the module's own code ends the process, or nothing is left that could bring what it awaits, the command would end as if it were done.
  const endsProcess = (code: number) => {
    const caller = exitCaller();
    // Of an error that nobody caught Node has spoken by now. Who is not kept any more has ended by itself.
    if ((code !== EXIT.ok && caller === undefined) || (isKept && !process.connected)) return;
    const why =
      caller === undefined
        ? "its code ended the process, or awaits at its top what never comes"
        : `its code ended the process by process.exit(${code}), at ${caller}`;
    process.exitCode = report(new ImproperlyConfigured(setting, `${name} could not be loaded: ${why}`));
  };
  const takesLong = () =>
    complain(
      `lovage: ${name} still loads, after ${SLOW_LOAD_MS / 1000} s; perhaps it awaits at its top what does not come`,
    );
  const end = () => {
    process.off("exit", endsProcess);
    process.exit(EXIT.ok);
  };
  process.on("exit", endsProcess);
  if (stop?.aborted) end();
  stop?.addEventListener("abort", end);
  const slow = setTimeout(takesLong, SLOW_LOAD_MS).unref();
  try {
    return await import(pathToFileURL(file).href);
  } catch (error) {
    const beyond = byTsx ? undefined : beyondNodeIn(file, error);
    if (beyond !== undefined) {
      throw new ImproperlyConfigured(
        setting,
        `${name} could not be loaded: ${beyond.construct} (${beyond.file}:${beyond.line}) is more than Node runs by itself. Have it loaded by tsx, which this command uses where a project has it: npm install --save-dev tsx`,
        { cause: error },
      );
    }
    throw new ImproperlyConfigured(setting, `${name} could not be loaded: ${whyNotLoaded(error)}`, { cause: error });
  } finally {
    process.off("exit", endsProcess);
    stop?.removeEventListener("abort", end);
    clearTimeout(slow);
  }
}
