/** What is read once for all who look, what a page does without what cannot be read. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type JournalEntry, Lovage, OperationalError } from "lovage";
import { createBoard } from "lovage/board";
import { describe, expect, onTestFinished, test } from "vitest";
import { createFeed, kept } from "../../src/board/live.ts";

type Board = (request: Request) => Promise<Response>;

const MINUTE = 60_000;

describe("the journal of an hour, followed", () => {
  let now = 100 * MINUTE;
  const entries: JournalEntry[] = [];
  const reads: { readonly from: number }[] = [];
  let isDown = false;
  const feed = createFeed(
    async ({ from, to }) => {
      reads.push({ from });
      const found = entries.filter(({ time }) => time >= from && time < to).sort((a, b) => b.time - a.time);
      return (async function* () {
        yield found;
        if (isDown) throw new Error("throttled");
      })();
    },
    { span: 60 * MINUTE, step: MINUTE, now: () => now },
  );
  const done = (time: number, id: string, state = "SUCCESS") =>
    entries.push({
      kind: "task",
      time,
      id,
      task: "a",
      state,
      runtime: 1,
      ...(state === "FAILURE" && { error: { type: "E", message: `of ${time}` } }),
    });
  const total = async () => (await feed()).steps.reduce((sum, { ended }) => sum + ended, 0);

  test("nothing is counted twice, left out where it was told late, or kept beyond the hour", async () => {
    done(now - 10, "a");
    done(now - 30 * MINUTE, "b", "FAILURE");
    done(now - 70 * MINUTE, "too old");
    isDown = true;
    await expect(feed()).rejects.toThrow("throttled");
    isDown = false;
    expect(await total()).toBe(2);
    expect((await feed()).steps).toHaveLength(60);
    expect(await total()).toBe(2);
    done(now - 20_000, "late");
    done(now, "c", "FAILURE");
    expect(await total()).toBe(4);
    const last = reads.length;
    isDown = true;
    done(now, "d");
    await expect(feed()).rejects.toThrow("throttled");
    isDown = false;
    expect(await total()).toBe(5);
    expect(reads.slice(last).every(({ from }) => from === now - 30_000)).toBe(true);
    const { failures } = await feed();
    expect(failures).toMatchObject([{ task: "a", count: 2, error: { message: "of …" } }]);
    expect(failures[0]?.spark.filter((count) => count > 0)).toEqual([1, 1]);
    now += 45 * MINUTE;
    expect(await total()).toBe(4);
    now -= 10 * MINUTE;
    expect(await total()).toBe(4);
  });
});

test("many who ask at once are one read, and who changes something sees it", async () => {
  let reads = 0;
  let now = 0;
  const answer = kept(
    async () => ++reads,
    1000,
    () => now,
  );
  const asked = await Promise.all(Array.from({ length: 10 }, () => answer.get({ wait: 100 })));
  expect(asked).toEqual(asked.map(() => ({ value: 1 })));
  now = 999;
  expect(await answer.get({ wait: 100 })).toEqual({ value: 1 });
  expect(await answer.get({ wait: 100, maxAge: 500 })).toEqual({ value: 2 });
  answer.drop();
  expect(await answer.get({ wait: 100 })).toEqual({ value: 3 });
});

test("a workflow that many pages show is read once for those who ask at the same time", async () => {
  const app = new Lovage("shop", { brokerUrl: "memory://", resultBackend: "memory://" });
  onTestFinished(() => app.close());
  const store = await app.engine.journal();
  let reads = 0;
  app.engine.journal = () => {
    reads++;
    return Promise.resolve(store);
  };
  const board = createBoard(app);
  const ask = () => board(new Request("http://board.test/api/workflows/a"));
  const answers = await Promise.all(Array.from({ length: 10 }, ask));
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  expect(reads).toBe(1);
  await ask();
  expect(reads).toBe(2);
});

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at member by member
const status = async (board: Board): Promise<any> => (await board(new Request("http://board.test/api/status"))).json();

test("a page does not wait for what takes long", async () => {
  const app = new Lovage("shop", { brokerUrl: "memory://", resultBackend: "memory://" });
  onTestFinished(() => app.close());
  const never = {
    append: async () => undefined,
    read: () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }) }),
  };
  app.engine.journal = async () => never;
  const board = createBoard(app);
  // The code of what is asked is loaded at the first question.
  await board(new Request("http://board.test/api/queues"));
  const page = await (await board(new Request("http://board.test/"))).text();
  expect(page).toContain("celery");
  expect(page).toContain("aria-busy");
});

test("what cannot be read says why, and leaves the rest alone", async () => {
  const app = new Lovage("shop", { brokerUrl: "memory://", resultBackend: "memory://" });
  onTestFinished(() => app.close());
  const board = createBoard(app, { refresh: 0 });
  const { journal } = app.engine;
  app.engine.journal = () =>
    Promise.reject(new OperationalError("the table journal does not exist: deploy it", { retryable: false }));
  const { queues, told } = await status(board);
  expect(queues.value).toHaveLength(1);
  expect(told).toEqual({ problem: "the table journal does not exist: deploy it" });
  const page = await (await board(new Request("http://board.test/", { headers: { "x-board": "live" } }))).text();
  expect(page).toContain("the table journal does not exist: deploy it");
  expect(page).toContain("celery");
  const answer = await board(new Request("http://board.test/api/failures"));
  expect([answer.status, await answer.text()]).toEqual([503, expect.stringContaining("does not exist")]);
  app.engine.journal = journal;
  expect((await status(board)).told).toHaveProperty("value");
});

/** The board of a file of its own, which goes with the test. */
function onFile(finished: (done: () => Promise<void>) => void) {
  const folder = mkdtempSync(join(tmpdir(), "lovage-board-"));
  const file = join(folder, "lovage.db");
  const app = new Lovage("shop", { brokerUrl: `sqlite:///${file}` });
  finished(async () => {
    await app.close();
    rmSync(folder, { recursive: true });
  });
  return { file, board: createBoard(app, { refresh: 0 }) };
}

