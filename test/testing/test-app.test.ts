/** What a task does to its process, and what is given as an app. */
import { ImproperlyConfigured, Lovage } from "lovage";
import { createBoard } from "lovage/board";
import { createBeatHandler, createWorkerHandler } from "lovage/lambda";
import { instrument } from "lovage/otel";
import { testApp } from "lovage/testing";
import { expect, test } from "vitest";

test("a task that calls process.exit() fails, as in a worker, and the test goes on", async () => {
  const app = new Lovage("tests");
  const quit = app.task("quit", () => process.exit(3));
  const later = app.task("later", async () => {
    await new Promise((resolve) => setImmediate(resolve));
    process.exit();
  });
  const add = app.task("add", (a: number, b: number) => a + b);
  await using t = testApp(app);
  const result = await quit.delay();
  await later.delay();
  await add.delay(1, 2);
  const runs = await t.drain();
  expect(runs.map(({ state, error }) => [state, (error as Error | undefined)?.name])).toEqual([
    ["FAILURE", "SystemExit"],
    ["FAILURE", "SystemExit"],
    ["SUCCESS", undefined],
  ]);
  expect(await result.result()).toMatchObject({ name: "SystemExit" });
  expect(t.log.filter(({ line }) => line.includes("was about to end its process"))).toHaveLength(2);
});

test("process.exit is the test's own again when the app is closed, and of what is no task in any case", async () => {
  const app = new Lovage("tests");
  const exited: unknown[] = [];
  const { exit } = process;
  process.exit = ((code: unknown) => void exited.push(code)) as never;
  try {
    const quit = app.task("quit", () => process.exit(3));
    const t = testApp(app);
    await quit.delay();
    await t.drain();
    process.exit(4);
    await t.close();
    await quit.apply();
    expect(exited).toEqual([4, 3]);
  } finally {
    process.exit = exit;
  }
});

const takers: readonly (readonly [what: string, take: (app: Lovage) => unknown])[] = [
  ["testApp", testApp],
  ["createWorkerHandler", createWorkerHandler],
  ["createBeatHandler", createBeatHandler],
  ["createBoard", createBoard],
  ["instrument", instrument],
];
const noApps: readonly (readonly [what: string, given: unknown, said: RegExp])[] = [
  ["nothing, as of a name that a module does not export", undefined, /must be a Lovage app; given: undefined/],
  ["null", null, /given: null/],
  ["a module", Object.freeze(Object.assign(Object.create(null), { app: 1 })), /given: an object of a module/],
  ["a promise of one", Promise.resolve(new Lovage("tests")), /given: an object of Promise.*import\(\) gives a promise/],
];

test.each(
  takers.flatMap(([what, take]) => noApps.map(([given, value, said]) => [what, given, take, value, said] as const)),
)("%s refuses %s as an app", (_, __, take, value, said) => {
  expect(() => take(value as Lovage)).toThrow(ImproperlyConfigured);
  expect(() => take(value as Lovage)).toThrow(said);
});
