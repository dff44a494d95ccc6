/**
 * What each command says to DynamoDB: the condition under which the row that is met is the one that the command ordinarily
 * meets, and what is then written.
 */
import type { AttributeValue, BatchStatementRequest } from "@aws-sdk/client-dynamodb";
import type { Row } from "./backend.ts";
import { ATTRIBUTES, type Item, sizeOf, toAttribute, toItem } from "./dynamodb-item.ts";
import { type Command, decide, type Join, type Outcome } from "./record.ts";

// ── conditions ───────────────────────────────────────────────────────────────────────────────────────────────────────

export type Condition = (words: Words) => string;

/** How an attribute and a value are spelled. Names are never written plainly: half of ours are reserved words. */
interface Words {
  name(attribute: keyof Row | "id"): string;
  value(value: AttributeValue): string;
  exists(attribute: keyof Row | "id"): string;
  missing(attribute: keyof Row | "id"): string;
  /** `SET` or `REMOVE`, of one thing or several. */
  clause(keyword: "SET" | "REMOVE", parts: readonly string[]): string;
}

/** DynamoDB's own language, with the names and values that an expression refers to. */
export interface Expression extends Words {
  parts(): {
    readonly ExpressionAttributeNames: Record<string, string>;
    readonly ExpressionAttributeValues?: Record<string, AttributeValue>;
  };
}

export function createExpression(): Expression {
  const names: Record<string, string> = {};
  const values: Record<string, AttributeValue> = {};
  let count = 0;
  const name = (attribute: keyof Row | "id") => {
    names[`#${attribute}`] = attribute;
    return `#${attribute}`;
  };
  return {
    name,
    value(value) {
      const place = `:${count++}`;
      values[place] = value;
      return place;
    },
    exists: (attribute) => `attribute_exists(${name(attribute)})`,
    missing: (attribute) => `attribute_not_exists(${name(attribute)})`,
    clause: (keyword, parts) => `${keyword} ${parts.join(", ")}`,
    // DynamoDB refuses an empty map of values.
    parts: () => ({
      ExpressionAttributeNames: names,
      ...(count > 0 && { ExpressionAttributeValues: values }),
    }),
  };
}

/** PartiQL, with its parameters in the order of their question marks. */
function createPartiql(): Words & { readonly parameters: AttributeValue[] } {
  const parameters: AttributeValue[] = [];
  return {
    parameters,
    name: (attribute) => `"${attribute}"`,
    value(value) {
      parameters.push(value);
      return "?";
    },
    exists: (attribute) => `"${attribute}" IS NOT MISSING`,
    missing: (attribute) => `"${attribute}" IS MISSING`,
    clause: (keyword, parts) => parts.map((part) => `${keyword} ${part}`).join(" "),
  };
}

const has =
  (attribute: keyof Row | "id"): Condition =>
  (w) =>
    w.exists(attribute);
const hasNo =
  (attribute: keyof Row | "id"): Condition =>
  (w) =>
    w.missing(attribute);
const compare =
  (operator: "=" | "<" | ">" | "<=") =>
  <A extends keyof Row>(attribute: A, value: NonNullable<Row[A]>): Condition =>
  (w) =>
    `${w.name(attribute)} ${operator} ${w.value(toAttribute(attribute, value))}`;
const is = compare("=");
const isBelow = compare("<");
const isAbove = compare(">");
const isAtMost = compare("<=");
/** A set, a list or a text that holds the value; a missing one holds nothing. */
const hasNot =
  (attribute: keyof Row, value: string): Condition =>
  (w) =>
    `NOT contains(${w.name(attribute)}, ${w.value({ S: value })})`;
const any =
  (...conditions: readonly Condition[]): Condition =>
  (w) =>
    conditions.map((condition) => condition(w)).join(" OR ");
/** Two conditions at least. AND goes before OR, and DynamoDB refuses parentheses that change nothing. */
const all =
  (...conditions: readonly Condition[]): Condition =>
  (w) =>
    conditions
      .map((condition) => condition(w))
      .map((text) => (text.includes(" OR ") ? `(${text})` : text))
      .join(" AND ");

