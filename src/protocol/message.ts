/**
 * A task's message as a frozen value: Celery's protocol 2 with names in camelCase. The envelope turns it into the text
 * that a queue carries and back; nobody else knows how it looks on the wire.
 */
import { parseTime } from "./time.ts";

/** A call that is to be made later, as Celery writes it in JSON: it stays data, in Python's spelling, until it is applied. */
export interface SignatureData {
  /** The task's registered name; of a workflow Celery's own, such as `celery.chain`. */
  readonly task: string;
  /** What it is called with, so far. */
  readonly args: readonly unknown[];
  /** What Python calls by names; of a workflow its parts. */
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** Options of `apply_async`, in Python's spelling (`task_id`, `group_id`, `countdown` …). */
  readonly options: Readonly<Record<string, unknown>>;
  /** `chain`, `group`, `chord` and the like; `null`: a task. */
  readonly subtask_type: string | null;
  /** It takes nothing of the step before it. */
  readonly immutable: boolean;
  /** Of a chord's body: how many members its header has. */
  readonly chord_size?: number | null;
  /** Of a chord's body, and ours: its header is counted in rows of so many members. Default: in one row. */
  readonly join_leaves?: number | null;
}

/** By which exchange and key a message came. */
export interface DeliveryInfo {
  /** `""` for the anonymous exchange, which is what a direct queue is reached by. */
  readonly exchange: string;
  /** The queue's name where the exchange is anonymous. */
  readonly routingKey: string;
}

export interface Message {
  readonly id: string;
  /** The task's registered name. */
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;

  // What follows it. Every list is a copy; [] means none.
  /** `link`: applied with the result when the task succeeds. */
  readonly callbacks: readonly SignatureData[];
  /** `link_error`: applied when the task fails. */
  readonly errbacks: readonly SignatureData[];
  /** The rest of the chain, reversed as on the wire: the next step is the last element. */
  readonly chain: readonly SignatureData[];
  /** The body of the chord that this task is a member of. */
  readonly chord: SignatureData | null;

  /** When the task may start, as text in ISO 8601; a time without an offset is UTC. */
  readonly eta: string | null;
  /** From when on the task must not start any more; the same form. */
  readonly expires: string | null;
  /** Attempts that asked for another, so far. */
  readonly retries: number;
  /** Hard and soft limit in seconds, `null` for the task's own. */
  readonly timelimit: readonly [hard: number | null, soft: number | null];
  /** `null`: as the task's own option says. */
  readonly ignoreResult: boolean | null;
  readonly rootId: string | null;
  readonly parentId: string | null;
  readonly group: string | null;
  readonly groupIndex: number | null;
  /** How often the task replaced itself (`self.replace`). */
  readonly replacedTaskNesting: number;
  readonly stampedHeaders: readonly string[] | null;
  readonly stamps: Readonly<Record<string, unknown>>;
  /** A name to log in place of the task's own. */
  readonly shadow: string | null;
  readonly lang: string;
  readonly origin: string | null;
  readonly argsrepr: string | null;
  readonly kwargsrepr: string | null;
  /** Headers of the user's own, and any this version does not know: kept through retry and replace. */
  readonly headers: Readonly<Record<string, unknown>>;

  readonly correlationId: string | null;
  readonly replyTo: string | null;
  /** 0 to 255; what it means is up to the broker. `null`: none given. */
  readonly priority: number | null;
  readonly deliveryInfo: DeliveryInfo;
  /** Properties this version does not know, as they came (`MessageGroupId`, `DelaySeconds` …). */
  readonly properties: Readonly<Record<string, unknown>>;

  /** How the body is (to be) serialized: `application/json`, `application/x-msgpack` or `application/x-yaml`. */
  readonly contentType: string;
  /** How the body is (to be) compressed: a mime type such as `application/x-gzip`; `null`: not at all. */
  readonly compression: string | null;
}

/** What every message has unless its maker says otherwise. */
const MESSAGE_DEFAULTS = {
  args: [],
  kwargs: {},
  callbacks: [],
  errbacks: [],
  chain: [],
  chord: null,
  eta: null,
  expires: null,
  retries: 0,
  timelimit: [null, null],
  ignoreResult: null,
  rootId: null,
  parentId: null,
  group: null,
  groupIndex: null,
  replacedTaskNesting: 0,
  stampedHeaders: null,
  stamps: {},
  shadow: null,
  lang: "js",
  origin: null,
  argsrepr: null,
  kwargsrepr: null,
  headers: {},
  correlationId: null,
  replyTo: null,
  priority: null,
  deliveryInfo: { exchange: "", routingKey: "celery" },
  properties: {},
  contentType: "application/json",
  compression: null,
} as const satisfies Omit<Message, "id" | "task">;

