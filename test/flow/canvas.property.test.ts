import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ConfigInput, Lovage } from "../../src/index.ts";
import type { Broker } from "../../src/brokers/broker.ts";
import { hostileBroker, testApp } from "../../src/testing/index.ts";
import {
  canvases,
  defineOps,
  type End,
  endOf,
  endsInGroup,
  interpret,
  type Node,
  opsOf,
} from "../canvas/random-canvas.ts";

const app = new Lovage("random");
const { make } = defineOps(app);
const failures: string[] = [];
const told = app.task("told", (id: string) => void failures.push(id));

/** More by the environment: LOVAGE_CANVASES=5000. */
const RUNS = Number(process.env["LOVAGE_CANVASES"] ?? 300);
const DEPTH = 4;

/** A broker that is hostile from some time on. */
function turning(seed: number) {
  let isHostile = false;
  return {
    turn: () => {
      isHostile = true;
    },
    wrap(broker: Broker): Broker {
      const hostile = hostileBroker(broker, seed);
      return new Proxy(broker, { get: (_, name) => Reflect.get(isHostile ? hostile : broker, name) });
    },
  };
}

async function outcomeOf(
  node: Node,
  seed: number | undefined,
  config: ConfigInput = {},
): Promise<{ end: End; told: number }> {
  failures.length = 0;
  const transport = turning(seed ?? 0);
  await using t = testApp(app, {
    config,
    broker: transport.wrap,
    seed: seed ?? 1,
    concurrency: seed === undefined ? 1 : 3,
  });
  for (const { fate, label } of opsOf(node)) if (fate === "revoke") await app.result(`op-${label}`).revoke();
  const result = (await make(node).linkError(told.s()).applyAsync(["in"])) as {
    get(options: object): Promise<unknown>;
  };
  if (seed === undefined) await t.drain();
  else {
    transport.turn();
    await t.advance({ hours: 2 });
  }
  try {
    return { end: { value: await result.get({ timeout: 0 }) }, told: failures.length };
  } catch (error) {
    const { name } = error as Error;
    if (name === "TimeoutError")
      throw new Error(`it hangs: ${(error as Error).message}\n${t.log.map(({ line }) => line).join("\n")}`);
    return { end: name === "TaskRevokedError" ? "revoked" : "failed", told: failures.length };
  }
}

function check(node: Node, { end, told: calls }: { end: End; told: number }): void {
  const expected = interpret(node, "in");
  if (endsInGroup(node) && typeof expected === "string") {
    // Which member's end is seen first is nobody's promise.
    expect(typeof end).toBe("string");
    return;
  }
  // What was revoked stays so, whatever comes before it.
  expect(end).toEqual(endOf(node)?.fate === "revoke" ? "revoked" : expected);
  if (!endsInGroup(node)) expect(calls).toBe(expected === "failed" ? 1 : 0);
}

describe("random canvases end as an interpreter of a few lines says, and call their errbacks once", () => {
  test(`${RUNS} of depth ${DEPTH}`, { timeout: 600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(canvases(DEPTH), async (node) => check(node, await outcomeOf(node, undefined))),
      { numRuns: RUNS, interruptAfterTimeLimit: 500_000 },
    );
  });

  test(`${RUNS / 3} of depth 3, on a queue that duplicates, reorders, delays, throttles and loses replies`, {
    timeout: 600_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(canvases(3), fc.nat(1_000_000), async (node, seed) => check(node, await outcomeOf(node, seed))),
      { numRuns: Math.ceil(RUNS / 3) },
    );
  });

  test(`${Math.ceil(RUNS / 10)} on SQLite, half of them hostile`, { timeout: 600_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), "lovage-canvas-"));
    let files = 0;
    await fc.assert(
      fc.asyncProperty(canvases(3), fc.option(fc.nat(1_000_000), { nil: undefined }), async (node, seed) => {
        const url = `sqlite:///${join(folder, `${++files}.db`)}`;
        check(node, await outcomeOf(node, seed, { brokerUrl: url, resultBackend: url }));
      }),
      { numRuns: Math.ceil(RUNS / 10) },
    );
    await rm(folder, { recursive: true, force: true });
  });
});
