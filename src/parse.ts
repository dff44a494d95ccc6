/** Values as users write them, in settings and in options: each is checked by a parser, whose error says what is allowed. */
import { ImproperlyConfigured } from "./errors.ts";
import { didYouMean } from "./nearest.ts";

/** `task_time_limit` or `sqs-creation-attributes` → `taskTimeLimit`, `sqsCreationAttributes`. */
export const camelCase = (name: string): string =>
  name.replace(/(?<=.)[_-]+(\w)/g, (_, letter: string) => letter.toUpperCase());

/** Checks a value; `at` is what an error calls it. Throws `ImproperlyConfigured`. */
export type Parse<T> = (value: unknown, at: string) => T;

/** A value as an error shows it. */
export function show(value: unknown): string {
  if (typeof value === "function") return `function ${value.name || "(anonymous)"}`;
  if (value instanceof Date) return String(value);
  if (typeof value === "bigint" || typeof value === "symbol" || typeof value === "number") return String(value);
  try {
    const json = JSON.stringify(value, (_, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner));
    return json?.slice(0, 500) ?? String(value);
  } catch {
    // A cycle, or an object that will not be made JSON of.
    return Object.prototype.toString.call(value);
  }
}

/** What an error says after the name of the setting. */
export const reasonOf = ({ setting, message }: ImproperlyConfigured): string => message.slice(`${setting}: `.length);

export function fail(at: string, allowed: string, value: unknown): never {
  throw new ImproperlyConfigured(at, `must be ${allowed} (given: ${show(value)})`);
}

export const boolean: Parse<boolean> = (value, at) =>
  typeof value === "boolean" ? value : fail(at, "true or false", value);

export const text: Parse<string> = (value, at) => (typeof value === "string" ? value : fail(at, "a text", value));

export const name: Parse<string> = (value, at) =>
  typeof value === "string" && value !== "" ? value : fail(at, "a text that is not empty", value);

export function integer(min: number, max = Number.MAX_SAFE_INTEGER): Parse<number> {
  const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`;
  return (value, at) =>
    typeof value === "number" && Number.isInteger(value) && value >= min && value <= max
      ? value
      : fail(at, `a whole number ${range}`, value);
}

/** A number of seconds. `over`: the lower end itself is not allowed. */
export function seconds(range: {
  readonly min?: number;
  readonly over?: number;
  readonly max?: number;
}): Parse<number> {
  const { min = 0, over, max = Number.MAX_VALUE } = range;
  const low = over === undefined ? `from ${min}` : `over ${over}`;
  const high = max >= Number.MAX_VALUE ? "" : over === undefined ? ` to ${max}` : `, at most ${max}`;
  return (value, at) =>
    typeof value === "number" && value <= max && (over === undefined ? value >= min : value > over)
      ? value
      : fail(at, `a number of seconds ${low}${high}`, value);
}

/** All of `T` may be left out, or be `undefined`, also for a compiler that tells the two apart (`exactOptionalPropertyTypes`). */
export type Given<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** Without what is `undefined`: it counts as left out. */
export function defined<T extends object>(object: Given<T>): Partial<T> {
  const present: Partial<T> = {};
  for (const key of Object.keys(object) as (keyof T)[]) {
    const value = object[key];
    if (value !== undefined) present[key] = value;
  }
  return present;
}

/** A plain object, not an array or an instance of a class. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

export const object: Parse<Record<string, unknown>> = (value, at) =>
  isPlain(value) ? value : fail(at, "an object", value);

/** An object of known keys; those not given have their default, or are left out where `defaults` has none. */
export function shape<T extends object>(
  parsers: { readonly [K in keyof T]-?: Parse<Exclude<T[K], undefined>> },
  defaults: Partial<T>,
  hints: Hints = {},
): Parse<T> {
  return (value, at) => {
    const result: Record<string, unknown> = { ...defaults };
    for (const [key, inner] of Object.entries(object(value, at))) {
      const parse = (parsers as Record<string, Parse<unknown> | undefined>)[key];
      if (parse === undefined || !Object.hasOwn(parsers, key))
        throw unknownKey(`${at}.${key}`, key, Object.keys(parsers), hints);
      if (inner !== undefined) result[key] = parse(inner, `${at}.${key}`);
    }
    return Object.freeze(result) as T;
  };
}

/** The options of a call: an object, `null` or nothing. A key that is `null` counts as not given, as Celery's `timeout=None`. */
export function options<T>(parse: Parse<T>, value: unknown, at: string, example: string): T {
  const some = value ?? {};
  if (!isPlain(some)) {
    throw new ImproperlyConfigured(at, `takes an object of options, such as ${example} (given: ${show(value)})`);
  }
  return parse(Object.fromEntries(Object.entries(some).filter(([, inner]) => inner !== null)), at);
}

export const signal: Parse<AbortSignal> = (value, at) =>
  typeof value === "object" && value !== null && "aborted" in value && "addEventListener" in value
    ? (value as AbortSignal)
    : fail(at, "an AbortSignal", value);

/** Reasons for which known keys of Celery's are refused, by their name in camelCase. */
export type Hints = Readonly<Record<string, string>>;

export function unknownKey(at: string, key: string, known: readonly string[], hints: Hints): ImproperlyConfigured {
  const camel = camelCase(key);
  const hint = Object.hasOwn(hints, camel) ? hints[camel] : undefined;
  if (hint !== undefined) return new ImproperlyConfigured(at, `has no meaning here: ${hint}`);
  if (camel !== key && known.includes(camel)) return new ImproperlyConfigured(at, `is called ${camel} here`);
  return new ImproperlyConfigured(at, `is not known${didYouMean(key, known)} (known: ${known.join(", ")})`);
}

export const names: Parse<readonly string[]> = (value, at) => {
  if (typeof value === "string") return Object.freeze([name(value, at)]);
  if (!Array.isArray(value)) return fail(at, "a list of texts", value);
  return Object.freeze(value.map((element, i) => name(element, `${at}[${i}]`)));
};