/** There is no row, or it has expired and DynamoDB has not got to deleting it. */
const isAbsent = (now: number): Condition => any(hasNo("id"), isAtMost("ttl", now / 1000));
/** There is no row, or one that counts. */
const isNotExpired = (now: number): Condition => any(hasNo("ttl"), isAbove("ttl", now / 1000));
const isPresent = (now: number): Condition => all(has("id"), isNotExpired(now));
/** A row that counts, and that was claimed as it is to be settled: with a `ttl`, or without. Says it without an OR, which PartiQL of emulators does not take. */
const isKept = ({ now, ttl }: Command): Condition => (ttl === undefined ? hasNo("ttl") : isAbove("ttl", now / 1000));

/** The very item that was seen, in every attribute that is ours. */
export function pinnedTo(item: Item | undefined): Condition {
  if (item === undefined) return hasNo("id");
  return all(
    ...ATTRIBUTES.map((attribute): Condition => {
      const value = item[attribute];
      return value === undefined ? hasNo(attribute) : (w) => `${w.name(attribute)} = ${w.value(value)}`;
    }),
  );
}

// ── the ordinary case of each command ────────────────────────────────────────────────────────────────────────────────

interface Expectation {
  /** The row that is changed; `undefined`: a whole row is written, whatever there was. */
  readonly assumed: Row | undefined;
  /** Under it, what `decide` makes of the assumed row is what it would make of the actual one. */
  readonly condition: Condition;
}

export function expectation(command: Command): Expectation {
  const { now } = command;
  // What an outcome tells, or a whole new row would have to keep, is only known when the row was seen.
  const isUnmarked = hasNo("revoked");
  switch (command.type) {
    case "claim": {
      const nothingToKeep = all(
        isUnmarked,
        hasNo("redrive"),
        hasNo("again"),
        // What was forgotten is hidden.
        hasNo(command.hidden ? "forgotten" : "hidden"),
        ...(command.ttl === undefined ? [hasNo("ttl")] : []),
      );
      const isBehind = all(isBelow("attempt", command.attempt), hasNo("done"));
      const isMineOrReleased = all(
        is("attempt", command.attempt),
        hasNo("settled"),
        is("runs", 1),
        any(is("owner", command.owner), hasNo("lease")),
      );
      return { assumed: undefined, condition: any(isAbsent(now), all(nothingToKeep, any(isBehind, isMineOrReleased))) };
    }
    case "final": {
      // What is stored already is hidden by moving it, and so has to be seen.
      if (command.unclaimed || (command.hidden && command.result === undefined))
        return { assumed: undefined, condition: isAbsent(now) };
      const isMine = all(
        is("owner", command.owner),
        is("attempt", command.attempt),
        hasNo("settled"),
        ...(command.hidden ? [] : [hasNo("hidden")]),
      );
      return {
        assumed: {
          ...ASSUMED,
          next: "",
          attempt: command.attempt,
          owner: command.owner,
          lease: 0,
          runs: 1,
          accounted: "",
        },
        condition: all(isMine, isUnmarked, isKept(command)),
      };
    }
    case "update":
    case "extend":
      return {
        assumed: { ...ASSUMED, owner: command.owner, lease: 0 },
        condition: all(
          isPresent(now),
          is("owner", command.owner),
          has("lease"),
          isUnmarked,
          ...(command.type === "update" ? [hasNo("hidden")] : []),
        ),
      };
    case "release":
      // Of what is counted on, the number before has to be seen.
      if (command.died) return { assumed: undefined, condition: isAbsent(now) };
      return {
        assumed: { ...ASSUMED, owner: command.owner, lease: 0 },
        condition: all(
          isPresent(now),
          is("owner", command.owner),
          hasNo("settled"),
          isUnmarked,
          ...(command.result === undefined ? [] : [hasNo("hidden")]),
        ),
      };
    case "forget":
    case "revoke":
    case "bury":
    case "store":
      return { assumed: undefined, condition: isAbsent(now) };
    case "join": {
      const { member, added, size } = command;
      const isNews = [
        ...(member === undefined ? [] : [hasNot("members", member)]),
        ...(added === undefined ? [] : [hasNot("added", added)]),
      ];
      // Who brings no member may still bring the size, or make the row.
      const isNew = isNews.length > 0 ? isNews : [hasNo(size === undefined ? "id" : "size")];
      return { assumed: undefined, condition: all(isNotExpired(now), ...isNew) };
    }
    default:
      return command satisfies never;
  }
}

