/** Dead letters, as an operator asks for them. */
import { type Broker, deadLetterQueue, isDeadLetterQueue } from "../brokers/broker.ts";
import {
  type DeadLetter,
  type DeadLetterFilter,
  discard,
  redrive,
  takeDeadLetters,
  type Texts,
} from "../brokers/dead-letters.ts";
import type { Engine } from "../engine.ts";
import { ImproperlyConfigured, LovageError } from "../errors.ts";
import { noteAction, whoIs } from "./who.ts";
import type {
  Acting,
  ChangedLetters,
  ChangeLetters,
  DeadLetters,
  LettersOf,
  RedriveLetters,
  ShownLetter,
} from "./control.ts";
import { fitted } from "../tasks/publish.ts";
import { queuesOf } from "./inspect.ts";

/** What may stand in the place of a text that is too large. */
export const textsOf = (engine: Engine): Texts => ({
  whole: (body) => engine.wholeText(body),
  fit: (queue, message, text) => fitted(engine, queue, message, text),
});

const originOf = (dead: string): string => dead.replace(/-dlq(\.fifo)?$/, "$1");

/** The queues whose dead letters are meant. Throws `ImproperlyConfigured` for the name of a dead-letter queue. */
export async function queuesWithLetters(
  engine: Engine,
  given: readonly string[] | undefined,
): Promise<readonly string[]> {
  for (const queue of given ?? []) {
    if (isDeadLetterQueue(queue))
      throw new ImproperlyConfigured(
        "--queues",
        `names the queue that they came from: ${originOf(queue)}, not ${queue}`,
      );
  }
  if (given !== undefined) return given;
  const existing = await (await engine.broker()).queues();
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
export const noteLetter = (
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

export function createLetters(engine: Engine): DeadLetters {
  async function* taken({
    queues,
    ...filter
  }: LettersOf): AsyncGenerator<readonly [Broker, DeadLetter], void, undefined> {
    const broker = await engine.broker();
    for (const queue of await queuesWithLetters(engine, queues))
      for await (const letter of takeDeadLetters(broker, queue, filter satisfies DeadLetterFilter))
        yield [broker, letter];
  }

  async function change(
    filter: ChangeLetters,
    action: Parameters<typeof noteLetter>[1],
    act: (broker: Broker, letter: DeadLetter) => Promise<void>,
  ): Promise<ChangedLetters> {
    const { dryRun = false, by, ...rest } = filter;
    const acting = by === undefined ? undefined : { by };
    // A name that is none is refused before anything is done.
    await whoIs(engine, acting);
    const failed: { readonly letter: ShownLetter; readonly error: unknown }[] = [];
    let count = 0;
    for await (const [broker, letter] of taken(rest)) {
      try {
        if (!dryRun) {
          await act(broker, letter);
          await noteLetter(engine, action, letter, acting);
        }
        count++;
      } catch (error) {
        failed.push({ letter: shown(letter), error });
      }
    }
    return { count, failed };
  }

  return {
    async *list(filter = {}) {
      for await (const [, letter] of taken(filter)) yield shown(letter);
    },
    redrive({ args, kwargs, ...filter }: RedriveLetters = {}) {
      const sentBack = new Set<string>();
      return change(filter, "redrive", async (broker, letter) => {
        const what = letter.id ?? letter.delivery.body;
        if (sentBack.has(what)) throw new LovageError("it was sent back, and has come again");
        await redrive(broker, letter, { now: engine.clock.now(), args, kwargs, texts: textsOf(engine) });
        sentBack.add(what);
      });
    },
    delete: (filter: ChangeLetters = {}) => change(filter, "deleteDeadLetter", discard),
  };
}
