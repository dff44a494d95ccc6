/**
 * Messages and results, as random as can be, with kombu's serializer and Celery's own worker as the judge of both
 * directions. LOVAGE_JUDGE_RUNS: cases of each property (default 100).
 */
import { join } from "node:path";
import fc from "fast-check";
import { Decimal, PlainDate, PlainTime, Uuid } from "lovage";
import { afterAll, describe, expect, test } from "vitest";
import { decodeEnvelope, encodeEnvelope } from "../../src/protocol/envelope.ts";
import { dataToError, exceptionToData } from "../../src/protocol/exceptions.ts";
import { createMessage, type SignatureData } from "../../src/protocol/message.ts";
import { decodeMeta, encodeMeta, type Meta } from "../../src/protocol/meta.ts";
import { formatTime, parseTime } from "../../src/protocol/time.ts";
import { celeryPython, startAnswering } from "./python.ts";

const RUNS = { numRuns: Number(process.env["LOVAGE_JUDGE_RUNS"] ?? 100) };
const TIMEOUT = 60_000 + RUNS.numRuns * 100;

/** A value in JSON as two languages can agree on it; the same as in judge.py. */
type Form =
  | null
  | boolean
  | string
  | readonly Form[]
  | { readonly dict: readonly (readonly [string, Form])[] }
  | { readonly [kind in "int" | "float" | "datetime" | "date" | "time" | "decimal" | "uuid" | "bytes"]?: string };

function canonical(value: unknown): Form {
  if (value === null || value === undefined || typeof value === "boolean" || typeof value === "string")
    return value ?? null;
  if (typeof value === "bigint") return { int: String(value) };
  if (typeof value === "number") {
    if (Number.isInteger(value) && !Object.is(value, -0)) return { int: String(BigInt(value)) };
    return { float: Number.isNaN(value) ? "nan" : bits(value) };
  }
  if (Array.isArray(value)) return value.map(canonical);
  if (value instanceof Date) return { datetime: String(BigInt(value.getTime()) * 1000n) };
  if (value instanceof PlainDate) return { date: String(value) };
  if (value instanceof PlainTime) return { time: String(value) };
  if (value instanceof Decimal) return { decimal: String(value) };
  if (value instanceof Uuid) return { uuid: String(value).replaceAll("-", "") };
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString("hex") };
  return dict(Object.entries(value as object).map(([key, each]) => [key, canonical(each)]));
}

/** Sorted by code points, as Python sorts. */
const dict = (entries: readonly (readonly [string, Form])[]): Form => ({
  dict: [...entries].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
});

function bits(value: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return bytes.toString("hex");
}

// ── what is drawn ───────────────────────────────────────────────────────────────────────────────────────────────────

const text = fc.string({ unit: "grapheme", maxLength: 20 });
const digits = (places: number) =>
  fc.integer({ min: 0, max: 10 ** places - 1 }).map((n) => String(n).padStart(places, "0"));
const day = fc.date({
  min: new Date("0001-01-03T00:00:00Z"),
  max: new Date("9999-12-29T00:00:00Z"),
  noInvalidDate: true,
});
const plainDate = day.map((date) => date.toISOString().slice(0, 10));
const plainTime = fc
  .tuple(fc.nat(23), fc.nat(59), fc.nat(59), fc.option(digits(6).filter((fraction) => fraction !== "000000")))
  .map(
    ([h, m, s, fraction]) =>
      [h, m, s].map((n) => String(n).padStart(2, "0")).join(":") + (fraction === null ? "" : `.${fraction}`),
  );
const decimal = fc.oneof(
  fc.tuple(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), digits(5)).map(([whole, rest]) => `${whole}.${rest}`),
  fc.constantFrom("NaN", "Infinity", "-Infinity", "1E+10", "0.00"),
);
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 20 }),
  text.map((each) => new Uint8Array(Buffer.from(each))),
);
// An object of exactly `__type__` and `__value__` is refused here, for every reader would take it for a tag.
const key = fc.oneof(text, fc.constantFrom("__proto__", "constructor", "1", "__type__", "toString"));

