/** What is done where workers die: tasks, what is sent of them, and what must come of it wherever a worker died. */
import { chain, chord, currentTask, group, Ignore, type Lovage, Reject } from "lovage";
import { envelope, signature } from "../flow/envelopes.ts";
import type { Life } from "./mortal.ts";

/** What tasks have done, and how often each attempt of a task was begun. */
export interface Ledger {
  readonly effects: { readonly text: string; readonly id: string }[];
  readonly runs: Map<string, number>;
}

/** The tasks of the scenarios. Each marks a step of its own: a worker may die in it. */
export function addTasks(app: Lovage, life: Life, ledger: Ledger): void {
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
  app.task("sum", (xs: readonly number[]) => work(() => xs.reduce((a, b) => a + b, 0)));
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
  app.task("spread", { bind: true }, (self, x: number) => work(() => self.replace(group(add.s(x, 10), add.s(x, 20)))));
  app.task("adds", { bind: true }, async (self, x: number) => {
    await self.addToChord(add.s(100, x));
    return work(() => x);
  });
  app.task("addsAndRetries", { bind: true }, (self, x: number) => {
    // Not awaited: it is under way when the attempt ends.
    void self.addToChord(add.s(100, self.request.retries));
    return work(() => (self.request.retries === 0 ? self.retry({ countdown: 60 }) : x));
  });
  app.task("addsAndFails", { bind: true }, (self, x: number) => {
    void self.addToChord(add.s(100, x));
    return work(() => {
      throw new RangeError("no");
    });
  });
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

export interface Scenario {
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

const tasks: readonly Scenario[] = [
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
    name: "a chain whose second step was revoked before it was sent",
    async send(app, run) {
      await app.result(`${run}-2`).revoke();
      await chain(
        call(app, "add", [1, 1], run),
        call(app, "note", [], `${run}-2`),
        call(app, "note", [], `${run}-3`),
      ).delay();
    },
    rows: { "": ["SUCCESS", 2], "-2": ["REVOKED"], "-3": ["REVOKED"] },
    effects: ["1"],
  },
  {
    name: "a chain whose first step fails, with a chord after it",
    send: (app, run) =>
      chain(
        call(app, "fail", [1], run),
        chord(
          [call(app, "note", ["x"], `${run}-2`), call(app, "note", ["x"], `${run}-3`)],
          call(app, "sum", [], `${run}-4`),
        ),
      ).delay(),
    rows: { "": ["FAILURE"], "-2": ["FAILURE"], "-3": ["FAILURE"], "-4": ["FAILURE"] },
    effects: [],
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

/** A call whose id is `run` and what stands behind it. */
const call = (app: Lovage, task: string, args: readonly unknown[], taskId: string) =>
  app.signature(task, args).set({ taskId });

/** A chord of a task and `1 + 4`, whose body adds up what they gave, and has two errbacks. */
const chordWith = (app: Lovage, run: string, member: ReturnType<Lovage["signature"]>) =>
  chord(
    [member, call(app, "add", [1, 4], `${run}-2`)],
    call(app, "sum", [], `${run}-b`)
      .linkError(app.signature("note", ["told"], { immutable: true }))
      .linkError(app.signature("note", ["told too"], { immutable: true }).set({ taskId: `${run}-e` })),
  ).delay();

const chords: readonly Scenario[] = [
  {
    name: "a chord with a chain whose second step was revoked before it was sent",
    async send(app, run) {
      await app.result(`${run}-r`).revoke();
      await chordWith(
        app,
        run,
        chain(call(app, "add", [1, 1], `${run}-1`), call(app, "note", [], `${run}-r`)) as never,
      );
    },
    rows: { "-1": ["SUCCESS", 2], "-r": ["REVOKED"], "-2": ["SUCCESS", 5], "-b": ["FAILURE"], "-e": ["SUCCESS"] },
    effects: ["1", "1", "told", "told too"],
  },
  {
    name: "a group",
    send: (app, run) =>
      group(
        call(app, "add", [1, 1], `${run}-1`),
        call(app, "fail", ["x"], `${run}-2`),
        call(app, "retry", [1], `${run}-3`),
      ).delay(),
    rows: { "-1": ["SUCCESS", 2], "-2": ["FAILURE"], "-3": ["SUCCESS", 3] },
    effects: ["1", "3"],
  },
  {
    name: "a chord",
    send: (app, run) => chordWith(app, run, call(app, "add", [1, 1], `${run}-1`)),
    rows: { "-1": ["SUCCESS", 2], "-2": ["SUCCESS", 5], "-b": ["SUCCESS", 7], "-e": ["PENDING"] },
    effects: ["1", "1", "2,5"],
  },
  {
    name: "a chord with a member that fails",
    send: (app, run) => chordWith(app, run, call(app, "fail", ["x"], `${run}-1`)),
    rows: { "-1": ["FAILURE"], "-2": ["SUCCESS", 5], "-b": ["FAILURE"], "-e": ["SUCCESS"] },
    effects: ["1", "told", "told too"],
  },
  {
    name: "a chord with a member that retries",
    send: (app, run) => chordWith(app, run, call(app, "retry", [1], `${run}-1`)),
    rows: { "-1": ["SUCCESS", 3], "-2": ["SUCCESS", 5], "-b": ["SUCCESS", 8] },
    effects: ["1", "3", "3,5"],
  },
  {
    name: "a chord with a member that is a dead letter",
    send: (app, run) => chordWith(app, run, call(app, "reject", ["x"], `${run}-1`)),
    rows: { "-1": ["FAILURE"], "-2": ["SUCCESS", 5], "-b": ["FAILURE"], "-e": ["SUCCESS"] },
    effects: ["1", "told", "told too"],
    dead: 1,
  },
  {
    name: "a chord with a member that ends in Ignore",
    send: (app, run) => chordWith(app, run, call(app, "ignore", ["x"], `${run}-1`)),
    rows: { "-1": ["STARTED"], "-2": ["SUCCESS", 5], "-b": ["FAILURE"], "-e": ["SUCCESS"] },
    effects: ["1", "told", "told too"],
  },
  {
    name: "a chord with a member that was revoked",
    async send(app, run) {
      await chordWith(app, run, call(app, "add", [1, 1], `${run}-1`));
      await app.result(`${run}-1`).revoke();
    },
    rows: { "-1": ["REVOKED"], "-2": ["SUCCESS", 5], "-b": ["FAILURE"], "-e": ["SUCCESS"] },
    effects: ["1", "told", "told too"],
  },
  {
    name: "a chain in a chord",
    send: (app, run) =>
      chordWith(app, run, chain(call(app, "add", [1, 1], `${run}-0`), call(app, "add", [10], `${run}-1`))),
    rows: { "-0": ["SUCCESS", 2], "-1": ["SUCCESS", 12], "-2": ["SUCCESS", 5], "-b": ["SUCCESS", 17] },
    effects: ["1", "1", "12,5", "2"],
  },
  {
    name: "a chain in a chord, whose first step fails",
    send: (app, run) =>
      chordWith(app, run, chain(call(app, "fail", ["x"], `${run}-0`), call(app, "add", [10], `${run}-1`))),
    rows: { "-0": ["FAILURE"], "-1": ["FAILURE"], "-2": ["SUCCESS", 5], "-b": ["FAILURE"], "-e": ["SUCCESS"] },
    effects: ["1", "told", "told too"],
  },
  {
    name: "a chord in a chain, which a worker sends",
    send: (app, run) =>
      chain(
        call(app, "add", [1, 1], run),
        group(call(app, "add", [1], `${run}-1`), call(app, "add", [2], `${run}-2`)),
        call(app, "sum", [], `${run}-b`),
        call(app, "note", [], `${run}-n`),
      ).delay(),
    rows: {
      "": ["SUCCESS", 2],
      "-1": ["SUCCESS", 3],
      "-2": ["SUCCESS", 4],
      "-b": ["SUCCESS", 7],
      "-n": ["SUCCESS", "7"],
    },
    effects: ["1", "2", "2", "3,4", "7"],
  },
  {
    name: "a chord with a member that is replaced by a group",
    send: (app, run) =>
      chord(
        [call(app, "spread", [1], `${run}-1`), call(app, "add", [1, 4], `${run}-2`)],
        call(app, "note", [], `${run}-b`),
      ).delay(),
    rows: { "-1": ["SUCCESS", [11, 21]], "-2": ["SUCCESS", 5], "-b": ["SUCCESS", "11,21,5"] },
    effects: ["1", "1", "1", "11,21,5"],
  },
  {
    name: "a chord with a member that adds another",
    send: (app, run) => chordWith(app, run, call(app, "adds", [1], `${run}-1`)),
    rows: { "-1": ["SUCCESS", 1], "-2": ["SUCCESS", 5], "-b": ["SUCCESS", 107] },
    effects: ["1", "1", "1,5,101", "100"],
  },
  {
    name: "a chord with a member that adds another, does not wait for it, and retries",
    send: (app, run) => chordWith(app, run, call(app, "addsAndRetries", [1], `${run}-1`)),
    rows: { "-1": ["SUCCESS", 1], "-2": ["SUCCESS", 5], "-b": ["SUCCESS", 207] },
    effects: ["1", "1", "1,5,100,101", "100", "100"],
  },
  {
    name: "a chord with a member that adds another, does not wait for it, and fails",
    send: (app, run) => chordWith(app, run, call(app, "addsAndFails", [1], `${run}-1`)),
    rows: { "-1": ["FAILURE"], "-2": ["SUCCESS", 5], "-b": ["FAILURE"], "-e": ["SUCCESS"] },
    effects: ["1", "100", "told", "told too"],
  },
];

export const scenarios: readonly Scenario[] = [...tasks, ...chords];
