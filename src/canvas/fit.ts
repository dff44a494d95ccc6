/** What fits what: types only. A step of a chain must take what the step before it gives, a chord's body a list of results. */
import type { GroupResult } from "../results/group-result.ts";
import type { Form } from "./shape.ts";
import type { Signature } from "./signature.ts";

/** Any signature. */
export type Step = Signature<never, unknown, unknown, Form>;

/** Arguments that are still to be given. */
export type ArgsOf<S> = S extends Signature<infer A, unknown, unknown, Form> ? A : never;
/** What comes of it. */
export type ResultOf<S> = S extends Signature<never, infer R, unknown, Form> ? R : never;
/** What its caller holds. */
export type HandleOf<S> = S extends Signature<never, unknown, infer H, Form> ? H : never;
type FormOf<S> = S extends Signature<never, unknown, unknown, infer F> ? F : never;

type IsGroup<S> = [FormOf<S>] extends ["group"] ? true : false;

/** Whether a step can be called with a result. What is known only by its name takes and gives anything. */
export type Accepts<S, R> = unknown extends R ? true : [Known<R>] extends ArgsOf<S> ? true : false;

/** In a list, a result that nothing is known of fits anywhere. */
type Known<R> = R extends readonly unknown[] ? { [K in keyof R]: unknown extends R[K] ? never : R[K] } : R;

/** Whether each step takes what the one before it gives. */
export type IsLinked<T extends readonly unknown[]> = T extends readonly [infer One, infer Two, ...infer Rest]
  ? Accepts<Two, ResultOf<One>> extends true
    ? IsLinked<[Two, ...Rest]>
    : false
  : true;

type LastOf<T extends readonly unknown[]> = T extends readonly [...unknown[], infer Last] ? Last : T[number];
type FirstOf<T extends readonly unknown[]> = T extends readonly [infer First, ...unknown[]] ? First : T[number];

/** The signature of all of them, each after the one before. */
export type ChainOf<T extends readonly unknown[]> = T extends readonly [infer Only extends Step]
  ? IsGroup<Only> extends true
    ? Only
    : Signature<ArgsOf<Only>, ResultOf<Only>, HandleOf<Only>, "chain" | "chord">
  : Signature<ArgsOf<FirstOf<T>>, ResultOf<LastOf<T>>, HandleOf<LastOf<T>>, "chain" | "chord">;

/** Results of members: those of a group among them stand in its place. */
export type ResultsOf<T extends readonly unknown[]> = T extends readonly []
  ? []
  : T extends readonly [infer First, ...infer Rest]
    ? IsGroup<First> extends true
      ? ResultOf<First> extends readonly unknown[]
        ? [...ResultOf<First>, ...ResultsOf<Rest>]
        : never
      : [ResultOf<First>, ...ResultsOf<Rest>]
    : ResultOf<T[number]>[];

/** What every member can be called with. */
export type SharedArgs<S> = [S] extends [never]
  ? []
  : (S extends unknown ? (args: ArgsOf<S>) => void : never) extends (args: infer A) => void
    ? A extends readonly unknown[]
      ? A
      : never
    : never;

/** Those that cannot be sent as they are: arguments of theirs are still to be given. */
export type Incomplete<S> = S extends unknown ? ([] extends ArgsOf<S> ? never : S) : never;

/** A group: a signature whose result is a list. */
export type GroupOf<A extends readonly unknown[], R extends readonly unknown[]> = Signature<
  A,
  R,
  GroupResult<R>,
  "group"
>;

type Prefixes<P extends readonly unknown[]> = P extends readonly [infer First, ...infer Rest]
  ? [] | [First, ...Prefixes<Rest>]
  : P extends readonly []
    ? []
    : [] | P;

type Suffixes<P extends readonly unknown[]> = number extends P["length"]
  ? P
  : P extends readonly []
    ? P
    : P extends readonly [unknown?, ...infer Rest]
      ? P | Suffixes<Rest>
      : P;

/** The first arguments of a task, of which keyword arguments may give the others. */
export type FirstArgs<P extends readonly unknown[]> = readonly unknown[] & Readonly<Prefixes<P>>;

/** Arguments that can be kept in a signature: the last ones of a task. */
export type Keepable<P extends readonly unknown[]> = Suffixes<P>;

/** Arguments that are still to be given where some are kept: all beginnings that make a call together with them. */
export type Missing<P extends readonly unknown[], Kept extends readonly unknown[]> = number extends P["length"]
  ? P
  : Prefixes<Required<P>> extends infer A
    ? A extends readonly unknown[]
      ? [...A, ...Kept] extends P
        ? A
        : never
      : never
    : never;
