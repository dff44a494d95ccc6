/** Names of EventBridge's rules and of their dead-letter queue, for the deployment and for what is put at run time. */
import { createHash } from "node:crypto";
import { ImproperlyConfigured } from "../errors.ts";

/** EventBridge's limit of a rule's name. */
const MAX_RULE_NAME = 64;
const HASH_LENGTH = 8;
/** So that every name keeps some letters of its entry's. */
const MAX_PREFIX = 48;

/**
 * What the rules' names begin with. The two differ in a letter that stands at the same place, so that no name of one
 * kind begins like one of the other, whatever its entry is called. Throws {@link ImproperlyConfigured} where the prefix
 * is too long for a rule's name.
 */
export function rulePrefix(prefix: string, kind: "deployed" | "runtime"): string {
  const text = `${ruleText(prefix)}beat${kind === "deployed" ? "-" : "."}`;
  if (text.length <= MAX_PREFIX) return text;
  throw new ImproperlyConfigured(
    "prefix",
    `${JSON.stringify(prefix)} is too long for the names of EventBridge's rules, which have ${MAX_RULE_NAME} characters: at most ${MAX_PREFIX - "beat-".length}`,
  );
}

/**
 * The queue of the events that no rule could hand to the beat function. It begins like no queue of the app, so that it is not
 * taken for one.
 */
export const beatDeadLetters = (prefix: string): string =>
  `lovage-${ruleText(prefix).replaceAll(".", "-")}beat-dead-letters`;

/** The rule of an entry. What had to be changed in its name, or cut off, is made up for by a hash of it. */
export function ruleName(prefix: string, entry: string): string {
  const plain = prefix + ruleText(entry);
  if (plain === prefix + entry && plain.length <= MAX_RULE_NAME) return plain;
  const hash = createHash("sha256").update(entry).digest("hex").slice(0, HASH_LENGTH);
  return `${plain.slice(0, MAX_RULE_NAME - HASH_LENGTH - 1)}-${hash}`;
}

const ruleText = (text: string): string => text.replace(/[^\w.-]/g, "-");
