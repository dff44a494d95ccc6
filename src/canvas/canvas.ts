/** Workflows: tasks one after the other, side by side, and side by side with something after all of them. */
import { ImproperlyConfigured } from "../errors.ts";
import { OTHER_COPY } from "../other-copy.ts";
import type { SignatureData } from "../protocol/message.ts";
import type {
  ArgsOf,
  ChainOf,
  GroupOf,
  HandleOf,
  IsLinked,
  ResultOf,
  ResultsOf,
  SharedArgs,
  Step,
  Accepts,
} from "./fit.ts";
import { chainOf, chordData, groupData } from "./shape.ts";
import { appOf, type Members, Pending } from "./pending.ts";
import { type Misfit, Signature } from "./signature.ts";
import { signatureData } from "./wire-options.ts";

/**
 * Runs tasks one after the other: each gets the result of the one before it as its first argument, unless its signature
 * is immutable (`si`). A group among them, followed by anything, becomes a chord, also where it has one member or none: what
 * comes of it is a list, however many there are. (Celery takes the one member of a group in its place.)
 *
 * ```ts
 * const result = await chain(add.s(2, 2), add.s(4), double.s()).delay();
 * await result.get(); // 16
 * ```
 * Throws `ImproperlyConfigured` where there is no step. All steps travel in the first message: a chain too long for one is
 * refused with `PayloadTooLarge` when it is sent (of SQS's 1 MiB a short step takes about 150 bytes).
 */
export function chain<const T extends readonly Step[]>(
  ...steps: IsLinked<T> extends true ? T : Misfit<T>[]
): ChainOf<T> {
  // The conditional type only keeps out what does not fit.
  const given = steps as unknown as readonly Step[];
  given.forEach(mustBeSignature);
  if (given.length === 0) throw new ImproperlyConfigured("chain", "needs a step");
  // What begins with a generator stays one.
  const [first, ...rest] = given as readonly Signature[];
  if (first?.pending !== undefined)
    return rest.reduce((before, step) => before.pipe(step), first) as unknown as ChainOf<T>;
  return signatureOf(given, chainOf) as unknown as ChainOf<T>;
}

/**
 * Runs tasks side by side. Members of a generator, sync or async, are sent as they come, so that no number of them needs
 * memory; they can be gone through once. Groups in a group are taken apart.
 *
 * ```ts
 * const result = await group(add.s(1, 1), add.s(2, 2)).delay();
 * await result.get(); // [2, 4]
 * ```
 */
export function group<S extends Step>(members: Iterable<S> | AsyncIterable<S>): GroupOf<SharedArgs<S>, ResultOf<S>[]>;
export function group<const T extends readonly Step[]>(...members: T): GroupOf<SharedArgs<T[number]>, ResultsOf<T>>;
export function group(...given: readonly (Step | Members)[]): GroupOf<readonly unknown[], unknown[]> {
  const [only] = given;
  if (given.length === 1 && only !== undefined && !(only instanceof Signature) && isMembers(only)) {
    if (!Array.isArray(only)) return new Signature(undefined, groupData([]), new Pending(only));
    return groupOf(only as readonly Step[]);
  }
  return groupOf(given as readonly Step[]);
}

function groupOf(members: readonly Step[]): GroupOf<readonly unknown[], unknown[]> {
  members.forEach(mustBeSignature);
  return signatureOf(members, (all) => groupData(all));
}

/** A canvas of some signatures. A generator among them is gone through: only then its members' app is known. */
function signatureOf<H>(parts: readonly Step[], make: (all: readonly SignatureData[]) => SignatureData) {
  const data = make(parts.map(signatureData));
  return new Signature<readonly unknown[], unknown[], H, "group">(appOf(parts), data);
}

/**
 * Runs tasks side by side, the header, and then another, the body, with the list of their results in the header's order.
 * Where a member fails, is revoked or expires, the body fails with `ChordError` instead, and its errbacks are called, once.
 *
 * ```ts
 * const result = await chord([add.s(1, 1), add.s(2, 2)], sum.s()).delay();
 * await result.get(); // 6
 * ```
 */
export function chord<const T extends readonly Step[], B extends Step>(
  header: T,
  body: Accepts<B, ResultsOf<T>> extends true ? B : Misfit<ResultsOf<T>>,
): Signature<SharedArgs<T[number]>, ResultOf<B>, HandleOf<B>, "chord">;
export function chord<G extends Signature<never, readonly unknown[], unknown, "group">, B extends Step>(
  header: G,
  body: Accepts<B, ResultOf<G>> extends true ? B : Misfit<ResultOf<G>>,
): Signature<ArgsOf<G>, ResultOf<B>, HandleOf<B>, "chord">;
export function chord<S extends Step, B extends Step>(
  header: Iterable<S> | AsyncIterable<S>,
  body: Accepts<B, ResultOf<S>[]> extends true ? B : Misfit<ResultOf<S>[]>,
): Signature<SharedArgs<S>, ResultOf<B>, HandleOf<B>, "chord">;
export function chord(header: readonly Step[] | Step | Members, body: unknown): Step {
  mustBeSignature(body);
  const after = signatureData(body);
  if (header instanceof Signature) {
    if (header.form !== "group")
      throw new ImproperlyConfigured("chord", `needs a list or a group as its header; given: a ${header.form}`);
    return new Signature(header.app ?? body.app, chordData(header.outline, after), header.pending);
  }
  if (!isMembers(header))
    throw new ImproperlyConfigured("chord", "needs a list, a generator or a group of signatures as its header");
  if (!Array.isArray(header)) return new Signature(body.app, chordData([], after), new Pending(header));
  const members = header as readonly Step[];
  members.forEach(mustBeSignature);
  const data = members.map(signatureData);
  return new Signature(appOf([...members, body]), chordData(data, after));
}

const isMembers = (value: unknown): value is Members =>
  typeof value === "object" && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value);

function mustBeSignature(value: unknown): asserts value is Step {
  if (value instanceof Signature) return;
  if (isData(value) && "applyAsync" in value) throw new ImproperlyConfigured("signature", OTHER_COPY);
  const hint = isData(value)
    ? "use app.signature(json) for what is JSON"
    : "give task.s(…), or app.signature(name, args)";
  throw new ImproperlyConfigured(
    "signature",
    `${hint}; given: ${typeof value === "object" ? Object.prototype.toString.call(value) : String(value)}`,
  );
}

const isData = (value: unknown): value is SignatureData =>
  typeof value === "object" && value !== null && "task" in value;
