/** `lovage init`: a small project that runs, out of examples/starters. */
import { basename, resolve } from "node:path";
import { type Command, Option } from "commander";
import { ImproperlyConfigured } from "../errors.ts";
import { EXIT } from "./exit.ts";
import { print } from "./output.ts";
import type { Choices } from "./starter.ts";

const WEBS = ["none", "hono", "express", "fastify", "next", "nest"] as const;

interface InitOptions {
  readonly aws?: boolean;
  readonly web?: (typeof WEBS)[number];
  readonly install: boolean;
}

export function initCommand(program: Command): void {
  program
    .command("init")
    .description("write a small project that runs: tasks, a test, scripts")
    .argument("[folder]", "folder of the project; . is this folder. The project gets its name")
    .addOption(
      new Option("--web <framework>", "add a server that sends tasks, reads results and pushes progress").choices(WEBS),
    )
    .option("--aws", "add a stack for the CDK, and an emulator of AWS for this machine")
    .option("--no-aws", "add no stack")
    .option("--no-install", "write the files only")
    .addHelpText(
      "after",
      `
It asks for options that you do not give. Without a terminal it does not ask, and adds only what you give. It overwrites no file.

Exit codes: 0 done, 1 the files are written and could not be installed, 2 wrong usage, 130 after Ctrl-C.

Examples:
  $ npx lovage init shop
  $ npx lovage init shop --web express --aws`,
    )
    .action(async (folder: string | undefined, options: InitOptions) => {
      process.exitCode = await init(folder, options);
    });
}

async function init(folder: string | undefined, options: InitOptions): Promise<number> {
  // Other commands do without.
  const starter = await import("./starter.ts");
  const asked = process.stdin.isTTY && process.stdout.isTTY ? await ask(folder, options, starter.nameFault) : undefined;
  if (asked === "left") return EXIT.interrupted;
  const choices: Choices = asked ?? {
    folder: resolve(folder ?? missingFolder()),
    web: options.web ?? "none",
    aws: options.aws ?? false,
  };
  const files = starter.writeStarter(choices);
  print(`${files.length} files in ${choices.folder}`);
  const manager = starter.packageManager(process.env);
  const isInstalled = options.install && (await starter.install(choices.folder, manager));
  const steps = [
    ...(choices.folder === process.cwd() ? [] : [`cd ${folder ?? basename(choices.folder)}`]),
    ...(isInstalled ? [] : [`${manager} install`]),
    `${manager} run dev`,
    `${manager} test`,
  ];
  if (options.install && !isInstalled)
    print(`${manager} install did not succeed, and has said why above. The files are complete: run it again.`);
  print(`\nNext:\n${steps.map((step) => `  ${step}`).join("\n")}`);
  return options.install && !isInstalled ? EXIT.failure : EXIT.ok;
}

function missingFolder(): never {
  throw new ImproperlyConfigured("init", "which folder? Give its name, as in npx lovage init shop, or . for this one");
}

/** Asks on the terminal for what was not said. `left`: whoever was asked has left. */
async function ask(
  given: string | undefined,
  { web, aws }: InitOptions,
  nameFault: (folder: string) => string | undefined,
): Promise<Choices | "left"> {
  const clack = await import("@clack/prompts");
  const folder =
    given ??
    (await clack.text({
      message: "Which folder?",
      placeholder: "tasks",
      defaultValue: "tasks",
      validate: (value) => nameFault(resolve(value || "tasks")),
    }));
  if (clack.isCancel(folder)) return "left";
  const framework =
    web ??
    (await clack.select({
      message: "With a web server?",
      options: WEBS.map((value) => ({ value, label: value === "none" ? "no" : value })),
    }));
  if (clack.isCancel(framework)) return "left";
  const onAws = aws ?? (await clack.confirm({ message: "With a stack for AWS?", initialValue: false }));
  if (clack.isCancel(onAws)) return "left";
  return { folder: resolve(folder), web: framework, aws: onAws };
}