/** Values that no command writes, so that what a decision sets is seen as a change. */
const ASSUMED: Row = { result: "", timestamp: Number.NEGATIVE_INFINITY };

/** What differs from the row before. `item`: that of the row after. */
export function changes(w: Words, before: Row, after: Row, item: Item): string {
  const set: string[] = [];
  const remove: string[] = [];
  for (const attribute of ATTRIBUTES) {
    if (before[attribute] === after[attribute]) continue;
    const value = item[attribute];
    if (value === undefined) remove.push(w.name(attribute));
    else set.push(`${w.name(attribute)} = ${w.value(value)}`);
  }
  return [
    ...(set.length > 0 ? [w.clause("SET", set)] : []),
    ...(remove.length > 0 ? [w.clause("REMOVE", remove)] : []),
  ].join(" ");
}

/** What `decide` makes of a join, said so that it is true of every row that the condition lets through. */
export function additions(e: Words, { now, ttl, member, size, added }: Join): string {
  const first = (attribute: keyof Row, value: AttributeValue) =>
    `${e.name(attribute)} = if_not_exists(${e.name(attribute)}, ${e.value(value)})`;
  const set = [`${e.name("timestamp")} = ${e.value({ N: String(now / 1000) })}`];
  if (ttl !== undefined) set.push(`${e.name("ttl")} = ${e.value({ N: String(ttl) })}`);
  if (size !== undefined) set.push(first("size", { N: String(size) }));
  if (added !== undefined) {
    const before = `if_not_exists(${e.name("added")}, ${e.value({ L: [] })})`;
    set.push(`${e.name("added")} = list_append(${before}, ${e.value({ L: [{ S: added }] })})`);
  }
  if (member === undefined) return `SET ${[...set, first("chord_count", { N: "0" })].join(", ")}`;
  const one = `${e.name("chord_count")} ${e.value({ N: "1" })}`;
  return `SET ${set.join(", ")} ADD ${one}, ${e.name("members")} ${e.value({ SS: [member] })}`;
}

// ── the same in PartiQL ──────────────────────────────────────────────────────────────────────────────────────────────

/** A write that can share its request with others. */
export interface Statement {
  readonly request: BatchStatementRequest;
  /** What the command's caller is told where it succeeds. */
  readonly outcome: Outcome;
  /** Of the row, in bytes. */
  readonly size: number;
}

/**
 * The write of a first claim, or of the final of what was claimed, as a statement. It says less than the write by itself:
 * an INSERT has no condition but that there is no such item, and only those two writes are made of so many at a time
 * that they are worth it. `undefined` for any other command, and for what ordinarily meets another row.
 */
export function statementOf(table: string, id: string, command: Command): Statement | undefined {
  if (command.type !== "claim" && command.type !== "final") return undefined;
  const { assumed, condition } = expectation(command);
  // A later attempt, and a redriven one, meet the row of the attempt before.
  if (assumed === undefined && (command.attempt !== 0 || ("redrive" in command && command.redrive !== undefined)))
    return undefined;
  const { write, outcome } = decide(assumed, command);
  if (write === undefined) return undefined;
  const item = toItem(write);
  const words = createPartiql();
  const where = () => `"id" = ${words.value({ S: id })}`;
  const Statement =
    assumed === undefined
      ? `INSERT INTO "${table}" VALUE {${membersOf(words, { id: { S: id }, ...item })}}`
      : `UPDATE "${table}" ${changes(words, assumed, write, item)} WHERE ${where()} AND ${condition(words)}`;
  return { request: { Statement, Parameters: words.parameters }, outcome, size: sizeOf(id, item) };
}

const membersOf = (words: Words, item: Item): string =>
  Object.entries(item)
    .map(([attribute, value]) => `'${attribute}': ${words.value(value)}`)
    .join(", ");
