/** What an operation is given: fields, as JSON Schema says them, checked, and read from a query where it is asked by one. */
import { ImproperlyConfigured } from "../errors.ts";
import { didYouMean } from "../nearest.ts";
import { fail, isPlain } from "../parse.ts";
import { parseTime } from "../protocol/time.ts";

const TYPES = {
  text: { type: "string" },
  texts: { type: "array", items: { type: "string" } },
  number: { type: "number" },
  integer: { type: "integer" },
  boolean: { type: "boolean" },
  list: { type: "array", items: {} },
  object: { type: "object" },
  scalar: { type: ["string", "number"] },
  instant: { type: ["string", "number"] },
} as const;

export interface Field {
  readonly type: keyof typeof TYPES;
  /** A sentence without its full stop. */
  readonly is: string;
  readonly required?: boolean;
  readonly oneOf?: readonly string[];
  readonly min?: number;
  readonly max?: number;
}

export type Fields = Readonly<Record<string, Field>>;

/** Of one field. */
export const fieldSchema = ({ type, is, oneOf, min, max }: Field): Readonly<Record<string, unknown>> => ({
  ...TYPES[type],
  description: `${is}.`,
  ...(oneOf !== undefined && { enum: oneOf }),
  ...(min !== undefined && { minimum: min }),
  ...(max !== undefined && { maximum: max }),
});

/** Of an object with these fields and no others. */
export const schemaOf = (fields: Fields) => ({
  type: "object" as const,
  properties: Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, fieldSchema(field)])),
  required: Object.entries(fields).flatMap(([name, { required }]) => (required ? [name] : [])),
  additionalProperties: false,
});

export type Input = Readonly<Record<string, unknown>>;

/** Throws `ImproperlyConfigured` for what is missing, of another type, or not known. A field that is `null` counts as not given. */
export function checkInput(fields: Fields, given: unknown, now: number): Input {
  if (!isPlain(given)) return fail("input", "an object", given);
  const found: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (field === undefined) {
      const known = Object.keys(fields);
      throw new ImproperlyConfigured(
        name,
        `is not known here${didYouMean(name, known)} (known: ${known.join(", ") || "nothing"})`,
      );
    }
    if (value !== null && value !== undefined) found[name] = checkField(field, value, name, now);
  }
  for (const [name, { required, is }] of Object.entries(fields)) {
    if (required && !(name in found)) throw new ImproperlyConfigured(name, `is needed: ${is}`);
  }
  return found;
}

function checkField({ type, oneOf, min, max }: Field, value: unknown, at: string, now: number): unknown {
  if (oneOf !== undefined && !oneOf.includes(value as string)) return fail(at, `one of ${oneOf.join(", ")}`, value);
  switch (type) {
    case "text":
      return typeof value === "string" && value !== "" ? value : fail(at, "a text that is not empty", value);
    case "texts": {
      const list = typeof value === "string" ? [value] : value;
      return Array.isArray(list) && list.every((one) => typeof one === "string" && one !== "")
        ? list
        : fail(at, "a list of texts", value);
    }
    case "number":
    case "integer": {
      const isRight =
        typeof value === "number" && (type === "integer" ? Number.isSafeInteger(value) : Number.isFinite(value));
      if (isRight && value >= (min ?? -Infinity) && value <= (max ?? Infinity)) return value;
      const range = `${min === undefined ? "" : ` from ${min}`}${max === undefined ? "" : ` to ${max}`}`;
      return fail(at, `a ${type === "integer" ? "whole " : ""}number${range}`, value);
    }
    case "boolean":
      return typeof value === "boolean" ? value : fail(at, "true or false", value);
    case "list":
      return Array.isArray(value) ? value : fail(at, "a list", value);
    case "object":
      return isPlain(value) ? value : fail(at, "an object", value);
    case "scalar":
      return typeof value === "string" || typeof value === "number" ? value : fail(at, "a text or a number", value);
    case "instant":
      return (
        readInstant(value, now) ??
        fail(at, "a time in ISO 8601, milliseconds since the epoch, or so long ago: 30m, 2h, 7d", value)
      );
    default:
      return type satisfies never;
  }
}

const UNITS: Readonly<Record<string, number>> = { s: 1e3, m: 60e3, min: 60e3, h: 3_600e3, d: 86_400e3 };

/** In milliseconds since the epoch; `undefined`: it is none. */
function readInstant(value: unknown, now: number): number | undefined {
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined;
  if (typeof value !== "string") return undefined;
  if (/^\d{12,14}(\.\d+)?$/.test(value)) return Number(value);
  const [, number = "", unit = ""] = /^(\d{1,9}(?:\.\d+)?)\s*(s|m|min|h|d)$/.exec(value.trim()) ?? [];
  if (number !== "") return now - Number(number) * (UNITS[unit] ?? 1);
  try {
    return parseTime(value);
  } catch {
    return undefined;
  }
}

/** What a query says, by the types of the fields; what is none of its type stays a text, for the check to refuse. */
export function readQuery(fields: Fields, query: URLSearchParams): Input {
  const found: Record<string, unknown> = {};
  for (const name of new Set(query.keys())) {
    const values = query.getAll(name).filter((value) => value !== "");
    const [first] = values;
    const type = Object.hasOwn(fields, name) ? fields[name]?.type : undefined;
    if (first === undefined && type !== undefined) continue;
    if (type === "texts") found[name] = values.flatMap((value) => value.split(","));
    else if ((type === "number" || type === "integer") && first !== undefined && !Number.isNaN(Number(first)))
      found[name] = Number(first);
    else if (type === "boolean" && (first === "true" || first === "false")) found[name] = first === "true";
    else found[name] = first ?? "";
  }
  return found;
}
