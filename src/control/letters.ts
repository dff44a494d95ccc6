/** Dead letters, as an operator asks for them. */
import { type Broker, deadLetterQueue, isDeadLetterQueue } from "../brokers/broker.ts";
import { type DeadLetter, discard, redrive, takeDeadLetters, type Texts } from "../brokers/dead-letters.ts";
import type { Engine } from "../engine.ts";
import { ImproperlyConfigured, LovageError, OperationalError } from "../errors.ts";
import { instant, rangeOf } from "../journal/query.ts";
import { boolean, fail, integer, names, object, options, type Parse, shape, signal, text } from "../parse.ts";
import { isPointer, MESSAGE_DAYS } from "../protocol/pointer.ts";
import { type Asked, writeRedriven } from "./rows.ts";
import { noteAction, whoIs } from "./who.ts";
import type { Acting, ChangedLetters, ChangeLetters, DeadLetters, RedriveLetters, ShownLetter } from "./control.ts";
import { fitted } from "../tasks/publish.ts";
import { isOthers, noQueue, queuesOf } from "./inspect.ts";

/** What may stand in the place of a text that is too large. */
const textsOf = (engine: Engine): Texts => ({
  whole: async (body) => engine.wholeText(body),
  fit: (queue, message, text) => fitted(engine, queue, message, text),
  async renew(body) {
    if (!isPointer(body)) return body;
    try {
      return (await (await engine.payloads())?.renew(body, MESSAGE_DAYS)) ?? body;
    } catch (error) {
      // What is lost is sent as it is, and its task says so.
      if (error instanceof OperationalError) throw error;
      return body;
    }
  },
});

const originOf = (dead: string): string => dead.replace(/-dlq(\.fifo)?$/, "$1");

/** The queues whose dead letters are meant. Throws `ImproperlyConfigured` for the name of a dead-letter queue, and `QueueNotFound`. */
async function queuesWithLetters(engine: Engine, given: readonly string[] | undefined): Promise<readonly string[]> {
  for (const queue of given ?? []) {
    if (isDeadLetterQueue(queue))
      throw new ImproperlyConfigured(
        "queue",
        `must be the queue that the dead letters came from: ${originOf(queue)}, not ${queue}`,
      );
  }
  const isDeclared = (queue: string) => queue in engine.config.taskQueues;
  if (given?.every(isDeclared)) return given;
  const existing = await (await engine.broker()).queues();
  // Of a name that is mistyped there would be none, and nothing would be done.
  for (const queue of given ?? []) {
    const isThere = isDeclared(queue) || existing.includes(queue) || existing.includes(deadLetterQueue(queue));
    if (!isThere) throw noQueue(engine, queue, existing);
  }
  if (given !== undefined) return given;
  const all = [...queuesOf(engine, existing), ...existing.filter(isDeadLetterQueue).map(originOf)];
  return [...new Set(all)].filter((queue) => existing.includes(deadLetterQueue(queue)));
}

const shown = ({ queue, delivery, task, id, error, reason, deliveries, sentAt, deadAt }: DeadLetter): ShownLetter => ({
  queue,
  message: delivery.messageId,
  task,
  id,
  error,
  reason,
  deliveries,
  sentAt,
  deadAt,
  body: delivery.body,
});

/** The journal is told what was done to a letter. */
const noteLetter = (
  engine: Engine,
  action: "redrive" | "deleteDeadLetter",
  { id, task, queue, delivery }: DeadLetter,
  given?: Acting,
): Promise<void> =>
  noteAction(
    engine,
    action,
    { message: delivery.messageId, queue, ...(id !== undefined && { id }), ...(task !== undefined && { task }) },
    given,
  );

/** By this it can be revoked until it begins. It was sent back, also where that cannot be noted. */
const noteRedriven = (engine: Engine, sent: Asked, now: number): Promise<void> =>
  engine
    .backend()
    .then((backend) => writeRedriven(backend, sent, now))
    .catch(() => {});

