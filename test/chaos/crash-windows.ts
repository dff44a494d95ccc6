/**
 * A worker dies between every two steps of a delivery, one run for each place, and another finishes: the outcome is the
 * one it would have been, everything that follows from it is done once, and the message is gone. One suite, for every
 * broker and backend.
 */
import { Reject } from "lovage";
import { describe, expect, test } from "vitest";
import { deadLetterQueue } from "../../src/brokers/broker.ts";
import { redrive, takeDeadLetters } from "../../src/brokers/dead-letters.ts";
import { addTasks, type Ledger, type Scenario, scenarios } from "./crash-scenarios.ts";
import { bear, createLife, type Death, type Ground, type Life, serve, type Step } from "./mortal.ts";

/** The queues of all scenarios. */
export const QUEUES: readonly string[] = ["celery", "orders.fifo"];

/** On what, and how thoroughly. */
export interface Windows {
  /** Each has queues of its own; as many workers die at a time. */
  readonly grounds: () => Promise<readonly Ground[]> | readonly Ground[];
  /** Also where another place leaves the very same behind. Costs twice the time. */
  readonly everywhere: boolean;
}

/** Where to die in a life that took these steps. */
function deathsIn(steps: readonly Step[], everywhere: boolean): readonly Death[] {
  return steps.flatMap(({ among, idle }, step): Death[] => {
    const after: Death = { step, when: "after" };
    const before: Death = { step, when: "before" };
    if (everywhere) return [before, after];
    // Before a step that is alone, all is as it was after the one before it; and who found nothing leaves nothing.
    return [...(among || step === 0 ? [before] : []), ...(idle ? [] : [after])];
  });
}

let runs = 0;

export function describeCrashWindows(name: string, { grounds, everywhere }: Windows): void {
  describe(`on ${name}, a worker dies anywhere in`, () => {
    test.each(scenarios)("$name", async (scenario) => {
      const places = await grounds();
      const [home] = places as readonly [Ground, ...Ground[]];
      const unharmed = await live(home, scenario, undefined);
      const deaths = [...deathsIn(unharmed.steps, everywhere)];
      // Or the enumeration has not begun.
      expect(deaths.length).toBeGreaterThan(2);
      await Promise.all(
        places.map(async (ground) => {
          for (let death = deaths.shift(); death !== undefined; death = deaths.shift())
            await live(ground, scenario, death);
        }),
      );
    });
  });
}

/** Two workers on one ground; the first dies. Says what came of it. */
async function live(ground: Ground, scenario: Scenario, death: Death | undefined): Promise<Life> {
  const run = `run-${++runs}`;
  const queues = ["celery", ...(scenario.queue === undefined ? [] : [scenario.queue])];
  const settings = { taskQueues: Object.fromEntries(queues.map((queue) => [queue, {}])) };
  const ledger: Ledger = { effects: [], runs: new Map() };
  const [first, second] = [createLife(death), createLife(undefined)];
  const [dying, living] = [bear(ground, first, settings), bear(ground, second, settings)];
  addTasks(dying.app, first, ledger);
  addTasks(living.app, second, ledger);
  await scenario.send(living.app, run);
  const has = await Promise.race([
    serve(dying.app, ground, queues).then(() => "ended" as const),
    first.died.then(() => "died" as const),
  ]);
  // What it had asked for may still be done. Its heart no longer beats.
  await first.atRest();
  await serve(living.app, ground, queues);

  const { app } = living;
  const broker = await app.engine.broker();
  const where = `${run}: ${death?.when} step ${death?.step} of ${first.steps.map(({ name }) => name).join(", ")}`;
  expect([where, has]).toEqual([where, death === undefined ? "ended" : "died"]);
  const rows = await Promise.all(
    Object.entries(scenario.rows).map(async ([suffix, [state, ...value]]) => {
      const result = app.result(run + suffix);
      const found = await result.state();
      return {
        expected: [suffix, state, ...value],
        found: [suffix, found, ...(value.length > 0 ? [await result.result()] : [])],
      };
    }),
  );
  expect([where, rows.map(({ found }) => found)]).toEqual([where, rows.map(({ expected }) => expected)]);
  // Who runs again after a death does its own work again; that is one task at most, and under the same id.
  const again = [...ledger.runs.values()].filter((count) => count > 1);
  expect([where, again.length <= (has === "died" ? 1 : 0), again.every((count) => count === 2)]).toEqual([
    where,
    true,
    true,
  ]);
  const effects = new Map(ledger.effects.map(({ id, text }) => [id, text]));
  const texts =
    scenario.queue === undefined
      ? [...effects.values()].sort()
      : [...effects.values()].map((text, index) => (index === 0 ? "retried" : text));
  expect([where, texts]).toEqual([where, scenario.effects]);
  for (const queue of queues) {
    const letters = await broker.receive(deadLetterQueue(queue), { max: 10, wait: 0, visibility: 60_000 });
    const expected = queue === "celery" ? (scenario.dead ?? 0) : 0;
    // The one thing that a death may double: a dead letter, between its sending and the acknowledgement.
    expect([where, Math.min(letters.length, expected), letters.length - expected <= (has === "died" ? 1 : 0)]).toEqual([
      where,
      expected,
      true,
    ]);
    await broker.delete(letters);
    const { ready, delayed, inFlight } = await broker.size(queue);
    expect([where, ready + delayed + inFlight]).toEqual([where, 0]);
  }
  await Promise.all([dying.bury(), living.bury()]);
  return first;
}

