import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { sources } from "./scripts/source.ts";

export default defineConfig({
  resolve: {
    alias: [...sources].map(([name, url]) => ({ find: new RegExp(`^${name}$`), replacement: fileURLToPath(url) })),
  },
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    testTimeout: 10_000,
    hookTimeout: 20_000,
  },
});
