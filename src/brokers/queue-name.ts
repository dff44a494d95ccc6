/** What a queue may be called, and what it is called on SQS. */
import { ImproperlyConfigured } from "../errors.ts";
import { deadLetterQueue, isDeadLetterQueue, isFifo } from "./broker.ts";

/** The longest name of an SQS queue, `.fifo` included. */
const MAX_LENGTH = 80;

/** ASCII punctuation but `-` and `_`, which SQS has in names. */
const PUNCTUATION = /[!-,./:-@[-^`{-~]/g;

/**
 * The name of a queue on SQS, as kombu makes it: in prefix and name together `.` becomes `-`, other ASCII punctuation
 * except `-` and `_` becomes `_`, and `.fifo` at the end stays.
 */
export function translateQueueName(prefix: string, name: string): string {
  const full = prefix + name;
  const stem = isFifo(full) ? full.slice(0, -".fifo".length) : full;
  return stem.replace(PUNCTUATION, (sign) => (sign === "." ? "-" : "_")) + (isFifo(full) ? ".fifo" : "");
}

/** A step of a queue's priorities. */
export interface Band {
  /** The lowest priority that belongs to it, 0 to 255; to the lowest band what is below belongs too. */
  readonly priority: number;
  /** Its share of the workers' concurrency, beside those of the queue's other bands. */
  readonly weight: number;
}

/** The lowest priority first; at least two. */
export type Bands = readonly Band[];

/**
 * The queues that a queue with bands is, in their order. The lowest band is the queue itself, so that a sender that knows of no
 * bands is served; the others have their priority in their names: `celery`, `celery-priority-5`, `celery-priority-9`. On
 * Redis kombu puts the signs \x06\x16 between the two, which SQS refuses in a name.
 */
export const bandQueues = (queue: string, bands: Bands | undefined): readonly string[] => [
  queue,
  ...(bands ?? []).slice(1).map(({ priority }) => `${queue}-priority-${priority}`),
];

/**
 * Checks the name of a queue and returns its name on SQS. The same rules hold for every broker, so that what runs on a
 * laptop can be deployed. Throws `ImproperlyConfigured` for an empty name, a letter outside ASCII, a name that is too
 * long, and one that is reserved for dead letters (`-dlq` at the end).
 *
 * @param setting What the name was given as, for the error.
 * @param declared The queue is one of the app's own and gets a dead-letter queue, whose name has to fit too.
 */
export function checkQueueName(setting: string, prefix: string, name: string, declared: boolean): string {
  const translated = translateQueueName(prefix, name);
  const shown = `the queue name ${JSON.stringify(name)}`;
  if (name === "" || name === ".fifo") throw new ImproperlyConfigured(setting, "a queue name must not be empty");
  if (!/^[\w-]+(\.fifo)?$/.test(translated)) {
    throw new ImproperlyConfigured(
      setting,
      `${shown} has characters that SQS refuses; use ASCII letters, digits, "-" and "_" ("." becomes "-", other punctuation "_")`,
    );
  }
  if (isDeadLetterQueue(translated)) {
    throw new ImproperlyConfigured(
      setting,
      `${shown} is reserved: names that end in -dlq or -dlq.fifo are those of dead-letter queues`,
    );
  }
  const longest = declared ? deadLetterQueue(translated) : translated;
  if (longest.length > MAX_LENGTH) {
    throw new ImproperlyConfigured(
      setting,
      `${shown} is too long: ${JSON.stringify(longest)} has ${longest.length} characters and SQS takes ${MAX_LENGTH}, prefix${declared ? ' and "-dlq"' : ""} included`,
    );
  }
  return translated;
}
