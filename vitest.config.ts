import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { sources } from "./scripts/source.ts";

export default defineConfig({
  resolve: {
    alias: [...sources].map(([name, url]) => ({ find: new RegExp(`^${name}$`), replacement: fileURLToPath(url) })),
  },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "./test/temporary.ts",
    pool: "forks",
    // Threads that a test starts are not Vitest's: they find the sources as scripts do.
    execArgv: ["--import", new URL("./scripts/source.ts", import.meta.url).href],
    // Most of what takes long waits for processes and emulators: two at a time also where there are two cores.
    maxWorkers: 2,
    testTimeout: 10_000,
    hookTimeout: 20_000,
  },
});
