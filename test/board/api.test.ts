/** The board's API, and who may use it. Its pages are looked at in a browser by `browser.test.ts`. */
import { Lovage, Reject } from "lovage";
import { type Board, type BoardOptions, createBoard } from "lovage/board";
import type { Command } from "commander";
import { createProgram } from "../../src/cli/program.ts";
import { createData } from "../../src/board/data.ts";
import { inPath } from "../../src/board/openapi.ts";
import { OPERATIONS } from "../../src/board/operations.ts";
import { beforeEach, describe, expect, test, onTestFinished } from "vitest";
import { stores } from "../flow/stores.ts";

const ORIGIN = "http://board.test";

const ask = (board: Board, path: string, headers: Record<string, string> = {}) =>
  board(new Request(ORIGIN + path, { headers }));
const post = (board: Board, path: string, body: unknown = {}, headers: Record<string, string> = {}) =>
  board(
    new Request(ORIGIN + path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    }),
  );
// biome-ignore lint/suspicious/noExplicitAny: answers are looked at member by member
const read = async (answer: Promise<Response>): Promise<any> => (await answer).json();

describe.each(stores)("what is asked and done on %s", (_, start) => {
  let app: Lovage;
  let isUp: boolean;
  let t: ReturnType<typeof start>;
  let board: Board;
  beforeEach(() => {
    app = new Lovage("shop", { taskQueues: { celery: {}, mail: {} } });
    isUp = false;
    app.task("shop.charge", (order: number) => {
      if (!isUp) throw new TypeError(`order ${order} was not charged`);
      return order;
    });
    app.task("shop.reject", () => {
      throw new Reject("no", { requeue: false });
    });
    t = start(app);
    board = createBoard(app, { refresh: 0 });
  });
  const send = (task: string, ...args: readonly unknown[]) => app.sendTask(task, args);

  test("a task that waits for a limit says for which and until when", async () => {
    app.task("shop.push", { rateLimit: "1/m" }, (n: number) => n);
    await send("shop.push", 1);
    const { id } = await send("shop.push", 2);
    await t.drain();
    const [waiting] = await read(ask(board, "/api/inspect/waiting"));
    expect(waiting).toMatchObject({ id, task: "shop.push", limit: "rateLimit" });
    const detail = await read(ask(board, `/api/tasks/${id}`));
    expect(detail).toMatchObject({ state: "PENDING", waits: { limit: "rateLimit", until: waiting.until } });
    const page = async (path: string) => (await ask(board, path)).text();
    for (const text of [await page(`/tasks/${id}`), await page("/tasks")])
      expect(text).toMatch(/waits for its <code>rateLimit<\/code><\/span> until <time/);
    await t.advance(120_000);
    expect(await read(ask(board, `/api/tasks/${id}`))).not.toHaveProperty("waits");
    expect(await read(ask(board, "/api/inspect/waiting"))).toEqual([]);
  });

  test("a task that failed is found, counted, and run again by its group", async () => {
    for (const order of [1, 2, 3]) await send("shop.charge", order);
    await t.drain();
    const groups = await read(ask(board, "/api/failures"));
    expect(groups).toMatchObject([{ task: "shop.charge", count: 3, error: { message: "order … was not charged" } }]);
    expect(await read(ask(board, "/api/failures?task=nobody.*"))).toEqual([]);
    expect((await ask(board, "/api/failures?from=1h&to=2h")).status).toBe(400);
    isUp = true;
    const dry = await read(post(board, "/api/failures/retry", { task: "shop.charge", dryRun: true }));
    expect(dry).toEqual({ count: 3, tasks: { "shop.charge": 3 }, skipped: {}, reasons: {} });
    expect((await read(ask(board, "/api/queues")))[0].ready).toBe(0);
    expect((await read(post(board, "/api/failures/retry", { task: "shop.charge" }))).count).toBe(3);
    expect(await read(post(board, "/api/failures/retry", { task: "shop.charge" }))).toEqual({
      count: 0,
      tasks: {},
      skipped: { asked: 3 },
      reasons: { asked: expect.stringMatching(/^it is to run again already, and waits in its queue/) },
    });
    await t.drain();
    const { entries } = await read(ask(board, "/api/tasks?state=SUCCESS"));
    expect(entries).toHaveLength(3);
  });

  test("failed tasks run again by their ids, and it is said of each that cannot", async () => {
    const failed = await send("shop.charge", 1);
    await t.drain();
    const answer = await read(post(board, "/api/tasks/retry", { ids: [failed.id, "nobody"] }));
    expect(answer).toMatchObject({
      count: 1,
      failed: [{ id: "nobody", error: expect.stringContaining("nothing is stored") }],
    });
  });

  test.each([
    ["failures", { task: "shop.nobody" }],
    ["dlq_list", {}],
    ["workflow", { id: "an-id" }],
    ["beat_plan", {}],
    ["revoke", { task: "shop.nobody" }],
  ])("who does not want an answer to %s any more ends the search", async (name, input) => {
    await send("shop.charge", 1);
    await send("shop.reject");
    await t.drain();
    const operation = OPERATIONS.find((one) => one.name === name);
    const gone = new Error("nobody waits for it");
    const search = operation?.run(createData(app), input, { signal: AbortSignal.abort(gone) });
    await expect(search).rejects.toBe(gone);
  });

  test("of a workflow with more tasks than are looked for it is said that the others stay as they are", async () => {
    const many = 10_001;
    app.task("shop.fan", async () => {
      await Promise.all(Array.from({ length: many }, (_, n) => app.sendTask("shop.charge", [n], { countdown: 3600 })));
    });
    const { id } = await send("shop.fan");
    await t.advance(1000);
    const { count, failed } = await read(post(board, "/api/tasks/revoke", { workflow: id, dryRun: true }));
    expect([count, failed]).toEqual([many, [{ id, error: expect.stringContaining("the others stay as they are") }]]);
  });

  test("a task that is named twice is counted once", async () => {
    const { id } = await send("shop.charge", 1);
    await t.drain();
    const waiting = await send("shop.charge", 2);
    const ids = [id, id];
    expect(await read(post(board, "/api/tasks/retry", { ids }))).toEqual({ count: 1, failed: [] });
    expect(await read(post(board, "/api/tasks/revoke", { ids: [waiting.id, waiting.id] }))).toEqual({
      count: 1,
      failed: [],
    });
    expect(await read(post(board, "/api/tasks/forget", { ids, dryRun: true }))).toEqual({ count: 1, failed: [] });
  });

  test("what is only counted is what would be done, and changes nothing", async () => {
    const failed = await send("shop.charge", 1);
    await t.drain();
    const asked = await send("shop.charge", 2);
    await t.drain();
    await app.control.retry(asked.id);
    const waiting = await send("shop.charge", 3);
    const ids = [failed.id, asked.id, waiting.id, "nobody"];
    for (const [action, count] of [
      ["retry", 1],
      ["revoke", 3],
      ["forget", 2],
    ] as const) {
      const counted = await read(post(board, `/api/tasks/${action}`, { ids, dryRun: true }));
      expect(counted.count, action).toBe(count);
      expect(counted.failed).toHaveLength(ids.length - count);
    }
    expect(await failed.state()).toBe("FAILURE");
    const counted = await read(post(board, "/api/tasks/revoke", { ids, dryRun: true }));
    expect(await read(post(board, "/api/tasks/revoke", { ids }))).toEqual(counted);
  });

  test("what is for many goes on in the background, and says how far it is", async () => {
    const ids = await Promise.all(
      Array.from({ length: 120 }, async (_, order) => (await send("shop.charge", order)).id),
    );
    await t.drain();
    const begun = await post(board, "/api/tasks/retry", { ids, background: true });
    expect(begun.status).toBe(202);
    const { id } = (await begun.json()) as { readonly id: string };
    const seen = new Set<number>();
    let work = await read(ask(board, `/api/operations/${id}`));
    while (work.state === "running") {
      seen.add(work.done);
      await new Promise((resolve) => setTimeout(resolve, 1));
      work = await read(ask(board, `/api/operations/${id}`));
    }
    expect(work).toMatchObject({
      operation: "retry",
      state: "done",
      done: 120,
      total: 120,
      result: { count: 120, failed: [] },
    });
    expect((await ask(board, "/api/operations/none")).status).toBe(404);
  });

  test("tasks are counted and revoked, or forgotten, by a filter", async () => {
    for (const order of [1, 2]) await send("shop.charge", order);
    await t.drain();
    const chosen = { task: "shop.*", state: "FAILURE" };
    expect(await read(post(board, "/api/tasks/forget", { ...chosen, dryRun: true }))).toEqual({ count: 2, failed: [] });
    expect((await read(ask(board, "/api/tasks?state=FAILURE"))).entries).toHaveLength(2);
    expect(await read(post(board, "/api/tasks/forget", chosen))).toEqual({ count: 2, failed: [] });
    const waiting = await send("shop.charge", 3);
    await post(board, "/api/tasks/revoke", { ids: [waiting.id], terminate: true });
    await t.drain();
    expect(await waiting.state()).toBe("REVOKED");
    expect(await read(post(board, "/api/tasks/revoke", { ids: [waiting.id] }))).toEqual({
      count: 0,
      failed: [{ id: waiting.id, error: "it has ended already: REVOKED" }],
    });
    expect(await read(post(board, "/api/tasks/forget", { ids: ["nobody"] }))).toEqual({
      count: 0,
      failed: [{ id: "nobody", error: "nothing is stored of it" }],
    });
    // By a filter only those are meant that can be.
    for (const dryRun of [true, false])
      expect(await read(post(board, "/api/tasks/revoke", { task: "shop.*", dryRun }))).toEqual({
        count: 0,
        failed: [],
      });
    const all = await post(board, "/api/tasks/revoke", {});
    expect(all.status).toBe(400);
    expect(await all.text()).toContain("must be given, or a filter");
  });

  test.each([
    ["the state alone", {}],
    ["a text of the error that it had", { text: "was not charged" }],
    ["the queue that it failed in", { queue: "celery" }],
    ["a time before it succeeded", { to: 1 }],
    ["the worker that it failed in", { worker: "" }],
  ])("what has succeeded since is not among what failed, by %s", async (_, filter) => {
    const mended = await send("shop.charge", 1);
    const failed = await send("shop.charge", 2);
    await t.drain();
    const [entry] = (await read(ask(board, "/api/tasks?state=FAILURE"))).entries;
    await t.advance(60_000);
    isUp = true;
    await app.control.retry(mended.id);
    await t.drain();
    const given = {
      ...filter,
      ...("to" in filter && { to: entry.time + 30_000 }),
      ...("worker" in filter && { worker: entry.worker }),
    };
    const chosen = { state: "FAILURE", ...given };
    expect(await read(post(board, "/api/tasks/forget", { ...chosen, dryRun: true }))).toEqual({ count: 1, failed: [] });
    expect(await read(post(board, "/api/tasks/forget", chosen))).toEqual({ count: 1, failed: [] });
    expect([await mended.state(), await failed.state()]).toEqual(["SUCCESS", "PENDING"]);
  });

  test("a queue is paused by whoever is named, and resumed", async () => {
    const annas = createBoard(app, { refresh: 0, authorize: () => ({ by: "anna" }) });
    expect(await read(post(annas, "/api/queues/mail/pause"))).toEqual({ ok: true });
    const state = (queues: readonly { readonly queue: string }[]) => queues.find(({ queue }) => queue === "mail");
    expect(state(await read(ask(board, "/api/queues")))).toMatchObject({ paused: { by: "anna" } });
    await post(annas, "/api/queues/mail/resume");
    expect(state(await read(ask(board, "/api/queues")))).not.toHaveProperty("paused");
    expect((await post(board, "/api/queues/nobody/pause")).status).toBe(404);
    expect(await read(post(board, "/api/queues/mail/purge"))).toEqual({ count: 0 });
  });

  test("a dead letter is sent back with other arguments, another deleted", async () => {
    await send("shop.reject");
    await send("shop.reject");
    await t.drain();
    const { letters, queues } = await read(ask(board, "/api/dead-letters"));
    expect(letters).toHaveLength(2);
    expect(queues).toEqual(["celery"]);
    expect(letters[0]).toMatchObject({ task: "shop.reject", queue: "celery" });
    const [first, second] = letters;
    const one = (letter: { readonly message: string }) => ({ queue: "celery", ids: [letter.message] });
    expect(await read(post(board, "/api/dead-letters/redrive", { ...one(first), args: [9] }))).toEqual({
      count: 1,
      failed: [],
    });
    expect(await read(post(board, "/api/dead-letters/delete", one(second)))).toEqual({ count: 1, failed: [] });
    expect((await read(post(board, "/api/dead-letters/delete", one(second)))).failed).toHaveLength(1);
    await t.drain();
    expect((await read(ask(board, "/api/dead-letters"))).letters).toMatchObject([{ task: "shop.reject" }]);
  });

  test("a task is sent, and told of with all that is known of it", async () => {
    const { id } = await read(post(board, "/api/tasks", { task: "shop.charge", args: [7], id: "order/7 <b>" }));
    expect(id).toBe("order/7 <b>");
    await t.drain();
    const told = await read(ask(board, `/api/tasks/${encodeURIComponent(id)}`));
    expect(told).toMatchObject({ state: "FAILURE", args: "[7]", retryable: true, error: { type: "TypeError" } });
    expect((await read(ask(board, `/api/workflows/${encodeURIComponent(id)}`))).tasks).toMatchObject([
      { state: "FAILURE" },
    ]);
    expect((await post(board, "/api/tasks", { task: "shop.nobody" })).status).toBe(404);
    const { entries } = await read(ask(board, `/api/tasks?kind=control`));
    expect(entries[0]).toMatchObject({ action: "call", task: "shop.charge" });
  });

  test("an entry of the schedule is put, run, paused, and removed", async () => {
    const put = { name: "nightly", task: "shop.charge", schedule: "0 3 * * *", args: [1] };
    expect(await read(post(board, "/api/beat/put", put))).toEqual({ ok: true });
    const [item] = (await read(ask(board, "/api/beat"))).entries;
    expect(item).toMatchObject({ runtime: "nightly", plan: { enabled: true } });
    expect((await read(post(board, "/api/beat/run", { name: item.plan.name }))).id).toEqual(expect.any(String));
    await post(board, "/api/beat/nightly/pause");
    expect((await read(ask(board, "/api/beat"))).entries[0].plan.enabled).toBe(false);
    await post(board, "/api/beat/nightly/resume");
    await post(board, "/api/beat/nightly/remove");
    expect(await read(ask(board, "/api/beat"))).toEqual({ entries: [], unreadable: [] });
    const wrong = await post(board, "/api/beat/put", { ...put, schedule: "at night" });
    expect(wrong.status).toBe(400);
    expect(await wrong.text()).toContain("five fields of crontab");
  });

  test("an entry that cannot be read keeps no other back, is named, and can be removed", async () => {
    const store = await app.engine.beatStore(app.name);
    for (const name of ["a", "c"]) await app.beat.put(name, { task: "shop.charge", schedule: 60 });
    const [entry] = await app.beat.list();
    await store.put({ ...entry, name: "b </b>", later: 1 } as never);
    expect((await app.beat.list()).map(({ name }) => name)).toEqual(["a", "c"]);
    const { entries, unreadable } = await read(ask(board, "/api/beat"));
    expect(entries).toHaveLength(2);
    expect(unreadable).toEqual([{ name: "b </b>", problem: expect.stringContaining("later") }]);
    const page = await (await ask(board, "/beat")).text();
    expect(page).toContain("Nothing is sent of b &lt;/b&gt;.");
    // By this it stays where it is when the page is updated.
    expect(page).toContain('data-key="unreadable b &lt;/b&gt;"');
    expect(page).toContain("Remove b &lt;/b&gt;");
    expect((await post(board, `/api/beat/${encodeURIComponent("b </b>")}/pause`)).status).toBe(400);
    expect(await read(post(board, `/api/beat/${encodeURIComponent("b </b>")}/remove`))).toEqual({ ok: true });
    expect((await read(ask(board, "/api/beat"))).unreadable).toEqual([]);
  });

  test("pages of tasks follow each other, and none is left out or told of twice", async () => {
    for (let order = 0; order < 12; order++) await send("shop.charge", order);
    await t.drain();
    const seen: string[] = [];
    let cursor = "";
    do {
      const { entries, next } = await read(ask(board, `/api/tasks?kind=task&limit=5${cursor}`));
      seen.push(...entries.map((entry: { readonly id: string }) => entry.id));
      cursor = next === undefined ? "" : `&cursor=${next}`;
    } while (cursor !== "");
    expect(seen).toHaveLength(12);
    expect(new Set(seen).size).toBe(12);
  });
});