/** What is asked, checked. */
interface Which {
  readonly queue?: readonly string[];
  readonly task?: readonly string[];
  readonly error?: string;
  readonly id?: readonly string[];
  readonly from?: number;
  readonly to?: number;
  readonly limit?: number;
}

interface Given extends Which {
  readonly dryRun?: boolean;
  readonly by?: string;
  readonly each?: (letter: ShownLetter) => void;
  readonly signal?: AbortSignal;
}

interface GivenRedrive extends Given {
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
}

const list: Parse<readonly unknown[]> = (value, at) => (Array.isArray(value) ? value : fail(at, "a list", value));
const callback: Parse<(letter: ShownLetter) => void> = (value, at) =>
  typeof value === "function" ? (value as (letter: ShownLetter) => void) : fail(at, "a function", value);

const WHICH = { queue: names, task: names, error: text, id: names, from: instant, to: instant, limit: integer(0) };
const CHANGE = { ...WHICH, dryRun: boolean, by: text, each: callback, signal };
const listShape = shape<Which>(WHICH, {});
const deleteShape = shape<Given>(CHANGE, {});
const redriveShape = shape<GivenRedrive>({ ...CHANGE, args: list, kwargs: object }, {});

export function createLetters(engine: Engine): DeadLetters {
  /** Throws `ImproperlyConfigured` for what is no filter. */
  function check<T extends Which>(parse: Parse<T>, filter: object, at: string): T {
    const given = options(parse, filter, `deadLetters.${at}`, '{ task: "media.*", error: "Timeout" }');
    if (given.error === "") throw new ImproperlyConfigured("error", "must not be empty");
    return { ...given, ...rangeOf(`deadLetters.${at}`, given, engine.clock.now()) };
  }

  async function* taken(given: Which): AsyncGenerator<readonly [Broker, DeadLetter], void, undefined> {
    const { queue, limit = Number.POSITIVE_INFINITY, ...filter } = given;
    const broker = await engine.broker();
    let count = 0;
    for (const name of await queuesWithLetters(engine, queue)) {
      if (count >= limit) return;
      try {
        for await (const letter of takeDeadLetters(broker, name, filter)) {
          yield [broker, letter];
          if (++count >= limit) break;
        }
      } catch (error) {
        if (queue !== undefined || !isOthers(engine, name, error)) throw error;
      }
    }
  }

  async function change(
    given: Given,
    action: Parameters<typeof noteLetter>[1],
    act: (broker: Broker, letter: DeadLetter) => Promise<void>,
  ): Promise<ChangedLetters> {
    const { dryRun = false, by, each, signal: until } = given;
    const acting = by === undefined ? undefined : { by };
    // A name that is none is refused before anything is done.
    await whoIs(engine, acting);
    const failed: { readonly letter: ShownLetter; readonly error: unknown }[] = [];
    let count = 0;
    for await (const [broker, letter] of taken(given)) {
      if (until?.aborted) break;
      try {
        if (!dryRun) {
          await act(broker, letter);
          await noteLetter(engine, action, letter, acting);
        }
        count++;
        each?.(shown(letter));
      } catch (error) {
        failed.push({ letter: shown(letter), error });
      }
    }
    return { count, failed };
  }

  return {
    async *list(filter = {}) {
      for await (const [, letter] of taken(check(listShape, filter, "list"))) yield shown(letter);
    },
    async redrive(filter: RedriveLetters = {}) {
      const given = check(redriveShape, filter, "redrive");
      const { args, kwargs } = given;
      const sentBack = new Set<string>();
      return change(given, "redrive", async (broker, letter) => {
        const what = letter.id ?? letter.delivery.body;
        if (sentBack.has(what)) throw new LovageError("it was sent back, and has come again");
        const now = engine.clock.now();
        const sent = await redrive(broker, letter, { now, args, kwargs, texts: textsOf(engine) });
        sentBack.add(what);
        if (letter.id !== undefined) await noteRedriven(engine, { id: letter.id, redrive: sent }, now);
      });
    },
    delete: async (filter: ChangeLetters = {}) =>
      change(check(deleteShape, filter, "delete"), "deleteDeadLetter", discard),
  };
}
