/** The broker inside one process (`memory://`): SQS's model in maps and heaps, for tests and for apps that may forget. */
import { maskUrl } from "../brief.ts";
import { ImproperlyConfigured } from "../errors.ts";
import {
  type Broker,
  type BrokerContext,
  type Delivery,
  DEDUPLICATION_MS,
  isFifo,
  EMBEDDED_LIMITS,
  type Outgoing,
  refusal,
  VISIBILITY_MS,
} from "./broker.ts";
import { memoryStore } from "../unit.ts";
import { longPoll } from "./long-poll.ts";
import { type WaitList, waitList } from "../wait.ts";

interface Message {
  readonly id: number;
  readonly entry: Outgoing;
  readonly group: string | undefined;
  readonly priority: number;
  /** Its turn among those of the same priority, by which tenants take turns: the place that it would have if each were served one at a time. */
  readonly turn: number;
  readonly sentAt: number;
  receiveCount: number;
  /** `ready`: to be had. Otherwise it is `delayed` or in `flight` until `visibleAt`. */
  state: "ready" | "delayed" | "flight" | "deleted";
  visibleAt: number;
  /** Moves with every change of state: an entry of a heap that has another is a leftover. */
  version: number;
}

/** A message's place in a heap, good for as long as its version is the message's. */
interface Place {
  readonly message: Message;
  readonly version: number;
  readonly visibleAt: number;
}

const isCurrent = (place: Place) => place.version === place.message.version;
const byPriority = (a: Place, b: Place) =>
  b.message.priority - a.message.priority || a.message.turn - b.message.turn || a.message.id - b.message.id;
const byTime = (a: Place, b: Place) => a.visibleAt - b.visibleAt || a.message.id - b.message.id;

interface Queue {
  readonly messages: Map<number, Message>;
  readonly ready: Heap;
  readonly waiting: Heap;
  /** FIFO: how many of a group are handed out. */
  readonly blocked: Map<string, number>;
  /** Deduplication ids and when they are forgotten, the oldest first. */
  readonly ids: Map<string, number>;
  readonly receivers: WaitList;
  /** The turn of what was handed out last, and the last turn of each tenant that has one to come. */
  turn: number;
  readonly turns: Map<string, number>;
}

/** From so many tenants on, those are forgotten that have nothing more to come. */
const MOST_TURNS = 1000;

interface Store {
  readonly queues: Map<string, Queue>;
  lastId: number;
  users: number;
}

/** What the brokers of this process share, by the URL's name. */
const stores = new Map<string, Store>();

/**
 * Opens `memory://` or `memory://name`. Brokers of one name in one process (one thread) are one; with the last of them
 * closed, its messages are gone. A receive that waits goes by `now` for what is visible and by the clock for how long.
 */
