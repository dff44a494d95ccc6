import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, test } from "vitest";
import { canvases, canvasRunner, foreignChords } from "../canvas/random-canvas.ts";

const { run, runForeign } = canvasRunner();

/** More by the environment: LOVAGE_CANVASES=5000. */
const RUNS = Number(process.env["LOVAGE_CANVASES"] ?? 1000);
const DEPTH = 3;

describe("random canvases end as an interpreter of a few lines says, as do all their tasks, and call the errbacks that it says", () => {
  test(`${RUNS} of depth ${DEPTH}`, { timeout: 600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(canvases(DEPTH), async (node) => run(node)),
      { numRuns: RUNS, interruptAfterTimeLimit: 500_000 },
    );
  });

  test(`${Math.ceil(RUNS / 3)} of depth 3, on a queue that duplicates, reorders, delays, throttles and loses replies`, {
    timeout: 600_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(canvases(3), fc.nat(1_000_000), async (node, seed) => run(node, seed)),
      { numRuns: Math.ceil(RUNS / 3) },
    );
  });

  test(`${Math.ceil(RUNS / 2)} chords as Python sends them`, { timeout: 600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(foreignChords(3), async (foreign) => runForeign(foreign)),
      { numRuns: Math.ceil(RUNS / 2), interruptAfterTimeLimit: 500_000 },
    );
  });

  test(`${Math.ceil(RUNS / 10)} on SQLite, half of them hostile`, { timeout: 600_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), "lovage-canvas-"));
    let files = 0;
    await fc.assert(
      fc.asyncProperty(canvases(3), fc.option(fc.nat(1_000_000), { nil: undefined }), async (node, seed) => {
        const url = `sqlite:///${join(folder, `${++files}.db`)}`;
        await run(node, seed, { config: { brokerUrl: url, resultBackend: url } });
      }),
      { numRuns: Math.ceil(RUNS / 10) },
    );
    await rm(folder, { recursive: true, force: true });
  });
});
