/** What compiles and what must not. Read by `tsc`; nothing here runs. */
import {
  type AsyncResult,
  type BatchCall,
  beatEntry,
  type Broker,
  chain,
  type currentTask,
  Lovage,
  type Request,
  Retry,
  type Sendable,
  Task,
  type Wire,
} from "lovage";
import { hostileBroker } from "lovage/testing";
import { z } from "zod";

/** Fails to compile unless both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Same<A, B>): void => {};

declare const app: Lovage;

// ── delay takes the function's own parameters ────────────────────────────────────────────────────────────────────────

const add = app.task("add", (x: number, y: number) => x + y);
same<ReturnType<typeof add.delay>, Promise<AsyncResult<number>>>(true);
void add.delay(1, 2);
// @ts-expect-error too few
void add.delay(1);
// @ts-expect-error too many
void add.delay(1, 2, 3);
// @ts-expect-error of another type
void add.delay(1, "2");
void add.applyAsync([1, 2], { countdown: 1 });
void add.applyAsync([], { kwargs: { x: 1, y: 2 } });
void add.applyAsync([1], { kwargs: { y: 2 } });
void add.apply([1], { kwargs: { y: 2 }, countdown: 1 });
// @ts-expect-error of another type
void add.applyAsync(["1"], { kwargs: { y: 2 } });
// @ts-expect-error too many
void add.applyAsync([1, 2, 3], { kwargs: { y: 2 } });
// @ts-expect-error too few, without keyword arguments
void add.applyAsync([1], { countdown: 1 });
// Lists that nobody may change.
const fixed = [1, 2] as const;
void add.applyAsync(fixed);
void add.applyAsync(fixed, { kwargs: {} });
add.starmap([fixed]);
add.chunks([fixed], 1);
beatEntry(add, { schedule: 30, args: fixed });
// @ts-expect-error of another type
void add.applyAsync([1, "2"]);
// @ts-expect-error no such option
void add.applyAsync([1, 2], { countDown: 1 });
// What may be left out may be undefined, with `exactOptionalPropertyTypes` too.
const none = [1].find((x) => x > 1);
const absent = undefined;
void add.applyAsync([1, 2], { countdown: none, queue: absent, kwargs: absent, link: absent, maxRetries: none });
void new Lovage("none", { brokerUrl: absent, taskQueues: { a: { timeLimit: none } }, resultExpires: { days: none } });
void new Lovage("none", { brokerTransportOptions: { maxDelay: none }, taskPublishRetryPolicy: { maxRetries: none } });
app.task("none", { bind: absent, base: absent, schema: absent, rateLimit: absent }, (x: number) => x);
app.task(
  "none",
  { beforeStart: absent, onSuccess: absent, onRetry: absent, onFailure: absent, afterReturn: absent },
  Number,
);
void new Lovage("none", {}, { clock: absent, random: absent, uuid: absent, env: absent });
declare const broker: Broker;
hostileBroker(broker, 42, { duplicate: none });
const partly: Broker = { ...broker, maxBytes: absent, oldest: absent };
void partly;
// A hook may name what its task gives more narrowly than `unknown`.
app.task("narrow", { onSuccess: (sum: number) => void sum, onFailure: (exc: Error) => void exc }, Number);
// @ts-expect-error a task is an object, not a function
add(1, 2);

const greet = app.task("greet", (name: string, greeting = "hello") => `${greeting} ${name}`);
void greet.delay("ann");
void greet.delay("ann", "hi");

// A default's type is the parameter's, with and without options.
const scale = app.task("scale", (x: number, by = 2) => x * by);
const late = app.task("late", { queue: "late" }, (x: number, by = 2) => x * by);
same<typeof scale, Task<[x: number, by?: number | undefined], number>>(true);
void late.delay(1);
void late.delay(1, 3);
// @ts-expect-error of another type than the default
void scale.delay(1, "3");
// @ts-expect-error of another type than the default
void late.delay(1, "3");
// In a bound task it has to be said: what gives `self` its type gives one to a parameter that has none.
app.task("bound", { bind: true }, (self, x: number, by: number = 2) => x * by + self.request.retries);
// @ts-expect-error no function
app.task("nothing", { queue: "late" });
// @ts-expect-error no function, even where it has a function's words
app.task("nothing", { apply: 1, bind: 2 });

const sum = app.task("sum", (...numbers: number[]) => numbers.reduce((a, b) => a + b, 0));
void sum.delay();
void sum.delay(1, 2, 3);

// ── what comes out is what the wire makes of it ──────────────────────────────────────────────────────────────────────

class Point {
  readonly x: number;
  constructor(x: number) {
    this.x = x;
  }
  length() {
    return this.x;
  }
}
class Money {
  toJSON() {
    return { cents: 1 };
  }
}
same<Wire<void>, null>(true);
same<Wire<undefined>, null>(true);
same<Wire<Date>, Date>(true);
same<Wire<Uint8Array>, Uint8Array>(true);
same<Wire<bigint>, number | bigint>(true);
same<Wire<{ id: bigint }>, { id: number | bigint }>(true);
same<Wire<Response>, never>(true);
same<Wire<Headers>, never>(true);
same<Wire<Map<string, number>>, never>(true);
same<Wire<Intl.NumberFormat>, never>(true);
const double = app.task("double", (x: bigint) => x * 2n);
// @ts-expect-error it would arrive as a number
void double.delay(5n);
const doubleAny = app.task("doubleAny", (x: number | bigint) => BigInt(x) * 2n);
void doubleAny.delay(5n);
void doubleAny.delay(5);
const fetches = app.task("fetches", (response: Response) => response.status);
// @ts-expect-error JSON would make {} of it
void fetches.delay(new Response());
same<Wire<Point>, { x: number }>(true);
same<Wire<Money>, { cents: number }>(true);
same<Wire<{ a: Date; f(): void }>, { a: Date }>(true);
// What may be missing stays so. test/package reads this file under exactOptionalPropertyTypes too, where it matters.
same<Wire<{ b?: bigint; c?: Date | null }>, { b?: number | bigint; c?: Date | null }>(true);
const lookUp = app.task("lookUp", (id: string): { id: string; note?: string | null } => ({ id }));
const note = app.task("note", (user: { id: string; note?: string | null }) => user.note ?? "");
void chain(lookUp.s("a"), note.s());
same<Wire<{ b: number | undefined }>, { b: number | undefined }>(true);
same<Wire<{ readonly a: readonly bigint[] }>, { a: (number | bigint)[] }>(true);
same<Wire<readonly [string, ...bigint[]]>, [string, ...(number | bigint)[]]>(true);
same<Wire<[Point, undefined]>, [{ x: number }, null]>(true);
same<Wire<unknown>, unknown>(true);
same<Wire<() => void>, never>(true);

const nothing = app.task("nothing", () => {});
same<Awaited<ReturnType<typeof nothing.delay>>, AsyncResult<null>>(true);
const later = app.task("later", async () => new Point(1));
same<Awaited<ReturnType<typeof later.delay>>, AsyncResult<{ x: number }>>(true);
const when = app.task("when", (day: Date) => day);
same<Awaited<ReturnType<typeof when.delay>>, AsyncResult<Date>>(true);
void when.delay(new Date());

async function read() {
  const result = await add.delay(1, 2);
  same<Awaited<ReturnType<typeof result.get>>, number>(true);
  // @ts-expect-error an AsyncResult has no then: awaiting it is not waiting for the task
  void result.then;
  same<Awaited<typeof result>, typeof result>(true);
}
void read;

// ── what JSON cannot carry does not compile ──────────────────────────────────────────────────────────────────────────

const call = app.task("call", (callback: () => void) => callback());
// @ts-expect-error a function does not travel
void call.delay(() => {});
const count = app.task("count", (map: Map<string, number>) => map.size);
// @ts-expect-error a Map does not travel
void count.delay(new Map());
const nested = app.task("nested", (order: { items: { price: number; format: () => string }[] }) => order.items.length);
// @ts-expect-error nor does a function further down
void nested.delay({ items: [{ price: 1, format: () => "" }] });
const measure = app.task("measure", (point: Point) => point.x);
// @ts-expect-error an instance with methods arrives without them
void measure.delay(new Point(1));
const plain = app.task("plain", (order: { id: string; lines?: readonly { n: number }[]; at: Date }) => order.id);
void plain.delay({ id: "a", lines: [{ n: 1 }], at: new Date() });
same<Sendable<readonly number[]>, readonly number[]>(true);
same<Sendable<readonly (bigint | number)[]>, readonly (bigint | number)[]>(true);
same<Sendable<[a: string, ...b: bigint[]]>, [a: string, ...b: never[]]>(true);
const any = app.task("any", (value: unknown) => value);
void any.delay({ whatever: true });

// ── types that name themselves ───────────────────────────────────────────────────────────────────────────────────────

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Frozen = null | number | string | readonly Frozen[] | { readonly [key: string]: Frozen };
// As libraries write it, such as Prisma.
interface List extends Array<Listed> {}
type Listed = null | string | List | { [K in string]?: Listed };
type Expression = number | ["add" | "multiply", Expression, Expression];
type Dated = Date | undefined | Dated[];
interface Tree {
  value: number;
  label?: string;
  below: readonly Tree[];
}
const json = app.task("json", (value: Json) => value);
const frozen = app.task("frozen", (value: Frozen) => value);
const listed = app.task("listed", (value: Listed) => value);
const evaluate = app.task("evaluate", (expression: Expression) => expression);
const dated = app.task("dated", (value: Dated) => value);
const grow = app.task("grow", (tree: Tree) => tree);
void json.delay({ a: [1, { b: null }] });
// @ts-expect-error a function, deep within
void json.delay({ a: [1, { b: () => 1 }] });
void frozen.delay([1, { b: ["c"] }]);
void listed.delay({ a: ["b", { c: null }] });
void evaluate.delay(["add", 1, ["multiply", 2, 3]]);
// @ts-expect-error no such word, deep within
void evaluate.delay(["add", 1, ["divide", 2, 3]]);
void dated.delay([new Date(), [undefined]]);
void grow.delay({ value: 1, below: [{ value: 2, below: [] }] });
void chain(json.s({}), json.s());
void chain(listed.s([]), listed.s());
void chain(grow.s({ value: 1, below: [] }), grow.s());
async function readThem() {
  const value: Json = await (await json.delay(1)).get();
  const list: Listed = await (await listed.delay([])).get();
  const sum: Expression = await (await evaluate.delay(1)).get();
  const tree: Omit<Tree, "below"> = await (await grow.delay({ value: 1, below: [] })).get();
  return [value, list, sum, tree];
}
void readThem;

// ── bind ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

const bound = app.task("bound", { bind: true }, (self, n: number) => {
  same<typeof self.request, Request>(true);
  same<ReturnType<typeof self.retry>, never>(true);
  // @ts-expect-error no such member
  void self.requests;
  return n;
});
void bound.delay(1);
// @ts-expect-error the running task is not an argument of the call
void bound.delay({}, 1);

declare const maybe: boolean;
// @ts-expect-error bind must be the literal true, or the first argument could not be known
app.task("maybe", { bind: maybe }, (self: { request: Request }, n: number) => [self, n]);
same<ReturnType<typeof currentTask>, ReturnType<typeof currentTask> | undefined>(true);

// ── base ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

class Connected extends Task {
  readonly connection: string = "open";
  query(text: string) {
    return text.length;
  }
}
const query = app.task("query", { base: Connected, bind: true }, (self, text: string) => {
  same<typeof self.connection, string>(true);
  return self.query(text);
});
void query.delay("select");
same<typeof query.connection, string>(true);
same<ReturnType<typeof query.query>, number>(true);
const unbound = app.task("unbound", { base: Connected }, (n: number) => n);
void unbound.delay(1);
void unbound.query("x");
// @ts-expect-error not a class of tasks
app.task("odd", { base: Date }, () => 1);

// ── schema ───────────────────────────────────────────────────────────────────────────────────────────────────────────

const Order = z.object({ id: z.string(), amount: z.coerce.number<string>(), note: z.string().default("") });
const charge = app.task("charge", { schema: Order }, (order) => {
  same<typeof order, { id: string; amount: number; note: string }>(true);
  return order.amount;
});
void charge.delay({ id: "a", amount: "1.5" });
// @ts-expect-error the input is text
void charge.delay({ id: "a", amount: 1.5 });
const pair = app.task("pair", { schema: z.tuple([z.number(), z.string()]) }, (n, text) => {
  same<typeof n, number>(true);
  return `${n}${text}`;
});
void pair.delay(1, "a");
// @ts-expect-error a tuple's schema is of the list
void pair.delay([1, "a"]);
const boundSchema = app.task("bound-schema", { schema: Order, bind: true }, (self, order) => [
  self.request.id,
  order.id,
]);
void boundSchema.delay({ id: "a", amount: "1" });

// ── options and signals ──────────────────────────────────────────────────────────────────────────────────────────────

// @ts-expect-error no such option
app.task("odd", { maxRetrys: 1 }, () => 1);
// @ts-expect-error no such setting
new Lovage("tasks", { taskRoute: {} });
app.on("taskSuccess", ({ taskId, runtime }) => void [taskId.length, runtime.toFixed()]);
// @ts-expect-error no such signal
app.on("taskSucess", () => {});
// @ts-expect-error no such fact of this signal
app.on("taskSuccess", ({ error }) => error);

// ── a batch's errors are no part of what a call's reader gets ────────────────────────────────────────────────────────

const batched = app.batchTask("batched", { size: 10, wait: 1 }, (calls: readonly BatchCall<[url: string]>[]) =>
  calls.map(({ args: [url] }, index) => {
    if (index === 0) return new Retry("busy", { countdown: 30 });
    return url === "" ? new TypeError("no URL") : url.length > 9 ? new Error("too long") : { url };
  }),
);
same<ReturnType<typeof batched.delay>, Promise<AsyncResult<{ url: string }>>>(true);
const named = app.batchTask("named", { size: 10, wait: 1 }, (calls: readonly BatchCall<[name: string]>[]) =>
  calls.map(({ args: [name] }) => ({ name, message: "hello" })),
);
same<ReturnType<typeof named.delay>, Promise<AsyncResult<{ name: string; message: string }>>>(true);
