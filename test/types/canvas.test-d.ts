/** What fits in a canvas compiles, and what does not must not. Checked by `npm run typecheck`. */
import { expectTypeOf } from "vitest";
import { type AsyncResult, chain, chord, type GroupResult, group, Lovage, type Signature } from "../../src/index.ts";

const app = new Lovage("types");
const add = app.task("add", (x: number, y: number) => x + y);
const neg = app.task("neg", (x: number) => -x);
const text = app.task("text", (x: number) => String(x));
const size = app.task("size", (x: string) => x.length);
const pad = app.task("pad", (x: string, width?: number) => x.padStart(width ?? 8));
const sum = app.task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));
const pair = app.task("pair", (both: [number, string]) => both[1]);
const nothing = app.task("nothing", (_: number) => {});
const clock = app.task("clock", () => 1);
const all = app.task("all", (...xs: number[]) => xs);
const bound = app.task("bound", { bind: true }, (_self, x: string) => x);
const named = app.signature("elsewhere.task");

// ── many calls ──

void app.sendMany([add.s(1, 2), neg.s(1), named, add.si(1, 2), pad.s("x"), chain(add.s(1, 2), text.s())]);
void app.sendMany(
  [1, 2].values().map((x) => neg.s(x)),
  {
    onSent: (result, index: number) => {
      expectTypeOf(result).toEqualTypeOf<AsyncResult<number>>();
      return index;
    },
    onFailed: ({ call }) => void expectTypeOf(call).toEqualTypeOf<Signature<[], number>>(),
  },
);
void app.sendMany(
  (async function* () {
    yield add.s(1, 2);
    yield group(add.s(1, 2));
  })(),
);
// @ts-expect-error: one argument is left to be given
void app.sendMany([add.s(1)]);
// @ts-expect-error: to one of them
void app.sendMany([add.s(1, 2), neg.s()]);
// @ts-expect-error: a promise of a result is no signature
void app.sendMany([add.delay(1, 2)]);

// ── arguments that are kept, and those still to be given ──

expectTypeOf(add.s(1, 2)).toEqualTypeOf<Signature<[], number>>();
expectTypeOf(add.s(1)).toEqualTypeOf<Signature<[number], number>>();
expectTypeOf(add.s()).toEqualTypeOf<Signature<[number, number], number>>();
expectTypeOf(bound.s()).toEqualTypeOf<Signature<[string], string>>();
expectTypeOf(add.s(1).delay(2)).resolves.toEqualTypeOf<AsyncResult<number>>();
void pad.s().delay("x");
void pad.s().delay("x", 3);
void pad.s(3).delay("x");
void all.s(1).delay(2, 3);
// @ts-expect-error: a kept argument of another type
add.s("1");
// @ts-expect-error: more than the task takes
add.s(1, 2, 3);
// @ts-expect-error: nothing is left to be given
void add.s(1, 2).delay(3);
// @ts-expect-error: one is left to be given
void add.s(1).delay();
// @ts-expect-error: and it is a number
void add.s(1).delay("2");
// @ts-expect-error: an immutable signature has all its arguments
add.si(1);

// ── chains ──

expectTypeOf(chain(add.s(1, 2), add.s(3), text.s())).toEqualTypeOf<
  Signature<[], string, AsyncResult<string>, "chain" | "chord">
>();
expectTypeOf(chain(add.s(1), neg.s()).delay(2)).resolves.toEqualTypeOf<AsyncResult<number>>();
expectTypeOf(add.s(1, 2).pipe(text.s()).pipe(size.s()).delay()).resolves.toEqualTypeOf<AsyncResult<number>>();
expectTypeOf(chain(chain(add.s(1, 2), text.s()), size.s()).delay()).resolves.toEqualTypeOf<AsyncResult<number>>();
void chain(text.s(1), pad.s());
void chain(text.s(1), pad.s(3));
void chain(text.s(1), add.si(1, 2));
void chain(named, add.s(1));
void chain(text.s(1), named, size.s());
// @ts-expect-error: a number is no string
void chain(add.s(1, 2), size.s());
// @ts-expect-error: nor further on
void chain(add.s(1, 2), text.s(), size.s(), size.s());
// @ts-expect-error: it has all its arguments already
void chain(add.s(1, 2), add.s(3, 4));
// @ts-expect-error: it needs one more than the result
void chain(add.s(1, 2), add.s());
// @ts-expect-error: it takes no argument
void chain(add.s(1, 2), clock.s());
// @ts-expect-error: void is null on the wire
void chain(nothing.s(1), neg.s());
void chain(nothing.s(1), neg.si(1));
// @ts-expect-error: the same for pipe
void add.s(1, 2).pipe(size.s());
// @ts-expect-error: and for a chain within
void chain(add.s(1, 2), chain(size.s(), neg.s()));

