/** What a function's first task waits for: its bundle to load, and its first requests. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { type Bundle, bundle, type FakeAws, startFakeAws } from "./bundles.ts";
import { CACHE } from "./cache.ts";
import { check, compare, type Contender } from "./compare.ts";
import { start } from "./processes.ts";

const INVOKE = join(import.meta.dirname, "handlers", "invoke.js");
const BATCH = 10;
/** Packages that are worth a line. */
const SHOWN = 8;

async function first({ file, kind }: Bundle, aws: FakeAws, env: Readonly<Record<string, string>> = {}) {
  aws.take();
  const child = start(process.execPath, [INVOKE, file, kind, "0", "100"], { env: { ...aws.env, ...env } });
  const { importMs, firstMs } = await child.next("cold");
  await child.stop();
  const requests = [...aws.take().values()].reduce((sum, count) => sum + count, 0);
  check(requests > 0 && requests <= 2 * BATCH, `${requests} requests for a batch of ${BATCH}`);
  return { importMs: Number(importMs), firstMs: Number(firstMs) };
}

function contender(name: string, built: Bundle, aws: FakeAws): Contender {
  const compiled = join(CACHE, "compiled", built.kind);
  return {
    name,
    async round() {
      const { importMs, firstMs } = await first(built, aws);
      // The first run of these fills V8's cache, the second has it.
      await first(built, aws, { NODE_COMPILE_CACHE: compiled });
      const cached = await first(built, aws, { NODE_COMPILE_CACHE: compiled });
      return {
        "bundle size": built.bytes / 1000,
        import: importMs,
        "import, compiled before": cached.importMs,
        "first batch": firstMs,
      };
    },
  };
}

export async function cold(): Promise<void> {
  rmSync(join(CACHE, "compiled"), { recursive: true, force: true });
  const bundles = await Promise.all([bundle("lovage"), bundle("bare"), bundle("powertools")] as const);
  const [ours, bare, powertools] = bundles;
  for (const { kind, bytes, packages } of bundles) {
    const shown = packages.slice(0, SHOWN).map(([name, size]) => `${name} ${Math.round(size / 1000)}`);
    console.log(`${kind}: ${Math.round(bytes / 1000)} KB (${shown.join(", ")})`);
  }
  const aws = await startFakeAws();
  try {
    await compare({
      name: "cold",
      work: `a fresh process imports the bundle and answers its first batch of ${BATCH}, two writes a record`,
      metrics: {
        "bundle size": { unit: "KB", better: "less" },
        import: { unit: "ms", better: "less" },
        "import, compiled before": { unit: "ms", better: "less" },
        "first batch": { unit: "ms", better: "less" },
      },
      contenders: [
        contender("Lovage", ours, aws),
        contender("bare handler", bare, aws),
        contender("Powertools", powertools, aws),
      ],
    });
  } finally {
    await aws.close();
  }
}
