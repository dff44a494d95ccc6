/** `lovage beat plan`, `list` and `clear`: what beat will do, what was put at run time, and the end of that. */
import type { Command } from "commander";
import { harmlessLine } from "../brief.ts";
import type { Lovage } from "../app.ts";
import { type EntryPlan, planOf } from "../beat/plan.ts";
import { besideDeclared, type StoredEntries } from "../beat/store.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { beatEntries } from "../workers/beat.ts";
import { EXIT_HELP } from "./exit.ts";
import { loadSharedApp } from "./load.ts";
import { jsonOption, parseCount } from "./options.ts";
import { complain, print, printTable, toJson, when } from "./output.ts";

interface PlanCommandOptions {
  readonly app: string;
  readonly days: number;
  readonly aroundDst: boolean;
  readonly json: boolean;
}

/** Adds them below `lovage beat`, whose option `-A` is theirs too. */
export function beatSubcommands(beat: Command): void {
  beat
    .command("plan")
    .description(
      "show each entry with its next runs, its rule on AWS, the next change of the clock, and warnings about likely mistakes",
    )
    .option("--days <days>", "how many days to look ahead, 1 to 366", parseCount, 14)
    .option("--around-dst", "show the runs before and after the next change of the clock", false)
    .addOption(
      jsonOption(
        "a list of objects with name, task, enabled, schedule, zone, runs (local, utc), rule, change, warnings",
      ),
    )
    .configureHelp({ showGlobalOptions: true })
    .addHelpText("after", EXIT_HELP)
    .action(async (_, command: Command) => {
      const options = command.optsWithGlobals<PlanCommandOptions>();
      if (options.days < 1 || options.days > 366)
        throw new ImproperlyConfigured("--days", `must be from 1 to 366, and is ${options.days}`);
      await using app = await loadSharedApp(options.app);
      const plans = planOf(await allEntries(app), {
        zone: app.config.timezone,
        now: app.engine.clock.now(),
        days: options.days,
        aroundDst: options.aroundDst,
        timeLimit: (task) => timeLimitOf(app, task),
      });
      print(options.json ? toJson(plans, 2) : plans.map(planText).join("\n\n") || "There are no entries.");
    });
  beat
    .command("list")
    .description("list the entries put at run time")
    .addOption(jsonOption("a list of RuntimeEntry"))
    .configureHelp({ showGlobalOptions: true })
    .addHelpText("after", EXIT_HELP)
    .action(async (_, command: Command) => {
      const options = command.optsWithGlobals<{ readonly app: string; readonly json: boolean }>();
      await using app = await loadSharedApp(options.app);
      const entries = readable(await app.beat.stored());
      if (options.json) return print(toJson(entries, 2));
      if (entries.length === 0) return print("No entry was put at run time.");
      const cells = entries.map(({ name, task, enabled, since }) => [
        name,
        task,
        enabled ? "runs" : "paused",
        when(app, since),
      ]);
      printTable([["name", "task", "state", "since"], ...cells]);
    });
  beat
    .command("clear")
    .description("remove all entries put at run time; needed before you destroy a stack")
    .configureHelp({ showGlobalOptions: true })
    .addHelpText("after", EXIT_HELP)
    .action(async (_, command: Command) => {
      await using app = await loadSharedApp(command.optsWithGlobals<{ readonly app: string }>().app);
      const { entries, unreadable } = await app.beat.stored();
      const all = [...entries, ...unreadable];
      if (all.length === 0) print("No entry was put at run time.");
      for (const { name } of all) {
        await app.beat.remove(name);
        print(`Removed ${harmlessLine(name)}.`);
      }
    });
}

/** The entries, after those that cannot be read were told of. */
function readable({ entries, unreadable }: StoredEntries): StoredEntries["entries"] {
  for (const { error } of unreadable) complain(`lovage: ${harmlessLine(error.message)}`);
  return entries;
}

async function allEntries(app: Lovage) {
  const runtime = app.engine.hasBeatStore ? readable(await app.beat.stored()) : [];
  return [...beatEntries(app), ...runtime.map(besideDeclared)];
}

/** The task's own limit, or the app's. */
function timeLimitOf(app: Lovage, name: string): number | undefined {
  const task = app.engine.declared(name);
  return (task && app.engine.optionsOf(task).timeLimit) ?? app.config.taskTimeLimit;
}

function planText({ name, task, zone, runs, rule, change, warnings }: EntryPlan): string {
  return [
    harmlessLine(`${name}: ${task}, ${zone}`),
    ...runs.map(({ local, utc }) => `  ${local}  ${utc}`),
    ...(rule === null ? [] : [`  rule    ${rule}`]),
    ...(change === null
      ? []
      : [
          `  clock   ${change.at.utc}, ${Math.abs(change.minutes)} min ${change.minutes > 0 ? "forward" : "back"}: ${change.effects.join("; ")}`,
        ]),
    ...warnings.map((warning) => `  warning ${harmlessLine(warning)}`),
  ].join("\n");
}
