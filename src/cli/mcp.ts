/** `lovage mcp`: the operations of the board for agents, in the Model Context Protocol. */
import { PassThrough, pipeline, type Readable, Writable } from "node:stream";
import type { Command } from "commander";
import { stopped } from "./exit.ts";
import { loadSharedApp } from "./load.ts";
import { appOption } from "./options.ts";

/** Who has asked and closed its end, as a pipe does, has its answers if the app loads within so many milliseconds. */
const LAST_LOAD_MS = 10_000;
/** Bytes that wait for a module that loads. */
const MOST_AHEAD = 16 * 1024 * 1024;

/**
 * Takes what is said while the app loads: only so is its end seen. `gone` aborts when nobody is there any more for whom to load.
 * It keeps no process: a module that awaits what never comes ends it as ever.
 */
function readAhead(stdin: NodeJS.ReadStream): { readonly input: Readable; readonly gone: AbortSignal } {
  const gone = new AbortController();
  const input = pipeline(stdin, new PassThrough({ highWaterMark: MOST_AHEAD }), () => {
    setTimeout(() => gone.abort(), LAST_LOAD_MS).unref();
  });
  stdin.unref?.();
  return { input, gone: gone.signal };
}

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
      const stop = stopped();
      const { input, gone } = readAhead(process.stdin);
      const { serveMcp } = await import("./serve-mcp.ts");
      await using app = await loadSharedApp(options.app, AbortSignal.any([stop, gone]));
      process.stdin.ref?.();
      await serveMcp(app, options.write, { input, output, stop });
      // Where its end has not come, it would keep the process.
      input.destroy();
    });
}
