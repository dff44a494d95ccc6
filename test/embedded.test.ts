/** Where the file of an app without a broker's URL is, and what is said of one that is likely not to be meant. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { projectFolder } from "../src/embedded.ts";
import { Engine } from "../src/engine.ts";
import { TimeoutError } from "../src/errors.ts";
import { startWorker } from "../src/workers/poll.ts";
import { chain, chord, group, Lovage } from "../src/index.ts";

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "lovage-embedded-")));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
});

function lay(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

test.each([
  ["no package.json", {}, "a/b", "a/b"],
  ["the nearest package.json", { "a/package.json": "{}", "package.json": "{}" }, "a/src", "a"],
  ["workspaces of npm and Yarn", { "package.json": '{ "workspaces": ["a"] }', "a/package.json": "{}" }, "a/src", ""],
  ["workspaces of pnpm", { "pnpm-workspace.yaml": "", "a/package.json": "{}", "a/b/package.json": "{}" }, "a/b", ""],
])("an app's project is found by %s", (_, files, from, expected) => {
  lay(files);
  mkdirSync(join(folder, from), { recursive: true });
  expect(projectFolder(join(folder, from))).toBe(join(folder, expected));
});

/** An engine whose process stands in this folder, and what it has said. */
function engineIn(at: string, env: Record<string, string> = {}, config = {}, Copy = Engine) {
  mkdirSync(join(folder, at), { recursive: true });
  const spy = vi.spyOn(process, "cwd").mockReturnValue(join(folder, at));
  const engine = new Copy(config, { env });
  spy.mockRestore();
  const said: string[] = [];
  engine.warn = (message) => void said.push(message);
  onTestFinished(() => engine.close());
  return { engine, said };
}

test("two packages of a monorepo, and a process that stands deeper, share one file; a path of one's own begins where one stands", () => {
  lay({ "package.json": '{ "workspaces": ["*"] }', "web/package.json": "{}", "worker/package.json": "{}" });
  const urls = ["", "web", "worker/src"].map((at) => engineIn(at).engine.urls.brokerUrl);
  expect(new Set(urls)).toEqual(new Set([`sqlite:///${folder}/.lovage/lovage.db`]));
  const { engine } = engineIn("web", {}, { brokerUrl: "sqlite:///own.db" });
  expect(engine.urls.brokerUrl).toBe(`sqlite:///${folder}/web/own.db`);
});

const PLACE = /tasks and results are kept in \/.*\/\.lovage\/lovage\.db, which nobody sees who does not share it/;

test("in production an app without a broker's URL says so at its first use, once, with the place", async () => {
  const { engine, said } = engineIn("", { NODE_ENV: "production" });
  expect(said).toEqual([]);
  await engine.backend();
  await engine.broker();
  expect(said).toEqual([expect.stringMatching(/NODE_ENV is production/)]);
  expect(said[0]).toMatch(PLACE);
});

test("where a process has several apps, or the package twice, it is said once of each file", async () => {
  const again = "../src/engine.ts?again";
  const { Engine: Other } = (await import(/* @vite-ignore */ again)) as typeof import("../src/engine.ts");
  expect(Other).not.toBe(Engine);
  lay({ "web/package.json": "{}" });
  const env = { NODE_ENV: "production" };
  const engines = [engineIn("", env), engineIn("", env), engineIn("", env, {}, Other), engineIn("web", env, {}, Other)];
  for (const { engine } of engines) await engine.broker();
  expect(engines.map(({ said }) => said.length)).toEqual([1, 0, 0, 1]);
});

test("in a container it does where there is no such file yet, and not where there is", async () => {
  const first = engineIn("", { KUBERNETES_SERVICE_HOST: "10.0.0.1" });
  await first.engine.broker();
  expect(first.said).toEqual([expect.stringMatching(/this is a container, and there is no such file in it yet/)]);
  const second = engineIn("", { KUBERNETES_SERVICE_HOST: "10.0.0.1" });
  await second.engine.broker();
  expect(second.said).toEqual([]);
});

test("who names it is told nothing, and nobody is elsewhere", async () => {
  for (const [env, config] of [
    [{ NODE_ENV: "production" }, { brokerUrl: "sqlite://" }],
    [{ NODE_ENV: "production", LOVAGE_BROKER_URL: "sqlite:///named.db" }, {}],
    [{ NODE_ENV: "development" }, {}],
  ] as const) {
    const { engine, said } = engineIn("", env, config);
    await engine.broker();
    expect(said).toEqual([]);
  }
});

