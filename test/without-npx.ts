/**
 * The CDK starts esbuild by `npx --no-install esbuild`, and npx takes as long as esbuild itself. In the folder that this returns
 * three lines stand for it, of esbuild alone. The tests of the starters, of workspaces, of `npm run smoke:aws` and of the examples'
 * commands have the real one.
 */
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

export function pathWithoutNpx(path = process.env["PATH"] ?? ""): string {
  if (process.platform === "win32") return path;
  // The run's own folder, which is removed with it.
  const programs = join(tmpdir(), "without-npx");
  const npx = join(programs, "npx");
  if (!existsSync(npx)) {
    mkdirSync(programs, { recursive: true });
    const esbuild = join(import.meta.dirname, "../node_modules/.bin/esbuild");
    const script = `#!/bin/sh\n[ "$1 $2" = "--no-install esbuild" ] || exit 127\nshift 2\nexec "${esbuild}" "$@"\n`;
    // Another process of the run may write it too, and one that is being written cannot be run.
    const written = `${npx}-${process.pid}`;
    writeFileSync(written, script, { mode: 0o755 });
    renameSync(written, npx);
  }
  return [programs, path].join(delimiter);
}
