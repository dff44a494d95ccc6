/** The commands of `lovage`. */
import { Command } from "commander";
import { beatCommand } from "./beat.ts";
import { boardCommand } from "./board.ts";
import { devCommand } from "./dev.ts";
import { dlqCommand } from "./dlq.ts";
import { envCommand } from "./env.ts";
import { EXIT_HELP } from "./exit.ts";
import { initCommand } from "./init.ts";
import { mcpCommand } from "./mcp.ts";
import { operateCommands } from "./operate.ts";
import { purgeCommand, queuesCommand } from "./queues.ts";
import { callCommand, inspectCommand, resultCommand } from "./tasks.ts";
import { VERSION } from "./version.ts";
import { childCommand, workerCommand } from "./worker.ts";

/** Parsing it throws `CommanderError` for what it does not know, having said so. */
export function createProgram(): Command {
  const program = new Command("lovage")
    .description("Runs and inspects the tasks of a Lovage app.")
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError("(--help shows commands and options)")
    .addHelpText(
      "after",
      `${EXIT_HELP}
LOVAGE_APP replaces -A. LOVAGE_DEBUG=1 shows the stack of an error.

Examples:
  $ lovage worker -A ./tasks.ts -l info
  $ lovage call -A ./tasks.ts tasks.add --args '[1, 2]' --wait 10`,
    );
  initCommand(program);
  devCommand(program);
  workerCommand(program);
  beatCommand(program);
  callCommand(program);
  resultCommand(program);
  queuesCommand(program);
  purgeCommand(program);
  dlqCommand(program);
  envCommand(program);
  inspectCommand(program);
  operateCommands(program);
  boardCommand(program);
  mcpCommand(program);
  childCommand(program);
  return program;
}
