/** Tasks and canvases run in their caller, by `apply` or `taskAlwaysEager`: no broker, and no backend unless results are to be stored. */
import type { Lovage } from "../app.ts";
import { runSteps, surround } from "../around.ts";
import { expand } from "../canvas/apply.ts";
import type { ResultNode } from "../canvas/freeze.ts";
import { joinRows } from "../canvas/join-rows.ts";
import { childOf, countingOf, rowContext, rulesOf, toResult } from "../canvas/send.ts";
import type { Applied } from "../canvas/signature.ts";
import { withOptions } from "../canvas/shape.ts";
import { toWireOptions } from "../canvas/wire-options.ts";
import type { Engine } from "../engine.ts";
import { WorkerShutdown } from "../errors.ts";
import { isExpired, type SignatureData } from "../protocol/message.ts";
import { encodeEnvelope } from "../protocol/envelope.ts";
import { decodeMeta, type Meta, pendingMeta } from "../protocol/meta.ts";
import { AsyncResult } from "../results/async-result.ts";
import { type Row, taskKey } from "../results/backend.ts";
import { GroupResult } from "../results/group-result.ts";
import type { ResultReader } from "../results/reader.ts";
import { decide } from "../results/record.ts";
import { FAILURE } from "../states.ts";
import { currentScope } from "../tasks/context.ts";
import type { CallOptions } from "../tasks/options.ts";
import { consoleLog } from "../tasks/logger.ts";
import { type Addressed, checkLimits, createCall, reread } from "../tasks/publish.ts";
import { createRequest, optionsInForce } from "../tasks/request.ts";
import type { Task } from "../tasks/task.ts";
import { sendFor } from "./attempt.ts";
import { builtinTask } from "./builtins.ts";
import { conclude, type Facts, ranTask, settledBy } from "./conclude.ts";
import { failedMeta, storeFate } from "./dead-letter.ts";
import { follow, retryMessage } from "./follow.ts";
import { completeChord } from "./join.ts";
import { silent } from "./log.ts";
import { signalEnd } from "./report.ts";
import { type Sender, senderOf } from "./sender.ts";
import { Stop } from "./stop.ts";
import { type Attempt, runHooks, trace, type Traced } from "./trace.ts";

/** Runs a task to its end, its retries at once, without waiting for their countdown, and then what follows from it. */
export function applyEagerly(
  app: Lovage,
  task: Task,
  args: readonly unknown[],
  options: CallOptions,
): Promise<AsyncResult> {
  return runEagerly(app, async (sender) => {
    checkLimits(app.engine, task.name, options);
    const call = await createCall(app.engine, task.name, args, options);
    await sender.send(call);
    return { id: call.message.id };
    // The result of a task is no group's.
  }) as Promise<AsyncResult>;
}

/** Runs a canvas to its end. */
export function applyCanvasEagerly(
  app: Lovage,
  signature: SignatureData,
  args: readonly unknown[],
  options: CallOptions,
): Promise<Applied> {
  return runEagerly(app, async (sender) => {
    const { engine } = app;
    const { kwargs = {}, ...given } = options;
    const whole = withOptions(signature, toWireOptions(given));
    const { calls, joins, node } = expand(whole, { args, kwargs }, {}, rulesOf(engine), countingOf(engine));
    for (const call of calls) checkLimits(engine, call.task, call.options);
    for (const join of joins) for (const row of await joinRows(join, rowContext(engine))) await sender.apply(row);
    for (const call of calls) await sender.send(await createCall(engine, call.task, call.args, call.options), call);
    return node;
  });
}

/** Completes a chord whose header was a generator, where all had ended before its end was known. */
export const completeStreamed = (engine: Engine, group: string, body: SignatureData): Promise<void> =>
  completeChord(senderOf(engine, silent), group, body, { id: group, rootId: group });

async function runEagerly(app: Lovage, begin: (sender: Sender) => Promise<ResultNode>): Promise<Applied> {
  const { engine } = app;
  const rows = new Map<string, Row>();
  const queue: Addressed[] = [];
  const sender: Sender = {
    engine,
    log: silent,
    async apply(command) {
      const { write, outcome } = decide(rows.get(command.key), command);
      if (write !== undefined) rows.set(command.key, write);
      return outcome;
    },
    read: async (keys) => keys.map((key) => rows.get(key)),
    async send(message) {
      queue.push(await asSent(message));
    },
    // What runs in its caller is told of by its caller.
    async note() {},
  };
  const node = await begin(sender);
  currentScope()?.children.push(childOf(node));
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) await runToEnd(app, sender, next);

  const reader = eagerReader(engine, rows);
  const result = toResult(reader, node);
  const metas = await reader.metas(result instanceof GroupResult ? result.ids : [result.id]);
  if (engine.config.taskStoreEagerResult) await storeAll(engine, rows);
  const failed = engine.config.taskEagerPropagates ? metas.find(({ status }) => status === FAILURE) : undefined;
  if (failed !== undefined) throw reader.value(failed);
  return result;
}

/** As a worker would have it, through the serializer, so that what runs here runs there: Celery's eager mode does so too. */
async function asSent(call: Addressed): Promise<Addressed> {
  const { message, queue, body } = call;
  return { ...call, message: await reread(message, body ?? (await encodeEnvelope(message))), queue };
}

