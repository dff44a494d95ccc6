/** `lovage board`: the board of an app in a browser. */
import { once } from "node:events";
import { type Command, InvalidArgumentError, Option } from "commander";
import { harmlessLine } from "../brief.ts";
import { stopped } from "./exit.ts";
import { loadSharedApp } from "./load.ts";
import { appOption, parseCount, parseSeconds } from "./options.ts";
import { print } from "./output.ts";
import type { Listening } from "./serve-board.ts";

interface BoardCommandOptions extends Listening {
  readonly app: string;
}

export function boardCommand(program: Command): void {
  program
    .command("board")
    .description("show queues, tasks, failures and schedules in a browser, and act on them")
    .addOption(appOption())
    .addOption(new Option("--port <port>", "port of the board; 0: a free one").argParser(parsePort).default(5555))
    .addOption(new Option("--host <address>", "address on which it listens").default("127.0.0.1"))
    .addOption(
      new Option(
        "--auth <user:password>",
        "name and password for the board; required if other machines can reach it",
      ).env("LOVAGE_BOARD_AUTH"),
    )
    .option("--base-path <path>", "path under which a reverse proxy offers it, such as /tools/lovage")
    .option("--read-only", "show everything, change nothing", false)
    .addOption(
      new Option("--refresh <seconds>", "how often an open page asks for changes (default: 2, on AWS 60)").argParser(
        parseSeconds,
      ),
    )
    .addHelpText(
      "after",
      `
Exit codes: 0 after SIGTERM, Ctrl-C, SIGHUP or SIGUSR2, 1 after a second one or a fault, 2 wrong usage (option, module or setting).

Examples:
  $ lovage board -A ./tasks.ts
  $ LOVAGE_BOARD_AUTH=anna:… lovage board -A ./tasks.ts --host 0.0.0.0 --read-only`,
    )
    .action(async (options: BoardCommandOptions) => {
      const stop = stopped();
      // Other commands do without what serves it.
      const { serveBoard } = await import("./serve-board.ts");
      await using app = await loadSharedApp(options.app, stop);
      const { url, close } = await serveBoard(app, options);
      print(`The board of ${harmlessLine(app.name)}${options.readOnly ? ", read-only" : ""}: ${url} (Ctrl-C ends it)`);
      if (!stop.aborted) await once(stop, "abort");
      await close();
    });
}

export function parsePort(value: string): number {
  const port = parseCount(value);
  if (port < 0 || port > 65_535) throw new InvalidArgumentError("It must be a port, 0 to 65535.");
  return port;
}
