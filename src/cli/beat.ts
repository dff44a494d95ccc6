/** `lovage beat`: sends what `beatSchedule` says, when it says. */
import type { Command } from "commander";
import { LovageError } from "../errors.ts";
import { watchRemoved } from "../file-identity.ts";
import { beat, beatEntries } from "../workers/beat.ts";
import type { LogLevel } from "../workers/log.ts";
import { beatSubcommands } from "./beat-plan.ts";
import { report, stopped } from "./exit.ts";
import { loadSharedApp } from "./load.ts";
import { appOption, logOptions, unknownCommand } from "./options.ts";
import { createLog, type LogFormat, redirectPrints } from "./output.ts";

/** So often, in milliseconds, beat looks whether its file is still there. */
const LOOK_MS = 5_000;

export interface BeatCommandOptions {
  readonly app: string;
  readonly loglevel: LogLevel;
  readonly logFormat: LogFormat;
}

export function beatCommand(program: Command): void {
  const command = program.command("beat").description("send scheduled tasks until a signal stops it");
  beatSubcommands(command);
  command.addOption(appOption());
  for (const option of logOptions()) command.addOption(option);
  command
    .addHelpText(
      "after",
      `
You may run several beats for one app. They send a task with the same id, so it runs once.

Exit codes: 0 after SIGTERM, Ctrl-C, SIGHUP or SIGUSR2, 1 after a second one or a fault, 2 wrong usage (option, module, setting or task).

Examples:
  $ lovage beat -A ./tasks.ts
  $ lovage beat -A ./tasks.ts -l debug --log-format json`,
    )
    .allowExcessArguments()
    .action(async (options: BeatCommandOptions) => {
      const [unknown] = command.args;
      if (unknown !== undefined) unknownCommand(command, unknown);
      const stop = stopped();
      try {
        await startBeat(options, stop);
      } catch (error) {
        process.exitCode = report(error, options.loglevel === "debug");
      }
    });
}

/** Loads the app and is its beat until the signal aborts. */
export async function startBeat(options: BeatCommandOptions, signal: AbortSignal, ready?: () => void): Promise<void> {
  const log = createLog({ ...options, process: "Beat" });
  if (options.logFormat === "json") redirectPrints(log);
  await using app = await loadSharedApp(options.app, signal);
  const entries = beatEntries(app);
  log("info", `beat: Starting... ${entries.length} entries, time zone ${app.config.timezone}`);
  ready?.();
  const gone = new AbortController();
  const removed = watchRemoved(Object.values(app.engine.urls));
  const looking = setInterval(() => {
    const path = removed();
    if (path !== undefined)
      gone.abort(
        new LovageError(`beat stops: the file ${path} was removed or replaced while it used it; start it again`),
      );
  }, LOOK_MS);
  try {
    await beat(app, { log, signal: AbortSignal.any([signal, gone.signal]) });
  } finally {
    clearInterval(looking);
  }
  if (!signal.aborted) gone.signal.throwIfAborted();
  log("info", "beat: Stopped.");
}
