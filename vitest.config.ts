import { globSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { sources } from "./scripts/source.ts";
import { LongestFirst } from "./test/longest-first.ts";

const STACKS = "test/infra/*.test.ts";
/** What leaves nothing in its process that others would find; what replaces modules or globals does. */
const ALIKE = globSync("test/{beat,brokers,canvas,config,journal,judge,protocol,results,rights,tasks,wire}/*.test.ts", {
  cwd: import.meta.dirname,
  exclude: ["test/protocol/{bytes,compression,serializers}.test.ts"],
});

export default defineConfig({
  resolve: {
    alias: [...sources].map(([name, url]) => ({ find: new RegExp(`^${name}$`), replacement: fileURLToPath(url) })),
  },
  test: {
    projects: [
      { extends: true, test: { name: "tests", include: ["test/**/*.test.ts"], exclude: [STACKS, ...ALIKE] } },
      // To start a process and to evaluate the sources in it takes most of these files longer than their tests.
      { extends: true, test: { name: "alike", include: ALIKE, isolate: false, unstubEnvs: true } },
      // To load the CDK takes seconds, and what these tests do with it leaves nothing behind: they share a process.
      { extends: true, test: { name: "stacks", include: [STACKS], isolate: false } },
    ],
    globalSetup: "./test/temporary.ts",
    pool: "forks",
    // Threads that a test starts are not Vitest's: they find the sources as scripts do.
    execArgv: ["--import", new URL("./scripts/source.ts", import.meta.url).href],
    // Most of what takes long waits for processes and emulators: with fewer files at once, two cores have pauses.
    maxWorkers: 4,
    sequence: { sequencer: LongestFirst },
    // For what never ends: to be slow on a busy machine is no failure. Tests say only what is more than this.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
  },
});