/** Values as JavaScript has them. */
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.oneof(
      fc.constant(null),
      fc.boolean(),
      text,
      fc.integer(),
      fc.maxSafeInteger(),
      fc.double(),
      fc.bigInt({ min: -(2n ** 200n), max: 2n ** 200n }),
      day,
      plainDate.map((each) => new PlainDate(each)),
      plainTime.map((each) => new PlainTime(each)),
      decimal.map((each) => new Decimal(each)),
      fc.uuid().map((each) => new Uuid(each)),
      bytes,
    ),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.array(fc.tuple(key, tie("value")), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
  ),
}));

/** Values as Python has them. */
const { form } = fc.letrec<{ form: Form }>((tie) => ({
  form: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.oneof(
      fc.constant(null),
      fc.boolean(),
      text,
      fc.bigInt({ min: -(2n ** 200n), max: 2n ** 200n }).map((n) => ({ int: String(n) })),
      fc.integer().map((n) => ({ int: String(n) })),
      fc
        .double()
        .filter((n) => !Number.isInteger(n))
        .map((n) => ({ float: Number.isNaN(n) ? "nan" : bits(n) })),
      // To the microsecond, which a Date does not show and keeps.
      fc
        .tuple(day, fc.nat(999))
        .map(([date, micros]) => ({ datetime: String(BigInt(date.getTime()) * 1000n + BigInt(micros)) })),
      plainDate.map((each) => ({ date: each })),
      plainTime.map((each) => ({ time: each })),
      decimal.map((each) => ({ decimal: each })),
      fc.uuid().map((each) => ({ uuid: each.replaceAll("-", "") })),
      bytes.map((each) => ({ bytes: Buffer.from(each).toString("hex") })),
    ),
    fc.array(tie("form"), { maxLength: 4 }),
    fc
      .uniqueArray(fc.tuple(key, tie("form")), { maxLength: 4, selector: ([name]) => name })
      .map((entries) => dict(entries)),
  ),
}));
/** kombu does not escape a dict that looks like one of its tags: of such it is not to be asked. */
const isEscaped = (drawn: Form): boolean => !JSON.stringify(drawn).includes('"__type__"');

/** What JavaScript shows of it: a Date has milliseconds. */
function seenHere(drawn: Form): Form {
  if (Array.isArray(drawn)) return drawn.map(seenHere);
  if (typeof drawn !== "object" || drawn === null) return drawn;
  if ("dict" in drawn)
    return dict((drawn.dict as readonly (readonly [string, Form])[]).map(([name, each]) => [name, seenHere(each)]));
  if ("datetime" in drawn) {
    const micros = BigInt(drawn.datetime as string);
    return { datetime: String(micros - (((micros % 1000n) + 1000n) % 1000n)) };
  }
  return drawn;
}

const kwargs = fc
  .array(fc.tuple(key, value), { maxLength: 3 })
  .map((entries) => Object.fromEntries(entries) as Record<string, unknown>);
const signature: fc.Arbitrary<SignatureData> = fc.record({
  task: fc.constantFrom("tasks.any", "ts.other"),
  args: fc.array(value, { maxLength: 2 }),
  kwargs,
  options: fc.record({ task_id: fc.uuid(), queue: text, countdown: fc.nat(100) }, { requiredKeys: [] }),
  subtask_type: fc.constant(null),
  immutable: fc.boolean(),
});
const seconds = fc.option(fc.integer({ min: 1, max: 1000 }));
const time = fc
  .date({ min: new Date("2035-01-01T00:00:00Z"), max: new Date("2100-01-01T00:00:00Z"), noInvalidDate: true })
  .map((date) => formatTime(date.getTime()));

// ── the judge ───────────────────────────────────────────────────────────────────────────────────────────────────────

const python = await celeryPython("5.7");

