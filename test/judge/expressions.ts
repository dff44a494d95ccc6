/**
 * Parsers of what DynamoDB takes as text, by the grammars on AWS's pages: conditions, updates, projections, and the statements of
 * PartiQL. Emulators have parsers of their own, each with other gaps.
 *
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.html
 */

/** What is wrong with a text; nothing where all is well. */
export function faultOf(kind: Kind, text: string): string | undefined {
  try {
    const tokens = new Tokens(text, kind === "statement" ? PARTIQL : EXPRESSION);
    PARSERS[kind](tokens);
    tokens.end();
    if (tokens.operators > MAX_OPERATORS)
      return `${tokens.operators} operators and functions, at most ${MAX_OPERATORS}`;
    return undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return error.message;
    throw error;
  }
}

/** Of one expression. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html */
const MAX_OPERATORS = 300;
/** Operands of one IN. */
const MAX_IN = 100;

export type Kind = "condition" | "update" | "projection" | "key" | "statement";

const EXPRESSION =
  /\s*(?:(?<name>#[A-Za-z0-9_]+)|(?<value>:[A-Za-z0-9_]+)|(?<word>[A-Za-z][A-Za-z0-9_-]*)|(?<number>\d+)|(?<sign><>|<=|>=|[=<>(),.[\]+-]))/y;
const PARTIQL =
  /\s*(?:(?<name>"(?:[^"]|"")+")|(?<text>'(?:[^']|'')*')|(?<number>-?\d+(?:\.\d+)?)|(?<word>[A-Za-z_][A-Za-z0-9_]*)|(?<sign><>|!=|<=|>=|<<|>>|[=<>(),.[\]{}:?+*-]))/y;

interface Token {
  readonly kind: "name" | "value" | "word" | "number" | "sign" | "text" | "end";
  readonly text: string;
}

class Tokens {
  readonly #all: Token[] = [];
  readonly isPartiql: boolean;
  #at = 0;
  /** Operators and functions so far. */
  operators = 0;

  constructor(text: string, pattern: RegExp) {
    this.isPartiql = pattern === PARTIQL;
    pattern.lastIndex = 0;
    const trimmed = text.trimEnd();
    while (pattern.lastIndex < trimmed.length) {
      const from = pattern.lastIndex;
      const [kind, found] =
        Object.entries(pattern.exec(trimmed)?.groups ?? {}).find(([, one]) => one !== undefined) ?? [];
      if (kind === undefined || found === undefined)
        throw new SyntaxError(`nobody reads ${trimmed.slice(from, from + 20).trim()}`);
      this.#all.push({ kind: kind as Token["kind"], text: found });
    }
  }

  get next(): Token {
    return this.#all[this.#at] ?? { kind: "end", text: "its end" };
  }

  /** Whether a sign or a word is next, which is then taken. */
  take(...texts: readonly string[]): string | undefined {
    const { kind, text } = this.next;
    const same = kind === "sign" ? text : kind === "word" ? text.toUpperCase() : undefined;
    if (same === undefined || !texts.includes(same)) return undefined;
    this.#at++;
    return same;
  }

  must(...texts: readonly string[]): string {
    return this.take(...texts) ?? this.fail(texts.join(" or "));
  }

  takeKind(...kinds: readonly Token["kind"][]): Token | undefined {
    const { next } = this;
    if (!kinds.includes(next.kind)) return undefined;
    this.#at++;
    return next;
  }

  fail(wanted: string): never {
    throw new SyntaxError(`${this.next.text} stands where ${wanted} should`);
  }

  end(): void {
    if (this.next.kind !== "end") this.fail("the end");
  }

  /** As {@link take}, of what counts for the limit. */
  operator(text: string): boolean {
    if (this.take(text) === undefined) return false;
    this.operators++;
    return true;
  }

  /** Whether the parenthesis that is next closes just before the one around it. */
  closesTwice(): boolean {
    let depth = 0;
    for (let at = this.#at; at < this.#all.length; at++) {
      const { text } = this.#all[at] as Token;
      if (text === "(") depth++;
      if (text === ")" && --depth === 0) return this.#all[at + 1]?.text === ")";
    }
    return false;
  }

  /** Whether what follows a word opens a function. */
  isCall(): boolean {
    return this.next.kind === "word" && this.#all[this.#at + 1]?.text === "(";
  }
}

const PARSERS: Readonly<Record<Kind, (tokens: Tokens) => void>> = {
  condition,
  // Its own operators are fewer; that is held by the keys of the tables.
  key: condition,
  projection: (tokens) => list(tokens, path),
  update,
  statement,
};

// ── expressions ──────────────────────────────────────────────────────────────────────────────────────────────────────

const COMPARATORS = ["=", "<>", "<", "<=", ">", ">="];
/** Functions that are true or false, with their operands. In expressions they have small letters. */
const TESTS: ReadonlyMap<string, number> = new Map([
  ["attribute_exists", 1],
  ["attribute_not_exists", 1],
  ["attribute_type", 2],
  ["begins_with", 2],
  ["contains", 2],
]);
/** https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-functions.html */
const PARTIQL_TESTS: ReadonlyMap<string, number> = new Map([
  ["attribute_type", 2],
  ["begins_with", 2],
  ["contains", 2],
]);

function condition(tokens: Tokens): void {
  do and(tokens);
  while (tokens.operator("OR"));
}

function and(tokens: Tokens): void {
  do not(tokens);
  while (tokens.operator("AND"));
}

function not(tokens: Tokens): void {
  while (tokens.operator("NOT"));
  if (tokens.take("(") === undefined) return comparison(tokens);
  // AWS refuses parentheses in parentheses that change nothing.
  const isRedundant = tokens.next.text === "(" && tokens.closesTwice();
  if (isRedundant && !tokens.isPartiql) throw new SyntaxError("parentheses that change nothing");
  condition(tokens);
  tokens.must(")");
}

function comparison(tokens: Tokens): void {
  tokens.operators++;
  if (tokens.isCall() && tokens.next.text.toLowerCase() !== "size") return call(tokens);
  operand(tokens);
  if (tokens.take("BETWEEN")) {
    operand(tokens);
    tokens.must("AND");
    operand(tokens);
  } else if (tokens.take("IN")) {
    const isList = tokens.must("(", ...(tokens.isPartiql ? ["["] : [])) === "[";
    if (list(tokens, operand) > MAX_IN) throw new SyntaxError(`IN has more than ${MAX_IN} operands`);
    tokens.must(isList ? "]" : ")");
  } else if (tokens.isPartiql && tokens.take("IS")) {
    tokens.take("NOT");
    tokens.must("MISSING", "NULL");
  } else {
    tokens.must(...COMPARATORS);
    operand(tokens);
  }
}

function call(tokens: Tokens): void {
  const { text } = tokens.next;
  const operands = tokens.isPartiql ? PARTIQL_TESTS.get(text.toLowerCase()) : TESTS.get(text);
  if (operands === undefined) tokens.fail("a function that there is");
  tokens.takeKind("word");
  tokens.must("(");
  path(tokens);
  for (let more = 1; more < operands; more++) {
    tokens.must(",");
    operand(tokens);
  }
  tokens.must(")");
}

function operand(tokens: Tokens): void {
  if (tokens.isCall()) {
    if (tokens.next.text.toLowerCase() !== "size") tokens.fail("size()");
    tokens.operators++;
    tokens.takeKind("word");
    tokens.must("(");
    path(tokens);
    tokens.must(")");
  } else if (!isValue(tokens)) path(tokens);
}

function isValue(tokens: Tokens): boolean {
  if (!tokens.isPartiql) return tokens.takeKind("value") !== undefined;
  if (tokens.take("?", "TRUE", "FALSE", "NULL") !== undefined) return true;
  if (tokens.take("{")) {
    tuple(tokens);
    return true;
  }
  if (tokens.take("[")) {
    list(tokens, value);
    tokens.must("]");
    return true;
  }
  if (tokens.take("<<")) {
    list(tokens, value);
    tokens.must(">>");
    return true;
  }
  return tokens.takeKind("text", "number") !== undefined;
}

function value(tokens: Tokens): void {
  if (!isValue(tokens)) tokens.fail("a value");
}

function path(tokens: Tokens): void {
  step(tokens);
  for (let more = tokens.take(".", "["); more !== undefined; more = tokens.take(".", "[")) {
    if (more === ".") {
      step(tokens);
      continue;
    }
    if (tokens.takeKind("number", ...(tokens.isPartiql ? (["text"] as const) : [])) === undefined)
      tokens.fail("an index");
    tokens.must("]");
  }
}

function step(tokens: Tokens): void {
  const found = tokens.takeKind("name", "word");
  if (found === undefined) tokens.fail("an attribute");
  // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html has 573, none of them with an underscore.
  if (found.kind === "word" && !found.text.includes("_"))
    throw new SyntaxError(`${found.text} may be a reserved word: it wants a place holder, or quotes in PartiQL`);
}

/** How many there are. */
function list(tokens: Tokens, one: (tokens: Tokens) => void): number {
  let count = 0;
  do {
    one(tokens);
    count++;
  } while (tokens.take(","));
  return count;
}

function update(tokens: Tokens): void {
  const seen = new Set<string>();
  do {
    const clause = tokens.must("SET", "REMOVE", "ADD", "DELETE");
    if (seen.has(clause)) throw new SyntaxError(`${clause} stands twice`);
    seen.add(clause);
    list(tokens, (each) => {
      path(each);
      each.operators++;
      if (clause === "SET") {
        each.must("=");
        sum(each);
      } else if (clause !== "REMOVE" && each.takeKind("value") === undefined) each.fail("a value");
    });
  } while (tokens.next.kind !== "end");
}

function sum(tokens: Tokens): void {
  setOperand(tokens);
  if (tokens.take("+", "-") === undefined) return;
  tokens.operators++;
  setOperand(tokens);
}

function setOperand(tokens: Tokens): void {
  const { text } = tokens.next;
  if (!tokens.isCall()) return operand(tokens);
  tokens.operators++;
  tokens.takeKind("word");
  tokens.must("(");
  const isListAppend = text.toLowerCase() === "list_append";
  if (!isListAppend && text.toLowerCase() !== "if_not_exists") tokens.fail("if_not_exists or list_append");
  if (isListAppend) setOperand(tokens);
  else path(tokens);
  tokens.must(",");
  setOperand(tokens);
  tokens.must(")");
}

// ── PartiQL ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.statements.html */
function statement(tokens: Tokens): void {
  switch (tokens.must("SELECT", "INSERT", "UPDATE", "DELETE")) {
    case "SELECT":
      if (tokens.take("*") === undefined) list(tokens, path);
      tokens.must("FROM");
      table(tokens);
      if (tokens.take("WHERE")) condition(tokens);
      return;
    case "INSERT":
      tokens.must("INTO");
      table(tokens);
      tokens.must("VALUE");
      tokens.must("{");
      tuple(tokens);
      return;
    case "UPDATE": {
      table(tokens);
      let changes = 0;
      for (let clause = tokens.take("SET", "REMOVE"); clause !== undefined; clause = tokens.take("SET", "REMOVE")) {
        changes++;
        path(tokens);
        if (clause === "REMOVE") continue;
        tokens.must("=");
        operand(tokens);
        if (tokens.take("+", "-") !== undefined) operand(tokens);
      }
      if (changes === 0) tokens.fail("SET or REMOVE");
      where(tokens);
      return;
    }
    default:
      tokens.must("FROM");
      table(tokens);
      where(tokens);
  }
}

function table(tokens: Tokens): void {
  if (tokens.takeKind("name") === undefined) tokens.fail("a table in quotes");
  if (tokens.take(".") !== undefined && tokens.takeKind("name") === undefined) tokens.fail("an index in quotes");
}

function where(tokens: Tokens): void {
  tokens.must("WHERE");
  condition(tokens);
  if (tokens.take("RETURNING") === undefined) return;
  tokens.must("ALL", "MODIFIED");
  tokens.must("OLD", "NEW");
  tokens.must("*");
}

/** Behind its brace: `'name': value, …}`. */
function tuple(tokens: Tokens): void {
  list(tokens, (each) => {
    if (each.takeKind("text") === undefined) each.fail("a name in single quotes");
    each.must(":");
    value(each);
  });
  tokens.must("}");
}