/** Letters that are sent back together. */
const LETTERS = 4;
/** So long letters stay hidden that a process had in hand when it died. */
const HIDDEN_MS = 61_000;

/** `lovage dlq redrive` dies anywhere, on every ground, and is started again. */
export function describeRedrive(name: string, { grounds, everywhere }: Windows): void {
  test(`on ${name}, a redrive of dead letters dies anywhere: each runs once, and none is lost`, async () => {
    const places = await grounds();
    const [home] = places as readonly [Ground, ...Ground[]];
    const unharmed = await redriveTwice(home, undefined);
    const deaths = [...deathsIn(unharmed.steps, everywhere)];
    expect(deaths.length).toBeGreaterThan(2 * LETTERS);
    await Promise.all(
      places.map(async (ground) => {
        for (let death = deaths.shift(); death !== undefined; death = deaths.shift()) await redriveTwice(ground, death);
      }),
    );
  });
}

async function redriveTwice(ground: Ground, death: Death | undefined): Promise<Life> {
  const run = `run-${++runs}`;
  const [first, second] = [createLife(death), createLife(undefined)];
  const [dying, living] = [bear(ground, first), bear(ground, second)];
  const { app } = living;
  const ran: string[] = [];
  let broken = true;
  app.task("refuse", (id: string) => {
    if (broken) throw new Reject("no room");
    ran.push(id);
    return id;
  });
  const ids = Array.from({ length: LETTERS }, (_, n) => `${run}-${n}`);
  for (const id of ids) await app.sendTask("refuse", [id], { taskId: id });
  await serve(app, ground, ["celery"]);
  broken = false;

  const sendBack = async ({ app }: typeof dying) => {
    const broker = await app.engine.broker();
    for await (const letter of takeDeadLetters(broker, "celery", {}, { wait: 0 }))
      await redrive(broker, letter, { now: ground.clock.now() });
  };
  const has = await Promise.race([
    sendBack(dying).then(() => "ended" as const),
    first.died.then(() => "died" as const),
  ]);
  await first.atRest();
  const where = `${run}: ${death?.when} step ${death?.step} of ${first.steps.map(({ name }) => name).join(", ")}`;
  expect([where, has]).toEqual([where, death === undefined ? "ended" : "died"]);
  ground.clock.moveTo(ground.clock.now() + HIDDEN_MS);
  await sendBack(living);
  await serve(app, ground, ["celery"]);

  expect([where, ran.toSorted()]).toEqual([where, ids]);
  for (const id of ids) expect([where, await app.result(id).state()]).toEqual([where, "SUCCESS"]);
  const broker = await app.engine.broker();
  const { ready, inFlight } = await broker.size(deadLetterQueue("celery"));
  expect([where, ready + inFlight]).toEqual([where, 0]);
  await Promise.all([dying.bury(), living.bury()]);
  return first;
}