test.each([
  ["GET", "/api/queues/celery/pause", 405, "POST"],
  ["HEAD", "/api/queues/celery/pause", 405, "POST"],
  ["POST", "/api/status", 405, "GET"],
  ["PUT", "/api/tasks", 405, "GET, POST"],
  ["DELETE", "/api/tasks/an%2Fid", 405, "GET"],
  ["DELETE", "/api/nothing", 404, null],
  ["DELETE", "/tasks", 404, null],
])("%s %s is %d, and says what may be done there", async (method, path, status, allow) => {
  const board = createBoard(new Lovage("shop", { brokerUrl: "memory://" }));
  const answer = await board(new Request(ORIGIN + path, { method }));
  expect([answer.status, answer.headers.get("allow")]).toEqual([status, allow]);
});

test.each([
  ["/api/workers/nobody/shutdown", {}, "WorkerNotFound"],
  ["/api/queues/nothing/pause", {}, "QueueNotFound"],
  ["/api/rates/shop.nothing", { rate: 1 }, "NotRegistered"],
  ["/api/beat/run", { name: "nothing" }, "EntryNotFound"],
  ["/api/beat/nothing/pause", {}, "EntryNotFound"],
  ["/api/beat/nothing/resume", {}, "EntryNotFound"],
  ["/api/beat/nothing/remove", {}, "EntryNotFound"],
  ["/api/tasks", { task: "shop.nothing" }, "NotRegistered"],
])("%s of what is not there is 404", async (path, body, name) => {
  const app = new Lovage("shop", { brokerUrl: "memory://" });
  onTestFinished(() => app.close());
  const answer = await post(createBoard(app), path, body);
  expect([answer.status, (await read(Promise.resolve(answer))).error.name]).toEqual([404, name]);
});