export function open(url: string, context: BrokerContext): Broker {
  const name = /^memory:\/\/([^?#]*)$/.exec(url)?.[1];
  if (name === undefined)
    throw new ImproperlyConfigured(maskUrl(url), "a memory URL is memory:// or memory://name, without parameters");
  const store = stores.get(name) ?? { queues: new Map(), lastId: 0, users: 0 };
  stores.set(name, store);
  store.users++;
  const { now } = context;
  let isClosed = false;

  function queueOf(name: string): Queue {
    let queue = store.queues.get(name);
    if (!queue) {
      queue = {
        messages: new Map(),
        ready: createHeap(byPriority),
        waiting: createHeap(byTime),
        blocked: new Map(),
        ids: new Map(),
        receivers: waitList(),
        turn: 0,
        turns: new Map(),
      };
      store.queues.set(name, queue);
    }
    return queue;
  }

  function put(entry: Outgoing, sentAt: number): void {
    const queue = queueOf(entry.queue);
    if (entry.deduplicationId !== undefined) {
      for (const [id, expiresAt] of queue.ids) {
        if (expiresAt > sentAt) break;
        queue.ids.delete(id);
      }
      if (queue.ids.has(entry.deduplicationId)) return;
      queue.ids.set(entry.deduplicationId, sentAt + DEDUPLICATION_MS);
    }
    const fifo = isFifo(entry.queue);
    const message: Message = {
      id: ++store.lastId,
      // The sender keeps its object; what it does to it later is not sent.
      entry: { ...entry, attributes: { ...entry.attributes } },
      group: entry.groupId ?? (fifo ? "default" : undefined),
      priority: fifo ? 0 : (entry.priority ?? 0),
      turn: fifo ? 0 : nextTurn(queue, entry.groupId ?? ""),
      sentAt,
      receiveCount: 0,
      state: "delayed",
      visibleAt: 0,
      version: 0,
    };
    queue.messages.set(message.id, message);
    const delay = (entry.delaySeconds ?? 0) * 1000;
    move(queue, message, delay > 0 ? "delayed" : "ready", sentAt + delay);
  }

  /** The next turn of a tenant; those without one are one more. */
  function nextTurn(queue: Queue, tenant: string): number {
    const turn = Math.max(queue.turn, queue.turns.get(tenant) ?? 0) + 1;
    queue.turns.set(tenant, turn);
    if (queue.turns.size > MOST_TURNS)
      for (const [other, last] of queue.turns) if (last <= queue.turn) queue.turns.delete(other);
    return turn;
  }

  /** The one place where a message changes its state. */
  function move(queue: Queue, message: Message, state: Message["state"], visibleAt: number): void {
    const { group } = message;
    if (group !== undefined && (message.state === "flight") !== (state === "flight")) {
      const count = (queue.blocked.get(group) ?? 0) + (state === "flight" ? 1 : -1);
      if (count > 0) queue.blocked.set(group, count);
      else queue.blocked.delete(group);
    }
    // Who waits counts on the time that was known when it began to.
    const isSooner = state !== "flight" || visibleAt < message.visibleAt;
    message.state = state;
    message.visibleAt = visibleAt;
    message.version++;
    if (state === "deleted") queue.messages.delete(message.id);
    else {
      const heap = state === "ready" ? queue.ready : queue.waiting;
      heap.push({ message, version: message.version, visibleAt }, queue.messages.size);
    }
    if (isSooner) queue.receivers.endAll();
  }

  /** Makes ready what has waited long enough. */
  function ripen(queue: Queue, time: number): void {
    for (let place = queue.waiting.peek(); place && place.visibleAt <= time; place = queue.waiting.peek()) {
      queue.waiting.pop();
      move(queue, place.message, "ready", place.visibleAt);
    }
  }

  /** Takes up to `max` in order. Those of a group that was blocked before are walked over and put back. */
  function choose(queue: Queue, max: number, fifo: boolean): readonly Message[] {
    const chosen: Message[] = [];
    const passed: Place[] = [];
    while (chosen.length < max) {
      const place = queue.ready.pop();
      if (!place) break;
      if (fifo && queue.blocked.has(place.message.group ?? "")) passed.push(place);
      else chosen.push(place.message);
    }
    for (const place of passed) queue.ready.push(place, queue.messages.size);
    return chosen;
  }

  /** Of the receipt that a delivery carries: the message, unless it is gone or was handed out again. */
  function find(delivery: Delivery): readonly [Queue, Message] | undefined {
    const [, id, count] = /^(\d+)-(\d+)$/.exec(delivery.receipt) ?? [];
    const queue = store.queues.get(delivery.queue);
    const message = queue?.messages.get(Number(id));
    return queue && message?.receiveCount === Number(count) ? [queue, message] : undefined;
  }

  const home = memoryStore(name);
  return {
    limits: EMBEDDED_LIMITS,
    store: home,

    async send(entries) {
      const sentAt = Math.floor(now());
      return entries.map((entry) => {
        const reason = refusal(entry, EMBEDDED_LIMITS);
        if (!reason) put(entry, sentAt);
        return reason;
      });
    },

    async receive(name, { max, wait, visibility = VISIBILITY_MS, signal, taken }) {
      const queue = queueOf(name);
      const unit = taken && (await home.begin());
      const fifo = isFifo(name);
      return longPoll({
        max,
        wait,
        ...(signal && { signal }),
        now,
        isClosed: () => isClosed,
        look(time) {
          ripen(queue, time);
          const [first] = choose(queue, 1, fifo);
          if (!first) return queue.waiting.peek()?.visibleAt ?? Number.POSITIVE_INFINITY;
          queue.ready.push({ message: first, version: first.version, visibleAt: first.visibleAt }, queue.messages.size);
          return "ready";
        },
        take(max) {
          const deliveries = choose(queue, max, fifo).map((message) => {
            message.receiveCount++;
            queue.turn = Math.max(queue.turn, message.turn);
            move(queue, message, "flight", now() + visibility);
            return delivery(name, message);
          });
          if (unit !== undefined && deliveries.length > 0) taken?.(deliveries, unit);
          return deliveries;
        },
        changed: () => queue.receivers.begin(),
      });
    },

    async delete(deliveries) {
      for (const delivery of deliveries) {
        const found = find(delivery);
        if (found) move(...found, "deleted", 0);
      }
      return deliveries.map(() => undefined);
    },

    async changeVisibility(entries) {
      const time = now();
      for (const { delivery, visibility } of entries) {
        const found = find(delivery);
        if (found) move(...found, visibility > 0 ? "flight" : "ready", time + visibility);
      }
      return entries.map(() => undefined);
    },

    async queues() {
      return [...store.queues.keys()].sort();
    },

    async size(name) {
      const size = { ready: 0, delayed: 0, inFlight: 0 };
      const queue = store.queues.get(name);
      if (!queue) return size;
      ripen(queue, now());
      for (const { state } of queue.messages.values()) {
        if (state === "ready") size.ready++;
        else if (state === "delayed") size.delayed++;
        else size.inFlight++;
      }
      return size;
    },

    async oldest(name) {
      const queue = store.queues.get(name);
      if (!queue) return undefined;
      ripen(queue, now());
      const ready = [...queue.messages.values()].filter(({ state }) => state === "ready");
      return ready.length === 0 ? undefined : ready.reduce((first, { sentAt }) => Math.min(first, sentAt), Infinity);
    },

    async purge(name) {
      const queue = store.queues.get(name);
      const messages = [...(queue?.messages.values() ?? [])];
      if (queue) for (const message of messages) move(queue, message, "deleted", 0);
      return messages.length;
    },

    async close() {
      if (isClosed) return;
      isClosed = true;
      // Those of others look once more.
      for (const { receivers } of store.queues.values()) receivers.endAll();
      store.users--;
      if (store.users === 0) stores.delete(name);
    },
  };
}

function delivery(queue: string, { id, entry, group, sentAt, receiveCount }: Message): Delivery {
  return {
    queue,
    body: entry.body,
    messageId: String(id),
    receipt: `${id}-${receiveCount}`,
    receiveCount,
    sentAt,
    ...(group !== undefined && { groupId: group }),
    ...(entry.deduplicationId !== undefined && { deduplicationId: entry.deduplicationId }),
    attributes: { ...entry.attributes },
  };
}

/** A binary heap that leaves out places that are no longer current. */
interface Heap {
  /** `size`: how many places can be current; leftovers are swept out before they outnumber them. */
  push(place: Place, size: number): void;
  /** The first, still in it. */
  peek(): Place | undefined;
  pop(): Place | undefined;
}

function createHeap(compare: (a: Place, b: Place) => number): Heap {
  let places: Place[] = [];
  const at = (index: number) => places[index] as Place;

  function push(place: Place, size: number): void {
    if (places.length > 2 * size + 64) {
      // In order, which is a heap too.
      places = places.filter(isCurrent).sort(compare);
    }
    let index = places.push(place) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (compare(at(parent), place) <= 0) break;
      places[index] = at(parent);
      index = parent;
    }
    places[index] = place;
  }

  function removeFirst(): void {
    const last = places.pop();
    if (!last || places.length === 0) return;
    let index = 0;
    for (let child = 1; child < places.length; child = 2 * index + 1) {
      if (child + 1 < places.length && compare(at(child + 1), at(child)) < 0) child++;
      if (compare(last, at(child)) <= 0) break;
      places[index] = at(child);
      index = child;
    }
    places[index] = last;
  }

  function peek(): Place | undefined {
    while (places[0] && !isCurrent(places[0])) removeFirst();
    return places[0];
  }

  function pop(): Place | undefined {
    const first = peek();
    if (first) removeFirst();
    return first;
  }

  return { push, peek, pop };
}
