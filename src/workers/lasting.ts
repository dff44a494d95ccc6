import type { EventEmitter } from "node:events";

type Listener = Parameters<EventEmitter["on"]>[1];

/** In types that know of every event. */
const emitter = (): EventEmitter => process;

/** What is listened to until it is given up. */
const lasting = new Map<Listener, Set<string>>();

/**
 * Listens to an event of this process until what this returns is called: also where a task, or a library of its, removes all listeners.
 * A worker that heard nothing any more would not stop when it is told to.
 */
export function listenLastingly(event: string, listener: Listener): () => void {
  const of = lasting.get(listener) ?? new Set();
  lasting.set(listener, of.add(event));
  listenAgain(event, listener);
  return () => {
    of.delete(event);
    if (of.size === 0) lasting.delete(listener);
    emitter().off(event, listener);
    if (lasting.size === 0) emitter().off("removeListener", onRemoved);
  };
}

function onRemoved(event: string, listener: Listener): void {
  // What is added while all are removed would be removed too.
  if (lasting.get(listener)?.has(event)) queueMicrotask(() => listenAgain(event, listener));
}

function listenAgain(event: string, listener: Listener): void {
  if (!lasting.get(listener)?.has(event)) return;
  if (!emitter().listeners("removeListener").includes(onRemoved)) emitter().on("removeListener", onRemoved);
  if (!emitter().listeners(event).includes(listener)) emitter().on(event, listener);
  // Node lets a process end that hears nothing from its parent, and what would tell Node of the new listener may be gone too.
  if (event === "message") process.channel?.ref();
}
