/** The commands of `lovage`. */
import { Command } from "commander";
import { EXIT_HELP } from "./exit.ts";
import { unknownCommand } from "./options.ts";
import { VERSION } from "./version.ts";

type Declare = (program: Command) => void;
/** What a command does beside printing. */
type Does = "serves" | "changes";

/**
 * What declares commands, behind their names, in the order of the help. A process loads what its own command needs: of all of it
 * together it would need half a second on a small machine. What serves does more than print, and goes on where nobody reads that any
 * more, or where there is no room for it. So does what changes something: it is not left half done in silence.
 */
const COMMANDS: readonly (readonly [names: readonly string[], load: () => Promise<Declare>, does?: Does])[] = [
  [["init"], async () => (await import("./init.ts")).initCommand, "changes"],
  [["dev"], async () => (await import("./dev.ts")).devCommand, "serves"],
  [["worker"], async () => (await import("./worker.ts")).workerCommand, "serves"],
  [["beat"], async () => (await import("./beat.ts")).beatCommand, "serves"],
  [["call"], async () => (await import("./call.ts")).callCommand],
  [["result"], async () => (await import("./call.ts")).resultCommand],
  [["queues"], async () => (await import("./queues.ts")).queuesCommand],
  [["purge"], async () => (await import("./queues.ts")).purgeCommand, "changes"],
  [["dlq"], async () => (await import("./dlq.ts")).dlqCommand, "changes"],
  [["env"], async () => (await import("./env.ts")).envCommand],
  [["inspect"], async () => (await import("./inspect.ts")).inspectCommand],
  [["status"], async () => (await import("./inspect.ts")).statusCommand],
  [["tasks", "failures", "workflow", "events"], async () => (await import("./history.ts")).historyCommands],
  [["control", "revoke", "retry", "forget"], async () => (await import("./steer.ts")).steerCommands, "changes"],
  [["board"], async () => (await import("./board.ts")).boardCommand, "serves"],
  [["mcp"], async () => (await import("./mcp.ts")).mcpCommand],
  [["child"], async () => (await import("./child.ts")).childCommand, "serves"],
];

export const doesOf = (name = ""): Does | undefined => COMMANDS.find(([names]) => names.includes(name))?.[2];

/**
 * Parsing it throws `CommanderError` for what it does not know, having said so.
 *
 * @param name The command that it is for. Default, and where there is none of that name: all.
 */
export async function createProgram(name?: string): Promise<Command> {
  const program = new Command("lovage")
    .description("Runs and inspects the tasks of a Lovage app.")
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError("(--help shows commands and options)")
    .addHelpText(
      "after",
      `${EXIT_HELP}
LOVAGE_APP replaces -A. LOVAGE_DEBUG=1 shows the stack of an error.
With --json standard output is JSON and nothing else, and what goes wrong is on standard error, as text. Names such as JournalEntry are
those of types in the API reference. Times are in milliseconds since the epoch, or in ISO 8601.

Examples:
  $ lovage worker -A ./tasks.ts -l info
  $ lovage call -A ./tasks.ts tasks.add --args '[1, 2]' --wait 10`,
    );
  // Who asks for the help of a command that is none has most likely mistyped it.
  program.addHelpText("beforeAll", ({ command }) => {
    const [first = "", second = ""] = command.args;
    const asked = first === "help" ? second : first;
    const isNone = command.commands.length > 0 && !command.commands.some((one) => one.name() === asked);
    if (isNone && asked !== "" && asked !== "help" && !asked.startsWith("-")) unknownCommand(command, asked);
    return "";
  });
  const own = COMMANDS.filter(([names]) => name !== undefined && names.includes(name));
  const isVersion = name === "-V" || name === "--version";
  for (const [, load] of own.length > 0 || isVersion ? own : COMMANDS) (await load())(program);
  return program;
}
