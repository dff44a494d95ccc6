/** Calls of tasks that are unique: the row before the message. Loaded for such tasks alone. */
import type { Engine } from "../engine.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { type LimitKey, MOST_UNIQUE_S } from "../limits/declare.ts";
import { limitRow } from "../limits/rows.ts";
import type { LimitStore } from "../limits/store.ts";
import { askUnique, endUnique, seeSent, tellSent, type UniqueAnswer, type UniqueAsk } from "../limits/unique.ts";
import { UNIQUE_HEADER } from "../protocol/message.ts";
import { MESSAGE_DAYS } from "../protocol/pointer.ts";
import { parseTime } from "../protocol/time.ts";
import { stringifyValue } from "../protocol/values.ts";
import { taskKey } from "../results/backend.ts";
import { isEnded } from "../results/record.ts";
import { keyOfCall, uniquenessOf } from "./limits.ts";
import type { TaskOptions } from "./options.ts";
import { createCall, type PublishOptions, send } from "./publish.ts";
import type { Sent } from "./send-call.ts";
import type { Task } from "./task.ts";

/** Longer arguments, in characters, are kept outside of the row where there is a store for them: one of DynamoDB takes 400 KB. */
const MAX_CALL = 65_536;

/** Sends a call, unless there is one of its key. Throws what {@link send} throws; then no row is left of it. */
export async function sendUnique(
  engine: Engine,
  task: Task,
  declared: TaskOptions,
  args: readonly unknown[],
  options: PublishOptions,
): Promise<Sent> {
  const { option, key, ms, isHeld, replaces, debounce } = uniquenessOf(declared);
  if (debounce !== undefined && (options.countdown !== undefined || options.eta !== undefined))
    throw new ImproperlyConfigured(
      options.eta === undefined ? "countdown" : "eta",
      `${task.name} declares debounce, which says when it starts; leave it out`,
    );
  const kwargs = options.kwargs ?? {};
  // Those that replace others have to be text before anything is awaited.
  const call = replaces ? stringifyValue({ args, kwargs }, "args") : undefined;
  const own = options.taskId ?? engine.uuid();
  const row = await limitRow("unique", task.name, await keyOfCall(task, option, key as LimitKey, { args, kwargs }));
  const store = await engine.limits();
  const isLong = call !== undefined && call.length > MAX_CALL;
  // A long one is kept only where another waits, which it replaces.
  let said = isLong ? undefined : call;
  const ask = (more: Partial<UniqueAsk>) =>
    store.decide(row, (state) =>
      askUnique(state, {
        now: engine.clock.now(),
        id: own,
        ms: ms ?? MOST_UNIQUE_S * 1000,
        call: said,
        debounce,
        ...more,
      }),
    );
  let answer = await ask({});
  if (isLong && !answer.isNew) {
    said = (await (await engine.payloads())?.put(call, own, MESSAGE_DAYS)) ?? call;
    answer = await ask({});
  }
  if (!answer.isNew && isHeld && (await isOver(engine, answer))) answer = await ask({ over: answer.id });
  const { id, isNew } = answer;
  if (!answer.send || (!isNew && (await wasSent(engine, store, row, id)))) return { id, sent: undefined };
  try {
    const sent = await createCall(engine, task.name, args, {
      ...options,
      taskId: id,
      ...(debounce !== undefined && { countdown: debounce.wait / 1000 }),
      ...(isHeld && { headers: { ...options.headers, [UNIQUE_HEADER]: row } }),
    });
    await send(engine, sent, options);
    const { expires } = sent.message;
    await store.decide(row, (state) => tellSent(state, id, expires === null ? undefined : parseTime(expires)));
    return { id, sent };
  } catch (error) {
    if (isNew) await store.decide(row, (state) => endUnique(state, id)).catch(() => {});
    throw error;
  }
}

/**
 * When it is looked for the message of a twin that is being sent by another caller, in milliseconds after the look before.
 * Who has not told of it after all of them, 1.3 seconds, counts as dead.
 */
const LOOKS_MS = [0, 5, 10, 20, 40, 80, 160, 320, 640];

/** Whether the one that wrote a row has sent its message: hundreds that call at once must not send a copy each. */
async function wasSent(engine: Engine, store: LimitStore, row: string, id: string): Promise<boolean> {
  for (const ms of LOOKS_MS) {
    // Of real time, as it is a real sender that is waited for: nobody moves a test's clock on while it waits for its call.
    await new Promise((resolve) => setTimeout(resolve, ms));
    const sent = await store.decide(row, (state) => seeSent(state, id));
    if (sent === true) return true;
    // It could not be sent, or has started before that was told.
    if (sent === undefined) return (await resultRow(engine, id)) !== undefined;
  }
  return false;
}

/** It was revoked before it came to its start, say, or waits in its queue beyond its time: nobody else can have told its row. */
async function isOver(engine: Engine, { id, needsResult }: UniqueAnswer): Promise<boolean> {
  const row = await resultRow(engine, id);
  return row === undefined ? needsResult : isEnded(row);
}

async function resultRow(engine: Engine, id: string) {
  const [row] = await (await engine.backend()).read([taskKey(id)], { consistent: true });
  return row;
}