test("brokerUrlRequired refuses an app whose broker nobody has named, at its first use", async () => {
  const { engine } = engineIn("", {}, { brokerUrlRequired: true });
  await expect(engine.broker()).rejects.toThrow(/brokerUrl: is not given, and brokerUrlRequired is true/);
  await expect(engine.backend()).rejects.toThrow(/set LOVAGE_BROKER_URL/);
  const named = engineIn("", { LOVAGE_BROKER_URL: "memory://" }, { brokerUrlRequired: true });
  await expect(named.engine.broker()).resolves.toBeDefined();
});

test("a result that does not come in time says where its task was sent, and who works there", async () => {
  const file = join(folder, "late.db");
  const app = new Lovage("late", { brokerUrl: `sqlite:///${file}`, taskQueues: { celery: {}, slow: {} } });
  onTestFinished(() => app.close());
  const never = app.task("late.never", { queue: "slow" }, () => new Promise(() => {}));
  const late = async (result: { get(options: { timeout: number }): Promise<unknown> }) => {
    const error = await result.get({ timeout: 0.05 }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(TimeoutError);
    return error as TimeoutError;
  };
  const result = await never.delay();
  const nobody = await late(result);
  expect(nobody.where).toEqual({
    broker: `sqlite:// (${file})`,
    queue: "slow",
    before: [],
    workers: [],
    unserved: ["slow"],
    paused: [],
  });
  expect(nobody.message).toMatch(
    /was sent to the queue slow of sqlite:\/\/ \(.*\/late\.db\), where no worker has been seen in the last 30 s: start .* by lovage worker$/,
  );
  await app.control.pause("slow");
  expect((await late(result)).message).toMatch(
    /start .* by lovage worker; and slow is paused, so that no task of it begins: resume by lovage control resume slow, or by app\.control\.resume\(\)$/,
  );
  await app.control.resume("slow");
  const quick = app.task("late.quick", () => 1);
  const other = app.task("late.other", (_before: unknown) => 2);
  app.taskRef("late.elsewhere", { queue: "far" });
  const grouped = await late(await group([quick.s(), never.s()]).delay());
  expect(grouped.message).toMatch(/was sent to the queue (celery|slow) of sqlite:.*, where no worker has been seen/);
  const step = other.s().set({ queue: "given" });
  const chained = await late(await chain(never.si(), app.signature("late.elsewhere"), step).delay());
  expect(chained.where).toMatchObject({ queue: "given", before: ["far", "slow"], unserved: ["given", "far", "slow"] });
  expect(chained.message).toContain(
    `Its queue is given, those of what comes before it: far, slow; the broker is sqlite:// (${file}), where no worker`,
  );
  const waiting = await chord([never.s(), quick.s()], other.s()).delay();
  expect((await late(waiting)).where).toMatchObject({ queue: "celery", before: ["slow", "celery"] });
  const members = Array.from({ length: 3 }, () => never.s());
  expect((await late(await group(members.values()).delay())).where).toMatchObject({ queue: "slow", before: [] });
  const worker = await startWorker(app, { hostname: "one@here", queues: ["celery"], log: () => {} });
  expect((await late(result)).where?.workers).toEqual([]);
  const unknown = await late(app.result("of-last-week"));
  expect(unknown.where).toMatchObject({ queue: undefined, workers: ["one@here"] });
  expect(unknown.message).toMatch(
    /nobody sent, or whose result is older than resultExpires \(86400 s\), is PENDING too$/,
  );
  await vi.waitFor(
    async () =>
      expect((await late(waiting)).message).toContain(
        "where no worker of slow has been seen in the last 30 s: start one with the same broker, as by lovage worker -Q slow",
      ),
    20_000,
  );
  const slow = await startWorker(app, { hostname: "two@here", queues: ["slow"], log: () => {} });
  await vi.waitFor(
    async () => expect((await late(result)).message).toContain("where two@here works: it waits"),
    20_000,
  );
  await vi.waitFor(async () => expect(await result.state()).toBe("STARTED"), 20_000);
  for (const queue of ["celery", "slow"]) await app.control.pause(queue);
  // What was begun goes on.
  expect((await late(result)).message).toContain("where two@here works: it waits for its turn or takes longer");
  const kept = await never.delay();
  const stopped = await late(kept);
  expect(stopped.where).toMatchObject({ queue: "slow", workers: ["two@here"], paused: ["slow"] });
  expect(stopped.message).toMatch(
    /late\.db\); slow is paused, so that .*: resume by lovage control resume slow, or by/,
  );
  expect((await late(waiting)).message).toContain(
    "; celery, slow are paused, so that no task of them begins: resume by lovage control resume celery and lovage control resume slow, or by app.control.resume()",
  );
  for (const queue of ["celery", "slow"]) await app.control.resume(queue);
  expect((await late(kept)).message).toContain("where two@here works: it waits");
  await Promise.all([worker.stop(), slow.abort()]);
});