/** A message: the given facts, and defaults for the rest. The root of a task without one is the task itself, as in Celery. */
export function createMessage(facts: Pick<Message, "id" | "task"> & Partial<Message>): Message {
  return Object.freeze({
    ...MESSAGE_DEFAULTS,
    ...facts,
    rootId: facts.rootId ?? facts.id,
    correlationId: facts.correlationId ?? facts.id,
  });
}

/** The header of a task that is unique until it starts or ends: the row that says so. */
export const UNIQUE_HEADER = "lovage_unique";

/** Whether its time is over: what has waited for too long is not run. */
export const isExpired = ({ expires }: Pick<Message, "expires">, now: number): boolean =>
  expires !== null && parseTime(expires) < now;

/** The header of a message whose caller chose the id, or one of those in its canvas: when it was sent (`Claim.sent`). */
export const SENT_HEADER = "lovage_sent_at";

/** When a message was sent whose id may come again. */
export function sentOf({ headers }: Pick<Message, "headers">): number | undefined {
  const at = headers[SENT_HEADER];
  return typeof at === "number" && Number.isFinite(at) ? at : undefined;
}

/** The header of a message that is known to be one which was sent again after it had been forgotten: when (`Row.again`). */
const AGAIN_HEADER = "lovage_sent_again";

/** A message of which its row says so. */
export const sentAgain = (message: Message, again: number | undefined): Message =>
  again === undefined ? message : createMessage({ ...message, headers: { ...message.headers, [AGAIN_HEADER]: again } });

/** The headers that a caller has put on a message, without our own. */
export function ownHeaders({ headers }: Pick<Message, "headers">): Message["headers"] {
  if (OUR_HEADERS.every((name) => headers[name] === undefined)) return headers;
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !OUR_HEADERS.includes(name)));
}

/** What the ids of what follows from an attempt are made of, beside the message's own: others follow from what was sent again. */
export function lineOf(message: Ordered): number | string {
  const again = message.headers[AGAIN_HEADER];
  return typeof again === "number" ? `${attemptOf(message)}@${again}` : attemptOf(message);
}

/** The header of a message that goes on where its task has stopped (`self.checkpoint`). */
export const CHECKPOINT_HEADER = "lovage_checkpoint";

const OUR_HEADERS: readonly string[] = [SENT_HEADER, AGAIN_HEADER, CHECKPOINT_HEADER];

/** Where a task has stopped. */
export interface Checkpoint {
  /** How many there were, this one among them, in all attempts. */
  readonly count: number;
  /** The state that it has stored, in the form of a result; with `kept` the pointer to it. */
  readonly text: string;
  readonly kept?: boolean | undefined;
}

/** What a message says of it; `undefined`: the task begins at its beginning. */
export function checkpointOf({ headers }: Pick<Message, "headers">): Checkpoint | undefined {
  const { count, text, kept } = Object(headers[CHECKPOINT_HEADER]) as Partial<Checkpoint>;
  return Number.isInteger(count) && typeof text === "string"
    ? { count: Math.min(Number(count), MAX_CHECKPOINTS), text, kept: kept === true }
    : undefined;
}

/** As many as have a place of their own in the order of messages. */
export const MAX_CHECKPOINTS = 2 ** 16 - 1;

type Ordered = Pick<Message, "headers" | "replacedTaskNesting" | "retries">;

/**
 * The order of a task's messages that share its id: a replacement comes after what it replaces, a retry after what it
 * repeats, and what goes on from a checkpoint after what has stored it. A plain number, so that a store can compare it: nesting
 * in the upper bits, retries in the lower 32, checkpoints behind the point.
 */
export function attemptOf(message: Ordered): number {
  const { count = 0 } = checkpointOf(message) ?? {};
  return message.replacedTaskNesting * 2 ** 32 + message.retries + count / 2 ** 16;
}

/**
 * The message as that of a later attempt of its task. What has taken the task's place has its links beside others of its own: a
 * link has its number among all of them, and is called by that one alone.
 */
export function atAttempt(message: Message, attempt: number): Message {
  const nesting = Math.floor(attempt / 2 ** 32);
  const count = Math.round((attempt % 1) * 2 ** 16);
  const { [CHECKPOINT_HEADER]: _, ...headers } = message.headers;
  const { text = "null", kept } = checkpointOf(message) ?? {};
  const checkpoint: Checkpoint = { count, text, kept };
  return createMessage({
    ...message,
    ...(nesting > message.replacedTaskNesting && { callbacks: [], errbacks: [] }),
    replacedTaskNesting: nesting,
    retries: Math.floor(attempt % 2 ** 32),
    headers: count === 0 ? headers : { ...headers, [CHECKPOINT_HEADER]: checkpoint },
  });
}
