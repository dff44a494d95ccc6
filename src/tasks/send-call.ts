/** A call on its way: with the step of those that are unique, or without. */
import { loadUnique } from "#on-demand";
import type { Engine } from "../engine.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { isUnique } from "./limits.ts";
import { type Addressed, createCall, type PublishOptions, send } from "./publish.ts";

/** What became of a call. */
export interface Sent {
  /** The id of the call; where there is one of its key already, of that one. */
  readonly id: string;
  /** The message, where one was sent. */
  readonly sent: Addressed | undefined;
}

/**
 * Makes a call and sends it; one of a task that is unique, unless there is one of its key. Throws what {@link createCall} and
 * {@link send} throw.
 */
export async function sendCall(
  engine: Engine,
  name: string,
  args: readonly unknown[],
  options: PublishOptions,
): Promise<Sent> {
  const task = engine.declared(name);
  const declared = task && engine.optionsOf(task);
  if (task !== undefined && declared !== undefined && isUnique(declared)) {
    const { sendUnique } = await loadUnique();
    if (sendUnique === undefined) throw withoutLimits("unique", `${name} must not be sent`);
    return sendUnique(engine, task, declared, args, options);
  }
  const sent = await createCall(engine, name, args, options);
  await send(engine, sent, options);
  return { id: sent.message.id, sent };
}

/** Limits are no part of this bundle, and are needed. */
export const withoutLimits = (option: string, what: string): ImproperlyConfigured =>
  new ImproperlyConfigured(
    option,
    `no task had limits when this bundle was deployed, and ${what} without its own; deploy it again with the task, or its taskRef with the limits`,
  );