test.each(["[]", "5", "null", '"celery"'])("a body of %s is refused by what it has to be", async (body) => {
  const board = createBoard(new Lovage("shop", { brokerUrl: "memory://" }));
  const answer = await post(board, "/api/queues/celery/pause", body);
  expect(answer.status).toBe(400);
  expect(await answer.text()).toContain("body: must be an object");
});

describe("the API's own description", () => {
  const app = new Lovage("shop");

  test("it has every operation, under the words of the command line", async () => {
    const document = await read(ask(createBoard(app, { basePath: "/board" }), "/board/api/openapi.json"));
    expect(document).toMatchObject({ openapi: "3.1.0", servers: [{ url: "/board/api" }] });
    const operations = Object.values<Record<string, { operationId: string }>>(document.paths).flatMap((methods) =>
      Object.entries(methods).map(([method, { operationId }]) => [operationId, method]),
    );
    expect(operations).toHaveLength(OPERATIONS.length + 1);
    for (const { name, changes } of OPERATIONS) expect(operations).toContainEqual([name, changes ? "post" : "get"]);
    const lines = (command: Command): readonly string[] =>
      command.commands.flatMap((one) => [one.name(), ...lines(one).map((name) => `${one.name()}_${name}`)]);
    const commands = new Set(lines(await createProgram()).map((name) => name.replaceAll("-", "_")));
    // What the command line does by an option, or has no word for.
    const others = ["retry_failed", "beat_run", "beat_put", "beat_pause", "beat_resume", "beat_remove"];
    for (const { name } of OPERATIONS) if (!others.includes(name)) expect([...commands]).toContain(name);
    for (const name of commands) {
      if (/^(inspect|control|dlq)_/.test(name) && name !== "dlq_show" && name !== "inspect_queues")
        expect(OPERATIONS.map((operation) => operation.name)).toContain(name);
    }
    for (const { path, input } of OPERATIONS)
      for (const name of inPath(path)) expect(Object.keys(input)).toContain(name);
  });

  test("one who may only look is offered nothing else, and gets 403", async () => {
    const board = createBoard(app, { authorize: () => ({ readOnly: true }) });
    const { paths } = await read(ask(board, "/api/openapi.json"));
    for (const methods of Object.values(paths)) expect(Object.keys(methods as object)).toEqual(["get"]);
    for (const { path, changes } of OPERATIONS) {
      if (!changes) continue;
      const answer = await post(createBoard(app, { readOnly: true }), `/api${path.replace(/\{\w+\}/, "x")}`);
      expect([path, answer.status]).toEqual([path, 403]);
    }
  });
});

