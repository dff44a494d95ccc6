/** The broker in a file (`sqlite://`): SQS's model in two tables and a memory of deduplication ids, shared by processes. */
import type { SQLInputValue } from "node:sqlite";
import { OperationalError } from "../errors.ts";
import { type Database, openDatabase } from "../sqlite/database.ts";
import type { Subject } from "../sqlite/news.ts";
import {
  type Broker,
  type BrokerContext,
  type Delivery,
  DEDUPLICATION_MS,
  isFifo,
  EMBEDDED_LIMITS,
  type Outgoing,
  type ReceiveOptions,
  refusal,
  type Settled,
  VISIBILITY_MS,
} from "./broker.ts";
import { shareJob, type Unit } from "../unit.ts";
import { longPoll } from "./long-poll.ts";

/** The far end of a delay without end: what SQLite and JavaScript both hold exactly. */
const NEVER = Number.MAX_SAFE_INTEGER;

/**
 * A message is `ready` (1: to be had now) or waits for its `visible_at` (0: delayed, or handed out). Each kind has an
 * index of its own in the order it is looked for, so that neither 100,000 delayed nor 100,000 ready ones slow a receive.
 * AUTOINCREMENT: an id is never used again, so that a stale receipt cannot name a younger message.
 */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS queue (name TEXT PRIMARY KEY) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    ready INTEGER NOT NULL,
    visible_at INTEGER NOT NULL,
    receive_count INTEGER NOT NULL DEFAULT 0,
    priority INTEGER NOT NULL,
    sent_at INTEGER NOT NULL,
    group_id TEXT,
    deduplication_id TEXT,
    attributes TEXT,
    body TEXT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS message_ready ON message (queue, priority DESC, id) WHERE ready = 1;
  CREATE INDEX IF NOT EXISTS message_waiting ON message (queue, visible_at) WHERE ready = 0;
  CREATE INDEX IF NOT EXISTS message_group ON message (queue, group_id, id) WHERE ready = 1 AND group_id IS NOT NULL;
  CREATE INDEX IF NOT EXISTS message_blocking ON message (queue, group_id, visible_at) WHERE ready = 0 AND group_id IS NOT NULL;
  CREATE TABLE IF NOT EXISTS deduplication (
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (queue, id)
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS deduplication_expiry ON deduplication (expires_at);
`;

/** A group of a FIFO queue is blocked while one of it is handed out. */
const BLOCKING =
  "SELECT 1 FROM message b WHERE b.queue = :queue AND b.ready = 0 AND b.visible_at > :now AND b.group_id =";

/**
 * So many ready messages of a FIFO queue are looked at in the order in which they came. If all of them are of blocked
 * groups, the search goes on by group: a blocked group is passed in one step, however many wait in it.
 */
const OLDEST = 200;

/** What a message is taken with, see {@link Taken}. */
const TAKEN = "id, receive_count + 1 AS receive_count, sent_at, group_id, deduplication_id, attributes, body";

const TAKE = "UPDATE message SET ready = 0, visible_at = ?, receive_count = receive_count + 1";

/**
 * The statements; exported for the test that looks at their query plans. `LIMIT +?` and not `LIMIT ?`: SQLite plans by a limit that is
 * a parameter alone, and so parses the statement anew whenever it is given one.
 */
export const SQL = {
  knowQueue: "INSERT OR IGNORE INTO queue (name) VALUES (?)",
  queues: "SELECT name FROM queue ORDER BY name",
  forgetIds: "DELETE FROM deduplication WHERE expires_at <= ?",
  rememberId: "INSERT OR IGNORE INTO deduplication (queue, id, expires_at) VALUES (?, ?, ?)",
  send: `INSERT INTO message (queue, ready, visible_at, priority, sent_at, group_id, deduplication_id, attributes, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  nextVisible: "SELECT min(visible_at) AS at FROM message WHERE queue = ? AND ready = 0",
  look: `SELECT EXISTS (SELECT 1 FROM message WHERE queue = ? AND ready = 1),
      (SELECT min(visible_at) FROM message WHERE queue = ? AND ready = 0)`,
  becomesReadyFifo: `SELECT 1 FROM message m WHERE queue = :queue AND ready = 0 AND visible_at <= :now
    AND NOT EXISTS (${BLOCKING} m.group_id) LIMIT 1`,
  nextVisibleAfter: "SELECT min(visible_at) AS at FROM message WHERE queue = ? AND ready = 0 AND visible_at > ?",
  becomeReady: "UPDATE message SET ready = 1 WHERE queue = ? AND ready = 0 AND visible_at <= ?",
  next: `SELECT ${TAKEN}, (SELECT min(visible_at) FROM message WHERE queue = ? AND ready = 0) AS next_visible
    FROM message WHERE queue = ? AND ready = 1 ORDER BY priority DESC, id LIMIT +?`,
  chooseOldest: `SELECT id FROM (
      SELECT id, group_id FROM message WHERE queue = :queue AND ready = 1 ORDER BY priority DESC, id LIMIT ${OLDEST}
    ) m WHERE NOT EXISTS (${BLOCKING} m.group_id) ORDER BY id LIMIT +:max`,
  nextGroup: `SELECT group_id FROM message WHERE queue = ? AND ready = 1 AND group_id > ? ORDER BY group_id LIMIT 1`,
  isBlocked: `${BLOCKING} :group LIMIT 1`,
  chooseOfGroup: "SELECT id FROM message WHERE queue = ? AND ready = 1 AND group_id = ? ORDER BY id LIMIT +?",
  hasTenants: "SELECT 1 FROM message WHERE queue = ? AND ready = 1 AND group_id IS NOT NULL LIMIT 1",
  highest: "SELECT priority FROM message WHERE queue = ? AND ready = 1 AND priority < ? ORDER BY priority DESC LIMIT 1",
  chooseOfTenant: `SELECT id FROM message
    WHERE queue = ? AND ready = 1 AND group_id = ? AND priority = ? ORDER BY id LIMIT 1 OFFSET ?`,
  chooseOfNone: `SELECT id FROM message
    WHERE queue = ? AND ready = 1 AND group_id IS NULL AND priority = ? ORDER BY id LIMIT 1 OFFSET ?`,
  get: `SELECT ${TAKEN} FROM message WHERE id IN (SELECT value FROM json_each(?)) ORDER BY priority DESC, id`,
  take: `${TAKE} WHERE id IN (SELECT value FROM json_each(?))`,
  takeOne: `${TAKE} WHERE id = ?`,
  delete: "DELETE FROM message WHERE receive_count = ? AND id IN (SELECT value FROM json_each(?))",
  deleteOne: "DELETE FROM message WHERE receive_count = ? AND id = ?",
  changeVisibility: "UPDATE message SET ready = ?, visible_at = ? WHERE id = ? AND receive_count = ?",
  size: `SELECT
      count(*) FILTER (WHERE ready = 1 OR visible_at <= :now) AS ready,
      count(*) FILTER (WHERE ready = 0 AND visible_at > :now AND receive_count = 0) AS delayed,
      count(*) FILTER (WHERE ready = 0 AND visible_at > :now AND receive_count > 0) AS inFlight
    FROM message WHERE queue = :queue`,
  oldest: "SELECT min(sent_at) AS at FROM message WHERE queue = :queue AND (ready = 1 OR visible_at <= :now)",
  purge: "DELETE FROM message WHERE queue = ?",
} as const;

/** A message as it is about to be handed out: the columns of {@link TAKEN}. */
type Taken = readonly [
  id: number,
  receiveCount: number,
  sentAt: number,
  groupId: string | null,
  deduplicationId: string | null,
  attributes: string | null,
  body: string,
  // Of SQL.next alone: when the next message of the queue becomes ready.
  nextVisible?: number | null,
];

/** A receive that waits. */
interface Receiver {
  readonly max: number;
  /** Milliseconds. */
  readonly visibility: number;
  readonly taken: ReceiveOptions["taken"];
  /** Ends the wait, with what was taken for it. */
  give(deliveries: readonly Delivery[]): void;
}

interface Gift {
  readonly receiver: Receiver;
  readonly deliveries: readonly Delivery[];
}

/**
 * Opens the broker of a `sqlite://` URL (see `parseUrl` in `sqlite/url.ts`). A send is durable when its promise
 * resolves. A delay, and a visibility, has no upper limit. Throws `ImproperlyConfigured` or `OperationalError`.
 */
export async function open(url: string, context: BrokerContext): Promise<Broker> {
  const database = await openDatabase(url, context);
  try {
    await database.write((db) => db.exec(SCHEMA));
  } catch (error) {
    await database.close();
    throw error;
  }
  return createBroker(database, context.now);
}

function createBroker(database: Database, now: () => number): Broker {
  const { prepare, read, write } = database;
  const oldest = database.lists<Taken>(SQL.next);
  const chosen = database.lists<Taken>(SQL.get);
  const looked = database.lists<readonly [isReady: number, nextVisible: number | null]>(SQL.look);
  let isClosed = false;
  /** Queues whose row is committed; rows of `queue` are never deleted. */
  const known = new Set<string>();

  const visibleAt = (from: number, ms: number) => Math.min(Math.ceil(from + ms), NEVER);

  async function know(queue: string): Promise<void> {
    if (known.has(queue)) return;
    await write(() => prepare(SQL.knowQueue).run(queue));
    known.add(queue);
  }

  /** Inside a transaction. */
  function insert(entry: Outgoing, sentAt: number): void {
    const { queue, deduplicationId } = entry;
    if (deduplicationId !== undefined) {
      prepare(SQL.forgetIds).run(sentAt);
      if (prepare(SQL.rememberId).run(queue, deduplicationId, sentAt + DEDUPLICATION_MS).changes === 0) return;
    }
    const fifo = isFifo(queue);
    const delay = (entry.delaySeconds ?? 0) * 1000;
    prepare(SQL.send).run(
      queue,
      delay > 0 ? 0 : 1,
      visibleAt(sentAt, delay),
      fifo ? 0 : (entry.priority ?? 0),
      sentAt,
      entry.groupId ?? (fifo ? "default" : null),
      deduplicationId ?? null,
      entry.attributes ? JSON.stringify(entry.attributes) : null,
      entry.body,
    );
  }

  /** Of each queue, the group that was taken from last: the next search by group begins behind it. */
  const lastGroup = new Map<string, string>();

  /** What a receive may have now, in the order in which it goes out. */
  function next(queue: string, max: number, time: number): readonly Taken[] {
    const ripen = (at: unknown): boolean => {
      if (typeof at !== "number" || at > time) return false;
      prepare(SQL.becomeReady).run(queue, time);
      return true;
    };
    const nextVisible = () => prepare(SQL.nextVisible).get(queue)?.["at"];
    if (isFifo(queue)) ripen(nextVisible());
    else {
      // Mostly one statement does: it tells of what becomes ready, too.
      let rows = oldest(queue, queue, max);
      const [first] = rows;
      if (ripen(first === undefined ? nextVisible() : first[7])) rows = oldest(queue, queue, max);
      // Where all are had, there is nothing to choose.
      if (rows.length < max || prepare(SQL.hasTenants).get(queue) === undefined) return rows;
    }
    const ids = choose(queue, max, time);
    return ids.length === 0 ? [] : chosen(JSON.stringify(ids));
  }

  /** The ids of what a receive may have now, in no order, where there is more to consider than priority and age. */
  function choose(queue: string, max: number, time: number): number[] {
    const ids = (statement: string, ...values: [Record<string, SQLInputValue>] | SQLInputValue[]) =>
      // The only column, and its type in the table.
      prepare(statement)
        .all(...(values as SQLInputValue[]))
        .map((row) => row["id"] as number);
    if (!isFifo(queue)) return chooseFairly(queue, max, ids);
    const oldest = ids(SQL.chooseOldest, { queue, max, now: time });
    if (oldest.length > 0) return oldest;
    const first = lastGroup.get(queue) ?? "";
    const groupAfter = (group: string) => prepare(SQL.nextGroup).get(queue, group)?.["group_id"] as string | undefined;
    // Names are not compared here: JavaScript has another order than SQLite.
    const passed = new Set<string>();
    for (let group = groupAfter(first) ?? groupAfter(""); ; group = groupAfter(group) ?? groupAfter("")) {
      if (group === undefined || passed.has(group)) return [];
      passed.add(group);
      if (prepare(SQL.isBlocked).get({ queue, now: time, group }) === undefined)
        return ids(SQL.chooseOfGroup, queue, group, max);
    }
  }

  /**
   * One message of each tenant in turn, of those of the highest priority: who has ten thousand does not come before who has
   * one. What has no tenant is one tenant more.
   */
  function chooseFairly(
    queue: string,
    max: number,
    ids: (statement: string, ...values: SQLInputValue[]) => number[],
  ): number[] {
    const chosen: number[] = [];
    const groupAfter = (group: string) => prepare(SQL.nextGroup).get(queue, group)?.["group_id"] as string | undefined;
    let lower = Number.MAX_SAFE_INTEGER;
    while (chosen.length < max) {
      const priority = prepare(SQL.highest).get(queue, lower)?.["priority"];
      if (typeof priority !== "number") break;
      lower = priority;
      for (let round = 0; chosen.length < max; round++) {
        const before = chosen.length;
        let wrapped = false;
        // The tenant of the last turn may be gone: the round ends with whoever has had a turn in it.
        const passed = new Set<string>();
        // The place of those without a tenant is before all names.
        for (let group = lastGroup.get(queue) ?? ""; chosen.length < max; ) {
          const next = groupAfter(group);
          if (next === undefined && wrapped) break;
          wrapped ||= next === undefined;
          group = next ?? "";
          if (passed.has(group)) break;
          passed.add(group);
          const found =
            next === undefined
              ? ids(SQL.chooseOfNone, queue, priority, round)
              : ids(SQL.chooseOfTenant, queue, group, priority, round);
          chosen.push(...found);
          if (found.length > 0) lastGroup.set(queue, group);
        }
        if (chosen.length === before) break;
      }
    }
    return chosen;
  }

  /** What a receive finds without writing: something to take, or when there may be something, `Infinity` for nobody knows. */
  function look(queue: string, time: number): "ready" | number {
    return read(() => {
      if (!isFifo(queue)) {
        const [[isReady, at] = [0, null]] = looked(queue, queue);
        if (isReady === 1) return "ready";
        if (at === null) return Number.POSITIVE_INFINITY;
        return at <= time ? "ready" : at;
      }
      if (choose(queue, 1, time).length > 0) return "ready";
      if (prepare(SQL.becomesReadyFifo).get({ queue, now: time })) return "ready";
      const at = prepare(SQL.nextVisibleAfter).get(queue, time)?.["at"];
      return typeof at === "number" ? at : Number.POSITIVE_INFINITY;
    });
  }

  /** Inside a transaction. */
  function takeNow(
    queue: string,
    { max, visibility, taken }: Pick<Receiver, "max" | "visibility" | "taken">,
  ): readonly Delivery[] {
    const time = now();
    const rows = next(queue, max, time);
    const last = rows.at(-1);
    if (last === undefined) return [];
    const [id, , , group] = last;
    // To read a list costs more than to change one row.
    if (rows.length === 1) prepare(SQL.takeOne).run(visibleAt(time, visibility), id);
    else prepare(SQL.take).run(visibleAt(time, visibility), JSON.stringify(rows.map(([id]) => id)));
    if (isFifo(queue) && group !== null) lastGroup.set(queue, group);
    const deliveries = rows.map((row) => delivery(queue, row));
    taken?.(deliveries, database.unit());
    return deliveries;
  }

  /** Receives of this process that wait for something to come, by queue. */
  const receivers = new Map<string, Set<Receiver>>();

  /**
   * Inside a transaction that sends: what has come is taken at once for a receive of this process that waits for it, so
   * that it need not be woken to do so. FIFO queues have more to consider, and are left to it.
   */
  function takeForReceivers(queues: Iterable<string>): readonly Gift[] {
    const gifts: Gift[] = [];
    for (const queue of queues) {
      const waiting = receivers.get(queue);
      const [receiver] = waiting ?? [];
      if (receiver === undefined) continue;
      const deliveries = takeNow(queue, receiver);
      if (deliveries.length === 0) continue;
      waiting?.delete(receiver);
      gifts.push({ receiver, deliveries });
    }
    return gifts;
  }

  const removing = (about: Subject | undefined) =>
    shareJob<Delivery, Error | undefined>((deliveries, unit, begun) =>
      eachByItself(deliveries, async (some) => {
        try {
          await write(
            () => {
              begun();
              removeAll(some);
            },
            about,
            unit,
          );
        } finally {
          begun();
        }
      }),
    );
  const remove = removing(undefined);
  /** The next of a group can be had then. */
  const removeFifo = removing("messages");

  async function receive(
    queue: string,
    { max, wait, visibility = VISIBILITY_MS, signal, taken }: ReceiveOptions,
  ): Promise<readonly Delivery[]> {
    await know(queue);
    let given: readonly Delivery[] = [];
    const received = await longPoll({
      max,
      wait,
      ...(signal && { signal }),
      now,
      isClosed: () => isClosed,
      look: (time) => (given.length > 0 ? "ready" : look(queue, time)),
      take(most) {
        const gift = given;
        given = [];
        return gift.length > 0 ? gift : write(() => takeNow(queue, { max: most, visibility, taken }));
      },
      changed() {
        const wait = database.changed("messages");
        if (isFifo(queue)) return wait;
        const receiver: Receiver = {
          max: Math.max(1, Math.floor(max)),
          visibility,
          taken,
          give(deliveries) {
            given = deliveries;
            wait.end();
          },
        };
        const waiting = receivers.get(queue) ?? new Set();
        receivers.set(queue, waiting.add(receiver));
        void wait.over.then(() => waiting.delete(receiver));
        return wait;
      },
    });
    // What has been taken for it within a unit is given when that is committed.
    if (received.length === 0) await database.atRest();
    // It was given something just when it was told to end.
    if (given.length === 0) return received;
    if (taken !== undefined) return [...received, ...given];
    await hide(given.map((delivery) => ({ delivery, visibility: 0 })));
    return received;
  }

  return {
    limits: EMBEDDED_LIMITS,
    store: database.store,

    async send(entries, unit) {
      const refused = entries.map((entry) => refusal(entry, EMBEDDED_LIMITS));
      const accepted = entries.filter((_, index) => !refused[index]);
      if (accepted.length === 0) return refused;
      const reasons = await eachByItself(accepted, (some) => insertAll(some, unit));
      return refused.map((reason) => reason ?? reasons.shift());
    },

    receive,

    delete: (deliveries, unit) =>
      (deliveries.some(({ queue }) => isFifo(queue)) ? removeFifo : remove)(deliveries, unit),

    changeVisibility: hide,

    async queues() {
      return read(() => prepare(SQL.queues).all()).map((row) => String(row["name"]));
    },

    async size(queue) {
      const row = read(() => prepare(SQL.size).get({ queue, now: now() }));
      return { ready: Number(row?.["ready"]), delayed: Number(row?.["delayed"]), inFlight: Number(row?.["inFlight"]) };
    },

    async oldest(queue) {
      const at = read(() => prepare(SQL.oldest).get({ queue, now: now() }))?.["at"];
      return typeof at === "number" ? at : undefined;
    },

    purge: (queue) => write(() => Number(prepare(SQL.purge).run(queue).changes), "messages"),

    async close() {
      isClosed = true;
      await database.close();
    },
  };

  /** Puts texts in, in one transaction. */
  async function insertAll(entries: readonly Outgoing[], unit: Unit | undefined): Promise<void> {
    const all = new Set(entries.map((entry) => entry.queue));
    const queues = [...all].filter((queue) => !known.has(queue));
    let gifts: readonly Gift[] = [];
    const kept = () => {
      for (const { receiver, deliveries } of gifts) receiver.give(deliveries);
      for (const queue of queues) known.add(queue);
    };
    // Nothing was taken, and they look for themselves again.
    const lost = () => {
      for (const { receiver } of gifts) receiver.give([]);
    };
    try {
      await write(
        () => {
          const sentAt = Math.floor(now());
          for (const queue of queues) prepare(SQL.knowQueue).run(queue);
          for (const entry of entries) insert(entry, sentAt);
          gifts = takeForReceivers(all);
        },
        "messages",
        unit,
      );
    } catch (error) {
      lost();
      throw error;
    }
    if (unit === undefined) kept();
    else void unit.committed.then(kept, lost);
  }

  /** Inside a transaction. One statement for all that were handed out equally often, as most are once. */
  function removeAll(deliveries: readonly Delivery[]): void {
    const byCount = new Map<number, number[]>();
    for (const { receipt } of deliveries) {
      const [id, count] = parseReceipt(receipt);
      const ids = byCount.get(count);
      if (ids === undefined) byCount.set(count, [id]);
      else ids.push(id);
    }
    for (const [count, ids] of byCount) {
      const [id = -1] = ids;
      if (ids.length === 1) prepare(SQL.deleteOne).run(count, id);
      else prepare(SQL.delete).run(count, JSON.stringify(ids));
    }
  }

  function hide(entries: Parameters<Broker["changeVisibility"]>[0]): Promise<Settled> {
    return eachByItself(entries, (some) =>
      write(() => {
        const time = now();
        for (const { delivery, visibility } of some) {
          const [id, count] = parseReceipt(delivery.receipt);
          prepare(SQL.changeVisibility).run(visibility > 0 ? 0 : 1, visibleAt(time, visibility), id, count);
        }
      }, "messages"),
    );
  }
}

/**
 * Does the same to all of them in one transaction. Where that fails by the value of one of them, each has one of its own: what
 * SQLite refuses to write of one is nothing to the others.
 */
async function eachByItself<T>(
  entries: readonly T[],
  run: (entries: readonly T[]) => Promise<void>,
): Promise<(Error | undefined)[]> {
  if (entries.length === 0) return [];
  try {
    await run(entries);
    return entries.map(() => undefined);
  } catch (error) {
    const isSystems = error instanceof OperationalError && error.retryable;
    if (entries.length === 1 || isSystems) return entries.map(() => asError(error));
    return (await Promise.all(entries.map((entry) => eachByItself([entry], run)))).flat();
  }
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

/** A receipt is the message's id and the number of the delivery. What is none names nothing. */
function parseReceipt(receipt: string): readonly [id: number, count: number] {
  const [, id, count] = /^(\d{1,15})-(\d{1,15})$/.exec(receipt) ?? [];
  return [Number(id ?? -1), Number(count ?? -1)];
}

function delivery(
  queue: string,
  [id, receiveCount, sentAt, groupId, deduplicationId, attributes, body]: Taken,
): Delivery {
  const plain: Delivery = {
    queue,
    body,
    messageId: String(id),
    receipt: `${id}-${receiveCount}`,
    receiveCount,
    sentAt,
    // Written by `insert` from a record of texts.
    attributes: attributes === null ? {} : (JSON.parse(attributes) as Record<string, string>),
  };
  if (groupId === null && deduplicationId === null) return plain;
  return { ...plain, ...(groupId !== null && { groupId }), ...(deduplicationId !== null && { deduplicationId }) };
}