// ── groups ──

expectTypeOf(group(add.s(1, 2), text.s(1)).delay()).resolves.toEqualTypeOf<GroupResult<[number, string]>>();
expectTypeOf(group(add.s(1), text.s()).delay(1)).resolves.toEqualTypeOf<GroupResult<[number, string]>>();
expectTypeOf(group(add.s(1, 2), group(text.s(1), neg.s(1))).delay()).resolves.toEqualTypeOf<
  GroupResult<[number, string, number]>
>();
expectTypeOf(group([1, 2].map((n) => add.s(n, n))).delay()).resolves.toEqualTypeOf<GroupResult<number[]>>();
async function* ones() {
  yield add.s(1, 1);
}
expectTypeOf(group(ones()).delay()).resolves.toEqualTypeOf<GroupResult<number[]>>();
expectTypeOf(group(ones()).pipe(sum.s()).delay()).resolves.toEqualTypeOf<AsyncResult<number>>();
expectTypeOf(chain(neg.s(1), group(neg.s(), text.s())).delay()).resolves.toEqualTypeOf<GroupResult<[number, string]>>();
// A group of one in a chain stays a group: what comes of it is a list, however many members it has.
expectTypeOf(chain(neg.s(1), group(text.s())).delay()).resolves.toEqualTypeOf<GroupResult<[string]>>();
expectTypeOf(chain(group([1].map((n) => add.s(n, n))), sum.s()).delay()).resolves.toEqualTypeOf<AsyncResult<number>>();
void chain(neg.s(1), group(add.s(1)), sum.s());
// @ts-expect-error: also of one it is a list
void chain(neg.s(1), group(text.s()), size.s());
void group(ones()).pipe(sum.s());
// @ts-expect-error: nor by pipe
void group([1].map((n) => add.s(n, n))).pipe(neg.s());
// @ts-expect-error: a member that cannot take the result
void chain(neg.s(1), group(neg.s(), size.s()));
// @ts-expect-error: a group followed by a task is a chord, whose body takes a list
void chain(group(neg.s(1), neg.s(2)), neg.s());

// ── chords ──

expectTypeOf(chord([add.s(1, 2), neg.s(3)], sum.s()).delay()).resolves.toEqualTypeOf<AsyncResult<number>>();
expectTypeOf(chord(group(add.s(1, 2), text.s(3)), pair.s()).delay()).resolves.toEqualTypeOf<AsyncResult<string>>();
expectTypeOf(chord(ones(), sum.s()).delay()).resolves.toEqualTypeOf<AsyncResult<number>>();
expectTypeOf(chord([add.s(1, 2), neg.s(3)], chain(sum.s(), text.s())).delay()).resolves.toEqualTypeOf<
  AsyncResult<string>
>();
expectTypeOf(chain(add.s(1, 2), group(neg.s(), neg.s()), sum.s(), text.s()).delay()).resolves.toEqualTypeOf<
  AsyncResult<string>
>();
expectTypeOf(chord([add.s(1, 2), text.s(3)], pair.s()).delay()).resolves.toEqualTypeOf<AsyncResult<string>>();
void chord([], sum.s()).delay();
void chord([named, add.s(1, 2)], sum.s());
// @ts-expect-error: the body takes numbers
void chord([add.s(1, 2), text.s(3)], sum.s());
// @ts-expect-error: the body takes one result, not a list
void chord([add.s(1, 2)], neg.s());
// @ts-expect-error: a chord needs a body
void chord([add.s(1, 2)]);

// ── map, starmap, chunks ──

expectTypeOf(neg.map([1, 2]).delay()).resolves.toEqualTypeOf<AsyncResult<number[]>>();
expectTypeOf(add.starmap([[1, 2]]).delay()).resolves.toEqualTypeOf<AsyncResult<number[]>>();
expectTypeOf(add.chunks([[1, 2]], 10).delay()).resolves.toEqualTypeOf<GroupResult<number[][]>>();
// @ts-expect-error: items are what the task takes
void neg.map(["1"]);
// @ts-expect-error: and lists of it
void add.starmap([[1]]);

// ── results ──

async function read() {
  const both = await group(add.s(1, 2), text.s(1)).delay();
  expectTypeOf(await both.get()).toEqualTypeOf<[number, string]>();
  const grouped = await chain(neg.s(1), group(neg.s(), text.s())).delay();
  expectTypeOf(await grouped.join()).toEqualTypeOf<[number, string]>();
}
void read;
