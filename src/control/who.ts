/** Who steers: a name that was given, or that of the caller. */
import type { Engine } from "../engine.ts";
import { ImproperlyConfigured } from "../errors.ts";
import type { JournalEntry } from "../journal/entry.ts";
import { openOperator } from "../open.ts";
import type { Acting } from "./control.ts";

const LONGEST = 200;

const known = new WeakMap<Engine, Promise<string>>();

/** Throws `ImproperlyConfigured` for a name that is none. */
export async function whoIs(engine: Engine, given: Acting | undefined): Promise<string> {
  const { by } = given ?? {};
  if (by !== undefined) {
    if (typeof by === "string" && by !== "" && by.length <= LONGEST) return by;
    throw new ImproperlyConfigured("by", `must be the name of who does it, with 1 to ${LONGEST} characters`);
  }
  const found = known.get(engine) ?? caller(engine);
  known.set(engine, found);
  return found;
}

/** What the journal has of an action. */
export const actionEntry = (
  { clock }: Engine,
  action: string,
  by: string,
  facts: Partial<JournalEntry>,
): JournalEntry => ({ time: clock.now(), kind: "control", ...facts, action, by });

/** Tells the journal of an action. Never throws, but for a name that is none. */
export async function noteAction(
  engine: Engine,
  action: string,
  facts: Partial<JournalEntry>,
  given?: Acting,
): Promise<void> {
  await engine.note(actionEntry(engine, action, await whoIs(engine, given), facts));
}

async function caller(engine: Engine): Promise<string> {
  const operator = await openOperator(engine.urls.brokerUrl, engine.config.brokerTransportOptions);
  // That nobody can say who asks is no reason not to do it.
  const arn = await operator?.caller().catch(() => undefined);
  return arn ?? userOf(engine);
}

function userOf({ platform: { env } }: Engine): string {
  const named = env["USER"] || env["LOGNAME"] || env["USERNAME"];
  if (named) return named;
  try {
    return process.getBuiltinModule("node:os").userInfo().username;
  } catch {
    return "unknown";
  }
}
