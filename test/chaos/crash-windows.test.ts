/**
 * A worker dies between every two steps of a delivery, one test run for each place, and another finishes: the outcome is
 * the one it would have been, everything that follows from it is done once, and the message is gone.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { currentTask, Ignore, type Lovage, Reject } from "lovage";
import { afterAll, describe, expect, test } from "vitest";
import { deadLetterQueue } from "../../src/brokers/broker.ts";
import { envelope, signature } from "../flow/envelopes.ts";
import { bear, createLife, type Death, type Life, serve, virtualClock } from "./mortal.ts";

const folder = mkdtempSync(join(tmpdir(), "lovage-crash-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** What tasks have done, and how often each attempt of a task was begun. */
interface Ledger {
  readonly effects: { readonly text: string; readonly id: string }[];
  readonly runs: Map<string, number>;
}

/** The tasks of the scenarios. Each marks a step of its own: a worker may die in it. */
function addTasks(app: Lovage, life: Life, ledger: Ledger): void {
  const work = async <T>(end: (text: string) => T): Promise<T> => {
    const { id, retries, task } = currentTask()?.request ?? { id: "", retries: 0, task: "" };
    const attempt = `${task} ${id} ${retries}`;
    ledger.runs.set(attempt, (ledger.runs.get(attempt) ?? 0) + 1);
    await life.step("in the task", () => {});
    const text = `${currentTask()?.request.args[0] ?? ""}`;
    const ended = end(text);
    ledger.effects.push({ text, id });
    return ended;
  };
  const add = app.task("add", (x: number, y: number) => work(() => x + y));
  app.task("note", (_: unknown) => work((text) => text));
  app.task("fail", (_: unknown) =>
    work(() => {
      throw new RangeError("no");
    }),
  );
  app.task("retry", { bind: true }, (self, x: number) =>
    work(() => (self.request.retries < 2 ? self.retry({ countdown: 60, args: [x + 1] }) : x)),
  );
  app.task("replace", { bind: true }, (self, x: number) => work(() => self.replace(add.s(x, 10))));
  app.task("reject", (_: unknown) =>
    work(() => {
      throw new Reject("unwanted");
    }),
  );
  app.task("ignore", (_: unknown) =>
    work(() => {
      throw new Ignore();
    }),
  );
  app.task("state", { bind: true }, async (self, x: number) => {
    await self.updateState({ state: "PROGRESS", meta: x });
    return work(() => x);
  });
}

interface Scenario {
  readonly name: string;
  readonly queue?: string;
  /** Sends what is to be done. Ids begin with `run`, which is new for each death. */
  send(app: Lovage, run: string): Promise<unknown>;
  /** State and result by what stands behind `run` in the id. */
  readonly rows: Readonly<Record<string, readonly [state: string, result?: unknown]>>;
  /** The first argument of each task that ended its work: sorted, or on a FIFO queue in the order of their ends. */
  readonly effects: readonly string[];
  readonly dead?: number;
}

const put = async (app: Lovage, body: string, queue = "celery") => {
  const [failed] = await (await app.engine.broker()).send([{ queue, body }]);
  if (failed) throw failed;
};

