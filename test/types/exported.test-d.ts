/**
 * What users export of what they make with the package. `test/package/install.test.ts` compiles it as theirs, with
 * `declaration`: a type that the package does not export by name cannot be written there (TS2742, TS2883).
 */
import { at, beatEntry, chain, chord, crontab, currentTask, every, group, Lovage, solar, Task } from "lovage";
import { createBoard } from "lovage/board";
import { createBeatHandler, createBoardHandler, createWorkerHandler } from "lovage/lambda";
import { instrument } from "lovage/otel";
import { hostileBroker, testApp, virtualClock } from "lovage/testing";
import { resultEvents, sendResultEvents } from "lovage/web";
import { createWorker, startWorker } from "lovage/worker";
import { z } from "zod";

export const app = new Lovage("exported");

// ── tasks ──

export const add = app.task("add", (x: number, y: number) => x + y);
export const many = app.task("many", (...xs: number[]) => xs);
export const bound = app.task("bound", { bind: true }, async (self, url: string, n: number = 2) => ({
  url,
  n,
  self: self.request.id,
}));
export const checked = app.task("checked", { schema: z.tuple([z.object({ id: z.string() })]) }, (o) => o.id);
export class Notified extends Task {
  override onSuccess(retval: unknown, taskId: string) {
    void [retval, taskId];
  }
}
export const notified = app.task("notified", { base: Notified }, (x: number) => x);
export const batched = app.batchTask("batched", { size: 10, wait: 1 }, (calls) => calls.map(({ args }) => args.length));
export const limited = app.task("limited", { rateLimit: { limit: "10/s", key: String } }, (x: number) => x);
export const unique = app.task("unique", { unique: { key: String, for: 60 } }, (x: number) => x);
export const writing = app.task("writing", { bind: true }, async (self, text: string) => {
  await self.write(text);
  return self;
});
export const taskOptions = add.options;
export const sum = app.task("sum", (xs: number[]) => xs.length);
export const one = app.task("one", (x: number) => x);
export const reference = app.taskRef<typeof add>("add");
export const checkedReference = app.taskRef("elsewhere", { schema: z.tuple([z.string()]) });
export const self = () => currentTask();
export const request = () => currentTask()?.request;

// ── canvases ──

export const partial = add.s(1);
export const immutable = add.si(1, 2);
export const options = add.s(1, 2).set({ queue: "a" });
export const copied = add.s(1, 2).clone();
export const stamped = add.s(1, 2).stamp({ a: 1 });
export const named = app.signature("elsewhere");
export const piped = add.s(1, 2).pipe(add.s(3));
export const steps = chain(add.s(1, 2), add.s(3));
export const alone = chain(add.s(1, 2));
export const members = group([add.s(1, 2)]);
export const listed = group(add.s(1, 2), one.s(1));
export const generated = group(
  (function* () {
    yield one.s(1);
  })(),
);
export const joined = chord([add.s(1, 2)], sum.s());
export const grouped = group([add.s(1, 2)]).pipe(sum.s());
export const starmapped = add.starmap([[1, 2]]);
export const mapped = one.map([1, 2]);
export const chunked = add.chunks([[1, 2]], 10);
export const tasks = [add, one];
export const byName = { add: add.s(1), both: group([one.s(1), add.s(1, 2)]), chain: chain(one.s(1), add.s(2)) };
export const linked = add.s(1, 2).link(one.s()).linkError(one.si(1));
export const { form } = joined;
export const data = piped.toJSON();

// ── calls ──

export const delayed = () => add.delay(1, 2);
export const applied = () => add.applyAsync([1, 2], { countdown: 1 });
export const stepsDelayed = () => steps.delay();
export const membersDelayed = () => members.delay();
export const joinedDelayed = () => joined.delay();
export const results = async () => (await members.delay()).results;
export const eager = () => add.apply([1, 2]);
export const result = async () => await add.delay(1, 2);
export const written = async () => (await add.delay(1, 2)).chunks();
export const changes = async () => (await add.delay(1, 2)).watch();
export const info = async () => (await add.delay(1, 2)).info();
export const gotten = async () => (await joined.delay()).get();
export const children = async () => (await add.delay(1, 2)).children();
export const sent = () => app.sendMany([add.s(1, 2)]);
export const streamed = (xs: Iterable<number>) =>
  app.sendMany(
    (function* () {
      for (const x of xs) yield one.s(x);
    })(),
  );
export const byNameSent = () => app.sendTask<number>("add", [1, 2]);
export const found = app.result<number>("id");
export const foundGroup = () => app.groupResult("id");
export const workflow = () => app.workflow("id");

// ── beat ──

export const cron = crontab({ hour: 3 });
export const interval = every({ minutes: 3 });
export const once = at(new Date(0));
export const sunset = solar("sunset", 1, 2);
export const schedules = { cron, interval };
export const entry = beatEntry(add, { schedule: cron, args: [1, 2] });
export const list = app.beat.list;
export const put = app.beat.put;
export const beat = app.beat;

// ── the app ──

export const config = app.config;
export const queues = app.config.taskQueues;
export const {
  taskRoutes,
  taskAnnotations,
  beatSchedule,
  brokerTransportOptions,
  resultBackendTransportOptions,
  taskPublishRetryPolicy,
} = app.config;
export const settings = { ...config };
export const registered = app.tasks;
export const { journal, control } = app;
export const entries = () => app.journal.find();
export const failures = () => app.journal.failures();
export const summary = () => app.journal.summary();
export const letters = app.control.deadLetters;
export const shown = () => app.control.deadLetters.list();
export const redriven = () => app.control.deadLetters.redrive();
export const retriedFailed = () => app.control.retryFailed();
export const inspect = () => app.control.inspect();
export const numbers = () => app.control.inspect().queues();
export const active = () => app.control.inspect().active();
export const stats = () => app.control.inspect().stats();
export const waiting = () => app.control.inspect().waiting();
export const around = app.around({ run: async (_task, next) => void (await next()) });
export const off = app.on("taskSuccess", () => {});
export const on = app.on;

// ── the other entries ──

export const work = () => startWorker(app);
export const worker = createWorkerHandler(app);
export const beatHandler = createBeatHandler(app);
export const tested = () => testApp(app);
export const clock = virtualClock();
export const worked = createWorker;
export const board = createBoard(app, { readOnly: true });
export const boardHandler = createBoardHandler(app);
export const uninstrument = instrument(app);
export const hostile = hostileBroker;
export const events = (request: Request) => resultEvents(request, app.result("id"));
export const sendEvents = sendResultEvents;