test("a file that was moved is told of, and the board is there again when the file is", async () => {
  const { file, board } = onFile(onTestFinished);
  expect((await status(board)).queues).toHaveProperty("value");
  renameSync(file, `${file}.away`);
  expect((await status(board)).error.message).toContain("it was moved or removed");
  const page = await board(new Request("http://board.test/"));
  expect([page.status, await page.text()]).toEqual([503, expect.stringContaining("is not there any more")]);
  writeFileSync(file, "");
  expect((await status(board)).error.message).toContain("another file is in the place of");
  renameSync(`${file}.away`, file);
  expect((await status(board)).queues).toHaveProperty("value");
});

/** Another program that keeps a lock on a file, until it is ended. */
async function lock(file: string, how: string): Promise<() => Promise<void>> {
  const script = `const db = new (require("node:sqlite").DatabaseSync)(process.argv[1]);
    db.exec(process.argv[2]); console.log("locked"); setInterval(() => {}, 1000);`;
  const program = spawn(process.execPath, ["-e", script, file, how], { stdio: ["ignore", "pipe", "ignore"] });
  await once(program.stdout, "data");
  const exited = once(program, "exit");
  return async () => {
    program.kill("SIGKILL");
    await exited;
  };
}

describe.concurrent("a file that another program has locked", () => {
  const pause = (board: Board) =>
    board(
      new Request("http://board.test/api/queues/celery/pause", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: "{}",
      }),
    );

  test("to write: all is seen, and what cannot be done says why", async ({ onTestFinished: finished, expect: see }) => {
    const { file, board } = onFile(finished);
    see((await pause(board)).status).toBe(200);
    see((await status(board)).queues).toHaveProperty("value");
    const free = await lock(file, "BEGIN IMMEDIATE");
    finished(free);
    see((await status(board)).queues).toHaveProperty("value");
    const refused = await pause(board);
    see([refused.status, await refused.text()]).toEqual([503, see.stringContaining("stayed locked for 10 s")]);
    await free();
    see((await pause(board)).status).toBe(200);
  });

  test("for itself alone: the page says so, and goes on when it is free", async ({
    onTestFinished: finished,
    expect: see,
  }) => {
    const { file, board } = onFile(finished);
    const free = await lock(
      file,
      "PRAGMA journal_mode = WAL; PRAGMA locking_mode = EXCLUSIVE; PRAGMA application_id = 1282373223; PRAGMA user_version = 1",
    );
    finished(free);
    const page = await board(new Request("http://board.test/", { headers: { "x-board": "live" } }));
    see(await page.text()).toContain("stayed locked for 10 s");
    await free();
    see((await status(board)).queues).toHaveProperty("value");
  });
});
