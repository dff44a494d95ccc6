/** The board's API, and who may use it. Its pages are looked at in a browser by `browser.test.ts`. */
import { Lovage, Reject } from "lovage";
import { type Board, type BoardOptions, createBoard } from "lovage/board";
import { beforeEach, describe, expect, test } from "vitest";
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

  test("a task that failed is found, counted, and run again by its group", async () => {
    for (const order of [1, 2, 3]) await send("shop.charge", order);
    await t.drain();
    const groups = await read(ask(board, "/api/failures"));
    expect(groups).toMatchObject([{ task: "shop.charge", count: 3, error: { message: "order … was not charged" } }]);
    expect(groups[0].spark.reduce((sum: number, one: number) => sum + one, 0)).toBe(3);
    isUp = true;
    const dry = await read(post(board, "/api/failures/retry", { task: "shop.charge", dryRun: true }));
    expect(dry).toEqual({ count: 3, tasks: { "shop.charge": 3 }, skipped: {} });
    expect((await read(ask(board, "/api/queues")))[0].ready).toBe(0);
    expect((await read(post(board, "/api/failures/retry", { task: "shop.charge" }))).count).toBe(3);
    await t.drain();
    const { entries } = await read(ask(board, "/api/tasks?state=SUCCESS"));
    expect(entries).toHaveLength(3);
  });
});

test.each<[string, BoardOptions, string]>([
  ["a path without its slash", { basePath: "board" }, 'createBoard.basePath: must be a path such as "/board"'],
  ["an option that is none", { readonly: true } as BoardOptions, "createBoard.readonly: is not known"],
  ["no function", { authorize: "anna" as never }, "createBoard.authorize: must be a function"],
])("%s is refused", (_, options, why) => {
  expect(() => createBoard(new Lovage("shop"), options)).toThrow(why);
});
