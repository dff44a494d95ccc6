/**
 * `npm run bench`: every bench, or those that are named: `npm run bench -- embedded cold`. With `--profile` the processes of
 * Lovage in `embedded` and `canvas` leave CPU profiles in `.cache/bench/profiles`.
 */
import { PeerMissing } from "./cache.ts";

const BENCHES: Readonly<Record<string, () => Promise<() => Promise<void>>>> = {
  protocol: async () => (await import("./protocol.ts")).protocol,
  client: async () => (await import("./client.ts")).client,
  cold: async () => (await import("./cold.ts")).cold,
  worker: async () => (await import("./worker.ts")).worker,
  growth: async () => (await import("./growth.ts")).growth,
  writers: async () => (await import("./writers.ts")).writers,
  reload: async () => (await import("./reload.ts")).reload,
  pools: async () => (await import("./pools.ts")).pools,
  embedded: async () => (await import("./embedded.ts")).embedded,
  journal: async () => (await import("./journal.ts")).journal,
  cores: async () => (await import("./embedded.ts")).cores,
  canvas: async () => (await import("./canvas.ts")).canvas,
  sqs: async () => (await import("./sqs.ts")).sqs,
  wake: async () => (await import("./wake.ts")).wake,
};

const names = process.argv.slice(2).filter((name) => name !== "--profile");
if (process.argv.includes("--profile")) process.env["BENCH_PROFILE"] = "on";
const unknown = names.filter((name) => !(name in BENCHES));
if (unknown.length > 0) {
  console.error(`There is no bench ${unknown.join(", ")}. There are: ${Object.keys(BENCHES).join(", ")}`);
  process.exit(2);
}
for (const [name, load] of Object.entries(BENCHES)) {
  if (names.length > 0 && !names.includes(name)) continue;
  try {
    await (await load())();
  } catch (error) {
    if (!(error instanceof PeerMissing)) throw error;
    console.error(`${name} cannot run here: ${error.message}`);
    process.exitCode = 1;
  }
}