test.each([
  ["/api/tasks?limit=many", "limit: must be a whole number from 1 to 1000"],
  ["/api/tasks?limit=0", "limit: must be a whole number from 1 to 1000"],
  ["/api/tasks?stat=FAILURE", "stat: is not known here; did you mean"],
  ["/api/tasks?from=yesterday", "from: must be a time in ISO 8601, milliseconds since the epoch, or so long ago"],
  ["/api/tasks?cursor=x", "cursor: must be the next of a page before"],
  ["/api/status?span=year", "span: must be one of hour, day, week"],
  ["/api/tasks?from=1h&to=2h", "must be before to"],
])("%s is refused by a sentence", async (path, why) => {
  const answer = await ask(
    createBoard(new Lovage("shop", { resultBackend: "memory://", brokerUrl: "memory://" })),
    path,
  );
  expect(answer.status).toBe(400);
  expect(((await answer.json()) as { error: { message: string } }).error.message).toContain(why);
});

test.each<[string, BoardOptions, string]>([
  ["a path without its slash", { basePath: "board" }, 'createBoard.basePath: must be a path such as "/board"'],
  ["an option that is none", { readonly: true } as BoardOptions, "createBoard.readonly: is not known"],
  ["no function", { authorize: "anna" as never }, "createBoard.authorize: must be a function"],
])("%s is refused", (_, options, why) => {
  expect(() => createBoard(new Lovage("shop"), options)).toThrow(why);
});
