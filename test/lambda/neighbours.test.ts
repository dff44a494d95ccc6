/** What a function that dies costs the others of its batch and its queue, and what it costs to keep that small. */
import { expect, test } from "vitest";
import { eventSource, type Life } from "./event-source.ts";

/** When each task began, in seconds since the test began, and by how many functions. */
function notebook() {
  const begun = new Map<string, number[]>();
  return {
    begun,
    note(name: string, at: number) {
      begun.set(name, [...(begun.get(name) ?? []), at]);
    },
  };
}

test.each([
  { timeLimit: 20, after: 0 },
  { timeLimit: 60, after: 0 },
  { timeLimit: 60, after: 4 },
  { timeLimit: 600, after: 0 },
  { timeLimit: 600, after: 200 },
])(
  "under load, the neighbours of a task that kills its function $after s after it began are taken up within a minute ($timeLimit s)",
  async ({ timeLimit, after }) => {
    const { begun, note } = notebook();
    let start = 0;
    const died: number[] = [];
    const source = eventSource({
      timeout: timeLimit + 10,
      concurrency: 12,
      declare(app, { clock, die }: Life) {
        const at = () => (clock.now() - start) / 1000;
        app.task("shop.work", { timeLimit }, async (name: string, seconds: number) => {
          note(name, at());
          await clock.sleep(seconds * 1000);
          return name;
        });
        app.task("shop.poison", { timeLimit }, async () => {
          await clock.sleep(after * 1000);
          died.push(at());
          return die();
        });
      },
    });
    start = source.clock.now();
    const { app } = source;
    const neighbours = [];
    const poison = await app.sendTask("shop.poison");
    // They run when it dies, or have ended.
    for (let n = 0; n < 9; n++) neighbours.push(await app.sendTask<string>("shop.work", [`neighbour ${n}`, n + after]));
    let others = 0;
    await source.drain(900, async () => {
      // Two batches a second in half a minute: the queue is never empty.
      if (source.clock.now() < start + 30_000)
        for (let n = 0; n < 8; n++) await app.sendTask("shop.work", [`other ${others++}`, 1]);
    });
    const [first = 0] = died;
    expect(first).toBe(after);
    let latest = 0;
    for (const [n, neighbour] of neighbours.entries()) {
      expect(await neighbour.get()).toBe(`neighbour ${n}`);
      // It had ended by then, or was begun once more.
      const [, again = 0, ...more] = begun.get(`neighbour ${n}`) ?? [];
      latest = Math.max(latest, again);
      expect(more).toEqual([]);
    }
    expect(latest).toBeGreaterThan(first);
    expect(latest).toBeLessThanOrEqual(first + 60);
    for (let n = 0; n < others; n++) expect(begun.get(`other ${n}`)).toHaveLength(1);
    await source.drain(3 * (timeLimit + 20) + 3 * after);
    await expect(poison.get()).rejects.toThrow("3 workers died");
    expect(source.deaths).toBe(3);
  },
);

test("tasks that take minutes run once, though others look into the queue all the time", async () => {
  const { begun, note } = notebook();
  const source = eventSource({
    timeout: 610,
    concurrency: 3,
    declare(app, { clock }) {
      app.task("shop.long", { timeLimit: 600 }, async (name: string, seconds: number) => {
        note(name, clock.now());
        await clock.sleep(seconds * 1000);
      });
    },
  });
  const names = ["a", "b", "c", "d"];
  const results = [];
  for (const [n, name] of names.entries()) results.push(await source.app.sendTask("shop.long", [name, 100 * (n + 1)]));
  await source.drain(700);
  for (const result of results) expect(await result.state()).toBe("SUCCESS");
  for (const name of names) expect(begun.get(name)).toHaveLength(1);
  // A heartbeat every ten seconds: one request for the batch, and a write for each task older than ten seconds.
  expect(source.requests.hides).toBeLessThanOrEqual(41);
  expect(source.requests.extends).toBeLessThanOrEqual(10 + 20 + 30 + 40);
});

test("short tasks pay one request for a batch where the function may run for over a minute, and none elsewhere", async () => {
  const costs = async (timeout: number, batchSize: number) => {
    const source = eventSource({
      timeout,
      concurrency: 1,
      batchSize,
      declare: (app) => void app.task("shop.short", () => 1),
    });
    for (let n = 0; n < 10; n++) await source.app.sendTask("shop.short");
    await source.drain(60);
    return source.requests;
  };
  expect(await costs(55, 10)).toEqual({ hides: 0, extends: 0 });
  expect(await costs(610, 1)).toEqual({ hides: 0, extends: 0 });
  expect(await costs(70, 10)).toEqual({ hides: 1, extends: 0 });
});

test("a task that blocks the event loop for minutes runs once where it has no neighbours, and ends well where it has some", async () => {
  const block = async (tasks: number) => {
    let runs = 0;
    const source = eventSource({
      timeout: 310,
      concurrency: 2,
      declare(app, life) {
        app.task("shop.busy", { timeLimit: 300 }, async () => {
          runs++;
          await life.block(200_000);
        });
        app.task("shop.short", () => 1);
      },
    });
    const results = [await source.app.sendTask("shop.busy")];
    for (let n = 1; n < tasks; n++) results.push(await source.app.sendTask("shop.short"));
    await source.drain(900);
    for (const result of results) expect(await result.state()).toBe("SUCCESS");
    return { runs, warned: source.log.some(({ message }) => String(message).includes("batchSize 1")) };
  };
  expect(await block(1)).toEqual({ runs: 1, warned: false });
  // Nobody can tell it from dead. Then it is alone, and left alone.
  expect(await block(3)).toEqual({ runs: 2, warned: true });
});

test("a task that a function died of is the first to run in a queue that is never empty, however its neighbours take", async () => {
  const { begun, note } = notebook();
  const source = eventSource({
    timeout: 70,
    concurrency: 1,
    declare(app, { clock, die }) {
      app.task("shop.work", async (name: string) => {
        note(name, clock.now());
        if (name === "innocent") return;
        await clock.sleep(6000);
      });
      app.task("shop.poison", () => die());
    },
  });
  await source.app.sendTask("shop.poison");
  const innocent = await source.app.sendTask("shop.work", ["innocent"]);
  const start = source.clock.now();
  let others = 0;
  await source.drain(120, async () => {
    for (let n = 0; n < 4; n++) await source.app.sendTask("shop.work", [`other ${others++}`]);
  });
  expect(await innocent.state()).toBe("SUCCESS");
  expect((begun.get("innocent")?.at(-1) ?? 0) - start).toBeLessThanOrEqual(70_000);
});

test("a task that died too often is told so in the first invocation that sees it, whatever that one has to do", async () => {
  const source = eventSource({
    timeout: 70,
    concurrency: 1,
    declare(app, { clock, die }) {
      app.task("shop.work", () => clock.sleep(40_000));
      app.task("shop.poison", () => die());
    },
  });
  const poison = await source.app.sendTask("shop.poison");
  await source.drain(1000, async () => {
    if (source.deaths === 3) for (let n = 0; n < 9; n++) await source.app.sendTask("shop.work");
  });
  expect(source.deaths).toBe(3);
  await expect(poison.get()).rejects.toThrow("3 workers died");
});
