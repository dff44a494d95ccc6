/** Makes `docs/reference/command-line.md` from what the commands say of themselves; a test compares. */
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { createProgram } from "../src/cli/program.ts";

export const COMMAND_LINE_PAGE = fileURLToPath(new URL("../docs/reference/command-line.md", import.meta.url));

/** A command and those below it, in the order of `--help`; hidden ones are nobody's business. */
function visible(command: Command, path: string): readonly (readonly [path: string, command: Command])[] {
  const shown = command
    .createHelp()
    .visibleCommands(command)
    .filter((inner) => inner.name() !== "help");
  return [[path, command], ...shown.flatMap((inner) => visible(inner as Command, `${path} ${inner.name()}`))];
}

function helpOf(command: Command): string {
  const parts: string[] = [];
  command.configureOutput({ writeOut: (part) => void parts.push(part), getOutHelpWidth: () => 100 });
  command.outputHelp();
  return parts.join("").trim();
}

export async function commandLinePage(): Promise<string> {
  const sections = visible(await createProgram(), "lovage").map(
    ([path, command]) => `## ${path}\n\n\`\`\`text\n${helpOf(command)}\n\`\`\``,
  );
  return `# Command line

<!-- Made by scripts/command-line-page.ts from src/cli; edit that. -->

${sections.join("\n\n")}
`;
}

if (import.meta.main) await writeFile(COMMAND_LINE_PAGE, await commandLinePage());