/** Runs one message to its end, and has what follows from it sent. */
async function runToEnd(app: Lovage, sender: Sender, call: Addressed): Promise<void> {
  const { engine } = app;
  const { clock, config, emitter } = engine;
  let { message } = call;
  const task = engine.task(message.task) ?? builtinTask(app, message.task);
  if (task === undefined) {
    const meta = failedMeta(engine, message.id, app.notRegistered(message.task));
    await storeFate(sender, message.id, meta);
    const [row] = await sender.read([taskKey(message.id)]);
    if (row !== undefined) await follow(sender, message, call, row);
    return;
  }
  const taskOptions = engine.optionsOf(task);
  const never = new Stop();
  for (;;) {
    const attempt: Attempt = {
      task,
      options: taskOptions,
      message,
      request: createRequest(message, {
        queue: call.queue,
        hostname: "",
        deliveries: 1,
        ...optionsInForce(config, taskOptions, message, call.queue),
        isEager: true,
      }),
      clock,
      random: engine.platform.random,
      abort: never,
      deadline: Number.POSITIVE_INFINITY,
      sender,
      log: consoleLog,
      // Nobody else can look at it before it has ended.
      updateState: async () => {},
      stream: () => ({ write: async () => {}, end: async () => {} }),
    };
    const isOver = isExpired(message, clock.now());
    const { request } = attempt;
    const runOnce = async () => {
      if (!isOver)
        await emitter.emit("taskPrerun", { task: message.task, taskId: message.id, request, args: message.args });
      const traced = isOver
        ? { outcome: { type: "revoked", reason: "expired" } as const, children: [], added: 0, runtime: 0 }
        : await trace(attempt);
      const { outcome } = traced;
      // Nobody told it to stop, and `rateLimited()` throws here.
      if (outcome.type === "released" || outcome.type === "rateLimited") throw new WorkerShutdown();
      const facts: Facts = {
        message,
        hostname: "",
        owner: "",
        children: traced.children,
        ignoreResult: request.ignoreResult,
        storeErrorsEvenIfIgnored: taskOptions.storeErrorsEvenIfIgnored ?? config.taskStoreErrorsEvenIfIgnored,
        source: call,
      };
      const conclusion = await conclude(engine, facts, outcome);
      if (!isOver) {
        await runHooks(attempt, outcome, conclusion, (hook, error) => {
          console.error(`${hook} of ${task.name}[${message.id}] threw:`, error);
        });
      }
      await signalEnd(engine, attempt, traced as Traced, conclusion);
      return { outcome, conclusion };
    };
    const { outcome, conclusion } = await surround(
      isOver ? [] : runSteps(engine.arounds, request),
      runOnce,
      (end) => ranTask(end.outcome, end.conclusion),
      engine.reportAround,
    );
    if (outcome.type === "retry" || outcome.type === "checkpoint") {
      ({ message } = await asSent({ message: retryMessage(message, outcome.change), queue: call.queue }));
      continue;
    }
    await sender.apply({
      type: "final",
      key: taskKey(message.id),
      now: clock.now(),
      ttl: engine.ttl(),
      ...conclusion.command,
      unclaimed: true,
    });
    await sendFor(
      engine,
      () => attempt,
      () => follow(sender, message, call, settledBy(conclusion)),
    );
    return;
  }
}

async function storeAll(engine: Engine, rows: ReadonlyMap<string, Row>): Promise<void> {
  const now = engine.clock.now();
  const commands = [...rows].flatMap(([key, { result, hidden }]) =>
    result.length === 0 || hidden ? [] : [{ type: "store" as const, key, now, ttl: engine.ttl(), result }],
  );
  for (const stored of await (await engine.backend()).apply(commands)) if (stored instanceof Error) throw stored;
}

/** Answers of the tasks that have run here, also of those whose result is not to be stored; all else is asked of the store. */
function eagerReader(engine: Engine, rows: Map<string, Row>): ResultReader {
  const { reader } = engine;
  const own = (id: string) => rows.get(taskKey(id));
  async function meta(id: string): Promise<Meta> {
    const row = own(id);
    if (row === undefined) return reader.meta(id);
    return row.result.length === 0 ? pendingMeta(id) : decodeMeta(row.result, engine.codec);
  }
  const eager: ResultReader = {
    ...reader,
    meta,
    metas: (ids) => Promise.all(ids.map(meta)),
    wait: (id, options) => (own(id) === undefined ? reader.wait(id, options) : meta(id)),
    children: (found) => reader.children(found).map((child) => eager.fromTuple(tupleOf(child))),
    fromTuple([[id], members], parent = null) {
      if (members === null) return new AsyncResult(eager, id, parent);
      const results = members.map((member) => eager.fromTuple(member));
      return new GroupResult(eager, id, { length: results.length, at: (index) => results[index] as Applied }, parent);
    },
    async forget(id) {
      const row = own(id);
      if (row === undefined) return reader.forget(id);
      rows.set(taskKey(id), { ...row, result: "" });
      return true;
    },
    async revoke(id, terminate) {
      // It has ended: nothing changes, as for any other task that has.
      return own(id) === undefined ? reader.revoke(id, terminate) : (await meta(id)).status;
    },
  };
  return eager;
}

const tupleOf = (result: Applied) =>
  result instanceof GroupResult ? result.toTuple() : ([[result.id, null], null] as const);