describe.skipIf(python === undefined)("Celery 5.7", () => {
  if (python === undefined) return;
  const judge = startAnswering(python, join(import.meta.dirname, "judge.py"));
  afterAll(() => judge.stop());
  const ask = <T>(question: string, facts: object) => judge.ask({ ask: question, ...facts }) as Promise<T>;
  const ALL = { accept: ["json"] };

  test("reads every message that we write, as what it says, and its worker survives it", {
    timeout: TIMEOUT,
  }, async () => {
    const facts = fc.record({
      id: fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }),
      args: fc.array(value, { maxLength: 4 }),
      kwargs,
      callbacks: fc.array(signature, { maxLength: 2 }),
      errbacks: fc.array(signature, { maxLength: 2 }),
      chain: fc.array(signature, { maxLength: 2 }),
      chord: fc.option(signature),
      eta: fc.option(time),
      expires: fc.option(time),
      retries: fc.nat(10),
      timelimit: fc.tuple(seconds, seconds),
      ignoreResult: fc.boolean(),
      parentId: fc.option(text),
      group: fc.option(fc.uuid()),
      groupIndex: fc.option(fc.nat(5)),
      stamps: fc.constantFrom({}, { tenant: "t" }),
      headers: fc.record({ "x-trace": value, note: text }),
      compression: fc.constantFrom(null, "application/x-gzip", "application/x-brotli", "application/zstd"),
    });
    await fc.assert(
      fc.asyncProperty(facts, async (drawn) => {
        const message = createMessage({ ...drawn, task: "tasks.any", stampedHeaders: Object.keys(drawn.stamps) });
        const read = await ask<Record<string, Form>>("read", {
          text: await encodeEnvelope(message),
          headers: ["x-trace", "note"],
        });
        const orNull = (list: readonly unknown[]) => (list.length === 0 ? null : canonical(list));
        const instant = (at: string | null): Form =>
          at === null ? null : { datetime: String(BigInt(parseTime(at)) * 1000n) };
        expect(read).toEqual({
          args: canonical(drawn.args),
          kwargs: canonical(drawn.kwargs),
          embed: dict([
            ["callbacks", orNull(drawn.callbacks)],
            ["chain", orNull(drawn.chain)],
            ["chord", canonical(drawn.chord)],
            ["errbacks", orNull(drawn.errbacks)],
          ]),
          id: drawn.id,
          task: "tasks.any",
          eta: instant(drawn.eta),
          expires: instant(drawn.expires),
          time_limits: canonical(drawn.timelimit),
          group: drawn.group,
          group_index: drawn.groupIndex,
          retries: drawn.retries,
          root_id: drawn.id,
          parent_id: drawn.parentId,
          stamps: canonical(drawn.stamps),
          ignore_result: drawn.ignoreResult,
          headers: canonical(drawn.headers),
        });
      }),
      RUNS,
    );
  });

  test("writes messages that we read, and that it reads again as they were when we send them on", {
    timeout: TIMEOUT,
  }, async () => {
    const call = fc.record({
      args: fc.array(form, { maxLength: 4 }),
      kwargs: fc.uniqueArray(fc.tuple(key, form), { maxLength: 3, selector: ([name]) => name }).map(dict),
      task_id: fc.uuid(),
      eta: fc.option(
        fc.nat(10 ** 9).map((n): Form => ({ datetime: String(BigInt(n) * 2_000_003n + 2_051_222_400_000_000n) })),
      ),
      shadow: fc.option(text),
      compression: fc.constantFrom(null, "gzip", "brotli", "zstd"),
      base64: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        call.filter(({ args, kwargs: named }) => isEscaped(args) && isEscaped(named)),
        async ({ base64, args, kwargs: named, ...options }) => {
          const asked = dict([
            ["args", args],
            ["kwargs", named],
            ["options", dict(Object.entries(options).filter(([, each]) => each !== null))],
          ]);
          const message = await decodeEnvelope(await ask<string>("write", { call: asked, base64 }), ALL);
          expect(canonical(message.args)).toEqual(seenHere(args));
          expect(canonical(message.kwargs)).toEqual(seenHere(named));
          expect([message.id, message.shadow]).toEqual([options.task_id, options.shadow]);

          const again = await ask<Record<string, Form>>("read", { text: await encodeEnvelope(message) });
          expect(again).toMatchObject({ args, kwargs: named, id: options.task_id, eta: options.eta });
        },
      ),
      RUNS,
    );
  });

  const meta = (facts: Partial<Meta>): Meta => ({
    status: "SUCCESS",
    result: null,
    traceback: null,
    children: [],
    dateDone: formatTime(0),
    taskId: "t",
    ...facts,
  });
  const stored = async (facts: Partial<Meta>) => {
    const payload = await encodeMeta(meta(facts));
    return { payload: Buffer.from(payload).toString("base64") };
  };

  test("reads every result that we store, and stores results that we read", { timeout: TIMEOUT }, async () => {
    await fc.assert(
      fc.asyncProperty(value, form.filter(isEscaped), async (ours, theirs) => {
        expect(await ask("read_result", await stored({ result: ours }))).toEqual({
          result: canonical(ours),
          status: "SUCCESS",
        });
        const read = await decodeMeta(Buffer.from(await ask<string>("write_result", { value: theirs }), "base64"));
        expect(canonical(read.result)).toEqual(seenHere(theirs));
        expect(await ask("read_result", await stored({ result: read.result }))).toEqual({
          result: theirs,
          status: "SUCCESS",
        });
      }),
      RUNS,
    );
  });

  test("reads everything that can be thrown here as an exception that ends nobody", { timeout: TIMEOUT }, async () => {
    // Some of them are what Python must not be made to raise.
    const builtin = fc.constantFrom(
      ...["SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException", "map", "__import__", ""],
      ...["TypeError", "SyntaxError", "ValueError", "StopIteration"],
    );
    const name = fc.oneof(text, builtin);
    const data = fc.record({
      exc_type: name,
      exc_message: fc.array(value, { maxLength: 3 }),
      exc_module: fc.constantFrom("celery.exceptions", "lovage", null),
    });
    const thrown = fc.oneof(
      value,
      fc.tuple(name, text).map(([named, message]) => Object.assign(new Error(message), { name: named })),
      text.map((message) => new TypeError(message)),
      data.map((each) => dataToError(each, "Traceback", "t")),
      fc
        .tuple(data, builtin)
        .map(([each, type]) => dataToError({ ...each, exc_type: type, exc_module: "builtins" }, "Traceback", "t")),
    );
    await fc.assert(
      fc.asyncProperty(thrown, async (error) => {
        const { data, traceback } = exceptionToData(error);
        const read = await ask<{ type: string; status: string; traceback: string }>(
          "read_result",
          await stored({ status: "FAILURE", result: data, traceback }),
        );
        expect(read).toMatchObject({ status: "FAILURE", traceback });
        expect(read.type).not.toBe("");
      }),
      RUNS,
    );
  });

  test("raises exceptions that we read with their type and arguments", { timeout: TIMEOUT }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("ValueError", "KeyError"),
        fc.array(form.filter(isEscaped), { maxLength: 3 }),
        async (type, args) => {
          const { result, traceback } = await decodeMeta(
            Buffer.from(await ask<string>("write_result", { raises: [type, args] }), "base64"),
          );
          const error = dataToError(result, traceback, "t");
          expect(error).toMatchObject({ name: type, excModule: "builtins", traceback: "Traceback" });
          expect(canonical((error as Error & { excMessage: unknown }).excMessage)).toEqual(seenHere(args));
          // Passed on, it is the same exception.
          const passed = exceptionToData(error);
          const read = await ask<{ type: string; args: Form }>(
            "read_result",
            await stored({ status: "FAILURE", result: passed.data, traceback: passed.traceback }),
          );
          expect(read).toMatchObject({ type, args });
        },
      ),
      RUNS,
    );
  });
});