const scenarios: readonly Scenario[] = [
  {
    name: "a success with two links",
    send: (app, run) =>
      app.sendTask("add", [1, 2], {
        taskId: run,
        link: [
          app.signature("note").set({ taskId: `${run}-a` }),
          app.signature("add", [10]).set({ taskId: `${run}-b` }),
        ],
      }),
    rows: { "": ["SUCCESS", 3], "-a": ["SUCCESS", "3"], "-b": ["SUCCESS", 13] },
    effects: ["1", "3", "3"],
  },
  {
    name: "links whose ids nobody gave",
    send: (app, run) =>
      app.sendTask("add", [1, 2], { taskId: run, link: [app.signature("note"), app.signature("note")] }),
    rows: { "": ["SUCCESS", 3] },
    effects: ["1", "3", "3"],
  },
  {
    name: "two retries with other arguments, and a link",
    send: (app, run) =>
      app.sendTask("retry", [1], { taskId: run, link: app.signature("note").set({ taskId: `${run}-a` }) }),
    rows: { "": ["SUCCESS", 3], "-a": ["SUCCESS", "3"] },
    effects: ["3", "3"],
  },
  {
    name: "a failure with an errback",
    send: (app, run) =>
      app.sendTask("fail", ["x"], {
        taskId: run,
        linkError: app.signature("note", ["told"], { immutable: true }).set({ taskId: `${run}-e` }),
      }),
    rows: { "": ["FAILURE"], "-e": ["SUCCESS"] },
    effects: ["told"],
  },
  {
    name: "a chain of three",
    send: (app, run) =>
      put(
        app,
        envelope({
          task: "add",
          id: run,
          args: [1, 1],
          embed: {
            chain: [signature("note", [], { task_id: `${run}-3` }), signature("add", [5], { task_id: `${run}-2` })],
          },
        }),
      ),
    rows: { "": ["SUCCESS", 2], "-2": ["SUCCESS", 7], "-3": ["SUCCESS", "7"] },
    effects: ["1", "2", "7"],
  },
  {
    name: "a chain whose first step fails",
    send: (app, run) =>
      put(
        app,
        envelope({
          task: "fail",
          id: run,
          args: [1],
          embed: {
            chain: [signature("note", [], { task_id: `${run}-3` }), signature("note", [], { task_id: `${run}-2` })],
          },
        }),
      ),
    rows: { "": ["FAILURE"], "-2": ["FAILURE"], "-3": ["FAILURE"] },
    effects: [],
  },
  {
    name: "a task that replaces itself",
    send: (app, run) =>
      app.sendTask("replace", [4], { taskId: run, link: app.signature("note").set({ taskId: `${run}-a` }) }),
    rows: { "": ["SUCCESS", 14], "-a": ["SUCCESS", "14"] },
    effects: ["14", "4"],
  },
  {
    name: "Reject",
    send: (app, run) =>
      app.sendTask("reject", ["x"], {
        taskId: run,
        linkError: app.signature("note", ["told"], { immutable: true }).set({ taskId: `${run}-e` }),
      }),
    rows: { "": ["FAILURE"], "-e": ["SUCCESS"] },
    effects: ["told"],
    dead: 1,
  },
  {
    name: "Ignore",
    send: (app, run) => app.sendTask("ignore", ["x"], { taskId: run, link: app.signature("note") }),
    rows: { "": ["STARTED"] },
    effects: [],
  },
  {
    name: "ignoreResult, with a link",
    send: (app, run) =>
      app.sendTask("add", [1, 2], {
        taskId: run,
        ignoreResult: true,
        link: app.signature("note").set({ taskId: `${run}-a` }),
      }),
    rows: { "": ["PENDING"], "-a": ["SUCCESS", "3"] },
    effects: ["1", "3"],
  },
  {
    name: "a state of its own",
    send: (app, run) => app.sendTask("state", [7], { taskId: run }),
    rows: { "": ["SUCCESS", 7] },
    effects: ["7"],
  },
  {
    name: "an expired message, its chain with it",
    send: (app, run) =>
      put(
        app,
        envelope({
          task: "add",
          id: run,
          args: [1],
          headers: { expires: "2020-01-01T00:00:00Z" },
          embed: { chain: [signature("note", [], { task_id: `${run}-2` })] },
        }),
      ),
    rows: { "": ["REVOKED"], "-2": ["REVOKED"] },
    effects: [],
  },
  {
    name: "a task that was revoked before it began",
    async send(app, run) {
      await app.sendTask("add", [1, 2], { taskId: run });
      await app.result(run).revoke();
    },
    rows: { "": ["REVOKED"] },
    effects: [],
  },
  {
    name: "a duplicate of a message",
    async send(app, run) {
      const body = envelope({
        task: "add",
        id: run,
        args: [1, 2],
        embed: { callbacks: [signature("note", [], { task_id: `${run}-a` })] },
      });
      await put(app, body);
      await put(app, body);
    },
    rows: { "": ["SUCCESS", 3], "-a": ["SUCCESS", "3"] },
    effects: ["1", "3"],
  },
  {
    name: "a message that comes before its time",
    send: (app, run) =>
      put(
        app,
        envelope({
          task: "add",
          id: run,
          args: [1, 2],
          headers: { eta: new Date(app.engine.clock.now() + 300_000).toISOString() },
        }),
      ),
    rows: { "": ["SUCCESS", 3] },
    effects: ["1"],
  },
  {
    name: "a task that nobody knows",
    send: (app, run) => put(app, envelope({ task: "nobody", id: run, args: ["x"] })),
    rows: { "": ["FAILURE"] },
    effects: [],
    dead: 1,
  },
  {
    name: "a text that cannot be read",
    send: (app, run) => put(app, envelope({ task: "add", id: run, body: "[1, 2" })),
    rows: { "": ["FAILURE"] },
    effects: [],
    dead: 1,
  },
  {
    name: "a FIFO group whose first message retries",
    queue: "orders.fifo",
    async send(app, run) {
      const options = { queue: "orders.fifo", MessageGroupId: "g" };
      await app.sendTask("retry", [1], { ...options, taskId: `${run}-1`, MessageDeduplicationId: `${run}-1` });
      await app.sendTask("add", [9, 0], { ...options, taskId: `${run}-2`, MessageDeduplicationId: `${run}-2` });
      await app.sendTask("note", ["last"], { ...options, taskId: `${run}-3`, MessageDeduplicationId: `${run}-3` });
    },
    rows: { "-1": ["SUCCESS"], "-2": ["SUCCESS", 9], "-3": ["SUCCESS", "last"] },
    effects: ["retried", "9", "last"],
  },
];

