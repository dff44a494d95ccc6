/** What a function's first task waits for: its bundle to load, its process to be ready, and its first requests. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { type Bundle, bundle, type FakeAws, startFakeAws } from "./bundles.ts";
import { CACHE } from "./cache.ts";
import { check, compare, type Contender } from "./compare.ts";
import { eventOf } from "./handlers/event.ts";
import { start } from "./processes.ts";
import { coldStart } from "./runtime-api.ts";
import { certificate } from "./tls.ts";

const INVOKE = join(import.meta.dirname, "handlers", "invoke.js");
const BATCH = 10;
const SIZE = 100;
/** Packages that are worth a line. */
const SHOWN = 8;

/** What a bundle costs that is imported and no more, in a process of its own. */
async function imported({ file, kind }: Bundle, env: Readonly<Record<string, string>>) {
  const child = start(process.execPath, [INVOKE, file, kind, "import"], { env });
  const { importMs, importCpuMs } = await child.next("imported");
  await child.stop();
  return { wall: Number(importMs), cpu: Number(importCpuMs) };
}

function contender(name: string, built: Bundle, aws: FakeAws): Contender {
  const cache = join(CACHE, "compiled", built.kind);
  return {
    name,
    async round() {
      const { wall, cpu } = await imported(built, aws.env);
      // The first of these fills V8's cache, the second has it.
      await imported(built, { ...aws.env, NODE_COMPILE_CACHE: cache });
      const compiled = await imported(built, { ...aws.env, NODE_COMPILE_CACHE: cache });
      aws.take();
      const { init, first, cpu: used, answer } = await coldStart(built.file, eventOf(built.kind, BATCH, SIZE), aws.env);
      const { batchItemFailures } = answer as { readonly batchItemFailures: readonly unknown[] };
      check(batchItemFailures.length === 0, `${batchItemFailures.length} records failed`);
      const requests = [...aws.take().values()].reduce((sum, count) => sum + count, 0);
      // One more, to connect, where somebody does that before there is work.
      check(requests > 0 && requests <= 2 * BATCH + 1, `${requests} requests for a batch of ${BATCH}`);
      return {
        "bundle size": built.bytes / 1000,
        import: wall,
        "import, CPU": cpu,
        "import compiled before, CPU": compiled.cpu,
        init,
        "first invocation": first,
        "first result": init + first,
        "CPU until then": used,
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
  const aws = await startFakeAws(certificate());
  const ms = { unit: "ms", better: "less" } as const;
  try {
    await compare({
      name: "cold",
      work: `a function is started by Lambda's runtime client and answers its first batch of ${BATCH}, two writes a record, over TLS`,
      metrics: {
        "bundle size": { unit: "KB", better: "less" },
        import: ms,
        "import, CPU": ms,
        "import compiled before, CPU": ms,
        init: ms,
        "first invocation": ms,
        "first result": ms,
        "CPU until then": ms,
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
