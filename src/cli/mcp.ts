/** `lovage mcp`: the operations of the board for agents, in the Model Context Protocol. */
import { Writable } from "node:stream";
import type { Command } from "commander";
import { loadSharedApp } from "./load.ts";
import { appOption } from "./options.ts";

export function mcpCommand(program: Command): void {
  program
    .command("mcp")
    .description(
      "offer the same as the board to AI agents, by the Model Context Protocol over standard input and output",
    )
    .addOption(appOption())
    .option("--write", "also offer operations that change something: retry, revoke, pause …", false)
    .addHelpText(
      "after",
      `
It needs the package @modelcontextprotocol/sdk beside Lovage.

Exit codes: 0 when its input ends or a signal stops it, 1 after a second one or a fault, 2 wrong usage (option, module or setting).

Examples:
  $ lovage mcp -A ./tasks.ts
  $ claude mcp add lovage -- npx lovage mcp -A ./tasks.ts --write`,
    )
    .action(async (options: { readonly app: string; readonly write: boolean }) => {
      // Standard output is the protocol's: what modules print goes elsewhere.
      const write = process.stdout.write.bind(process.stdout);
      process.stdout.write = process.stderr.write.bind(process.stderr) as typeof process.stdout.write;
      const output = new Writable({ write: (chunk, _, done) => void write(chunk, done) });
      const { serveMcp } = await import("./serve-mcp.ts");
      await using app = await loadSharedApp(options.app);
      await serveMcp(app, options.write, output);
    });
}