const STORES = ["memory", "SQLite"] as const;
let runs = 0;

describe.each(STORES)("on %s, a worker dies anywhere in", (store) => {
  test.each(scenarios)("$name", { timeout: 60_000 }, async (scenario) => {
    const url = store === "memory" ? "memory://crash" : `sqlite:///${join(folder, "crash.db")}`;
    const queues = ["celery", ...(scenario.queue === undefined ? [] : [scenario.queue])];
    const clock = virtualClock();
    const settings = { taskQueues: Object.fromEntries(queues.map((queue) => [queue, {}])) };

    async function die(death: Death): Promise<boolean> {
      const run = `run-${++runs}`;
      const ledger: Ledger = { effects: [], runs: new Map() };
      const [first, second] = [createLife(death), createLife(undefined)];
      const [dying, living] = [bear(url, clock, first, settings), bear(url, clock, second, settings)];
      addTasks(dying, first, ledger);
      addTasks(living, second, ledger);
      await scenario.send(living, run);
      const has = await Promise.race([
        serve(dying, clock, queues).then(() => "ended" as const),
        first.died.then(() => "died" as const),
      ]);
      // What it had asked for may still be done. Its heart no longer beats.
      for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
      await serve(living, clock, queues);

      const broker = await living.engine.broker();
      const where = `${death.when} step ${death.step} of ${first.steps.join(", ")}`;
      for (const [suffix, [state, ...value]] of Object.entries(scenario.rows)) {
        const result = living.result(run + suffix);
        expect([where, suffix, await result.state()]).toEqual([where, suffix, state]);
        if (value.length > 0) expect([where, await result.result()]).toEqual([where, value[0]]);
      }
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
        const letters = await broker.receive(deadLetterQueue(queue), { max: 10, wait: 0, visibility: 0 });
        const expected = queue === "celery" ? (scenario.dead ?? 0) : 0;
        // The one thing that a death may double: a dead letter, between its sending and the acknowledgement.
        expect([
          where,
          Math.min(letters.length, expected),
          letters.length - expected <= (has === "died" ? 1 : 0),
        ]).toEqual([where, expected, true]);
        await broker.purge(deadLetterQueue(queue));
      }
      await living.close();
      return has === "died";
    }

    // Keeps the memory store between the lives.
    const keeper = bear(url, clock, createLife(undefined));
    await keeper.engine.broker();
    await keeper.engine.backend();
    for (const when of ["before", "after"] as const) {
      let step = 0;
      while (await die({ step, when })) step++;
      // Or the enumeration has not begun.
      expect(step).toBeGreaterThan(2);
    }
    await keeper.close();
  });
});
