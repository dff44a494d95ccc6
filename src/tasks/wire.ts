/**
 * What the wire does to types. Arguments and results travel as JSON (with tags for dates, bytes and the like), so what
 * arrives is not always what was sent: these types say what does.
 */
import type { Decimal, PlainDate, PlainTime, Uuid } from "../protocol/values.ts";

/** Values that arrive as what they were. A bigint does not: where a number holds it, it is a number to every reader. */
type Carried = string | number | boolean | null | Date | Uint8Array | Decimal | PlainDate | PlainTime | Uuid;

type Callable = (...args: never[]) => unknown;
type Constructor = abstract new (...args: never[]) => unknown;
type Uncarried = Callable | Constructor | symbol;

/** A class of the platform's, where it has one: its types may be those of a browser, of Node, or missing. */
type Platform<Name extends string> = typeof globalThis extends { readonly [K in Name]: { readonly prototype: infer T } }
  ? T
  : never;

/** What JSON would make an empty object of. */
type Lost =
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | Promise<unknown>
  | Platform<"Response">
  | Platform<"Request">
  | Platform<"Headers">
  | Platform<"URLSearchParams">
  | Platform<"FormData">
  | Platform<"Blob">
  | Platform<"ReadableStream">
  | Platform<"AbortSignal">
  | { resolvedOptions(...args: never[]): unknown };

type IsAny<T> = 0 extends 1 & T ? true : false;
type IsUnknown<T> = IsAny<T> extends true ? false : unknown extends T ? true : false;

/** What arrives as the type that was sent. Asked before a list is mapped: that would not end where a tuple is among its own members. */
type Unchanged = Carried | Unchanged[] | { [key: string]: Unchanged };

/**
 * A list that is no tuple. Its element is written out (`X<T[number]>[]`) where it is mapped, since TypeScript looks into that
 * when it is asked for. It looks into a mapped list at once, and finds no end where a list is a member of its own union, as
 * in the type of all JSON.
 */
type PlainArray<T> = T extends readonly unknown[] ? (T[number][] extends T ? readonly unknown[] : never) : never;

/** Keys of an object that JSON writes. */
type CarriedKeys<T> = { [K in keyof T]-?: K extends symbol ? never : T[K] extends Uncarried ? never : K }[keyof T];

/**
 * What a value is after it has travelled: `undefined` and `void` are `null`, a class instance is its JSON, a method is
 * gone. `AsyncResult<Wire<R>>` is what a task that returns `R` gives its caller.
 */
export type Wire<T> =
  IsAny<T> extends true
    ? T
    : IsUnknown<T> extends true
      ? T
      : T extends undefined | void
        ? null
        : T extends Carried
          ? T
          : T extends bigint
            ? number | bigint
            : T extends Uncarried | Lost
              ? never
              : T extends { toJSON(...args: never[]): infer J }
                ? Wire<J>
                : T extends Unchanged[]
                  ? T
                  : T extends PlainArray<T>
                    ? Wire<T[number]>[]
                    : T extends readonly unknown[]
                      ? { -readonly [I in keyof T]: Wire<T[I]> }
                      : T extends object
                        ? {
                            // A key that may be missing stays one: under exactOptionalPropertyTypes a value of undefined is another type.
                            -readonly [K in keyof T as K extends CarriedKeys<T> ? K : never]: T extends Record<
                              K,
                              unknown
                            >
                              ? undefined extends T[K]
                                ? Wire<Exclude<T[K], undefined>> | undefined
                                : Wire<T[K]>
                              : Wire<Exclude<T[K], undefined>>;
                          }
                        : T;

/**
 * A parameter's type where JSON can carry its values, and `never` in the places where it cannot: a function, a symbol,
 * a `Map`, a `Response`, a class instance with methods. A call that would pass one does not compile. A `bigint` may be passed where
 * the parameter takes a `number` too, as which it arrives where a number holds it.
 */
export type Sendable<T> =
  IsAny<T> extends true
    ? T
    : [number | Exclude<T, bigint>] extends [T]
      ? SendableOf<T>
      : SendableOf<Exclude<T, bigint>>;

type SendableOf<T> =
  IsAny<T> extends true
    ? T
    : IsUnknown<T> extends true
      ? T
      : T extends Carried | bigint | undefined | void
        ? T
        : T extends Uncarried | Lost
          ? never
          : T extends { toJSON(...args: never[]): unknown }
            ? never
            : T extends readonly Unchanged[]
              ? T
              : T extends PlainArray<T>
                ? T extends unknown[]
                  ? Sendable<T[number]>[]
                  : readonly Sendable<T[number]>[]
                : T extends readonly unknown[] | object
                  ? { [K in keyof T]: Sendable<T[K]> }
                  : T;

/** The parameters of a task as its callers may give them. */
export type SendableArgs<P extends readonly unknown[]> = { [K in keyof P]: Sendable<P[K]> };
