/** A container on ECS says that it is not to be taken away while it runs something long. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { virtualClock } from "lovage/testing";
import { afterEach, expect, test, vi } from "vitest";
import { startProtection } from "../../src/workers/protection.ts";

let server: Server | undefined;
afterEach(() => server?.close());

/** What ECS's agent answers, and what it was told. */
async function agent(answer: object = { protection: { ProtectionEnabled: true } }, status = 200) {
  const told: unknown[] = [];
  server = createServer(async (request, response) => {
    expect(`${request.method} ${request.url}`).toBe("PUT /api/1/task-protection/v1/state");
    told.push(JSON.parse(Buffer.concat(await request.toArray()).toString()));
    response.writeHead(status).end(JSON.stringify(answer));
  });
  await new Promise<void>((done) => server?.listen(0, "127.0.0.1", done));
  return { told, uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/1` };
}

function start(uri: string | undefined) {
  const clock = virtualClock(0);
  const lines: string[] = [];
  const state: { oldest: number | undefined } = { oldest: undefined };
  const stop = startProtection({
    env: { ECS_AGENT_URI: uri },
    clock,
    log: (level, line) => void lines.push(`${level} ${line}`),
    oldest: () => state.oldest,
  });
  /** Lets time pass, and waits until it waits again: all that it asks for has its answer then. */
  async function pass(ms: number): Promise<void> {
    clock.moveTo(clock.now() + ms);
    await vi.waitFor(
      () => {
        if (clock.next() === undefined || (clock.next() as number) <= clock.now()) throw new Error("it is at work");
      },
      { timeout: 30_000, interval: 1 },
    );
  }
  return { clock, lines, state, stop, pass };
}

const ON = { ProtectionEnabled: true, ExpiresInMinutes: 120 };
const OFF = { ProtectionEnabled: false };

test("it is protected from a run's tenth second on, again each hour, until nothing runs", async () => {
  const { told, uri } = await agent();
  const { clock, state, stop, lines, pass } = start(uri);
  state.oldest = clock.now();
  await pass(9_000);
  expect(told).toEqual([]);
  await pass(1_000);
  await expect.poll(() => told).toEqual([ON]);
  for (let minutes = 0; minutes < 65; minutes++) {
    await pass(60_000);
  }
  await expect.poll(() => told).toEqual([ON, ON]);
  // The next one has begun meanwhile: it stays.
  state.oldest = clock.now();
  await pass(10_000);
  state.oldest = undefined;
  await pass(10_000);
  await expect.poll(() => told).toEqual([ON, ON, OFF]);
  stop();
  expect(lines).toEqual([]);
});

test("short runs ask for nothing", async () => {
  const { told, uri } = await agent();
  const { clock, state, stop, pass } = start(uri);
  for (let run = 0; run < 10; run++) {
    state.oldest = clock.now();
    await pass(5_000);
  }
  state.oldest = undefined;
  await pass(60_000);
  expect(told).toEqual([]);
  stop();
});

test.each<[string, object, number, RegExp]>([
  ["a right", { error: { Code: "AccessDeniedException", Message: "not allowed" } }, 400, /AccessDeniedException/],
  ["what ECS refuses", { failure: { Reason: "TASK_NOT_VALID", Detail: "no service" } }, 200, /TASK_NOT_VALID/],
])("without %s it says so once, and the worker runs on", async (_, answer, status, message) => {
  const { told, uri } = await agent(answer, status);
  const { clock, state, stop, lines, pass } = start(uri);
  state.oldest = clock.now();
  for (let beats = 1; beats <= 3; beats++) {
    await pass(10_000);
    await expect.poll(() => told).toHaveLength(beats);
  }
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(message);
  stop();
});

test("without an agent there is nothing to do", async () => {
  const { clock, state, stop, lines } = start(undefined);
  state.oldest = clock.now();
  expect(clock.next()).toBeUndefined();
  stop();
  expect(lines).toEqual([]);
});
