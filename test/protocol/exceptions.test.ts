import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as errors from "../../src/errors.ts";
import { dataToError, exceptionLine, exceptionToData } from "../../src/protocol/exceptions.ts";
import { isSafeBuiltin } from "../../src/python-builtins.ts";
import { stringifyValue } from "../../src/protocol/values.ts";

const { TaskError } = errors;
const data = (error: unknown) => exceptionToData(error).data;

describe("what Python gets", () => {
  class PaymentDeclined extends Error {}
  class Minified extends Error {
    override readonly name = "CardExpired";
  }
  class Odd extends TypeError {}

  test.each<[string, unknown, object]>([
    [
      "TypeError, which it has itself",
      new TypeError("boom"),
      { exc_type: "TypeError", exc_message: ["boom"], exc_module: "builtins" },
    ],
    [
      "an error it does not have",
      new RangeError("boom"),
      { exc_type: "RangeError", exc_message: ["boom"], exc_module: "lovage" },
    ],
    ["a plain Error", new Error("boom"), { exc_type: "Error", exc_module: "lovage" }],
    ["a class of the user's", new PaymentDeclined("no"), { exc_type: "PaymentDeclined", exc_module: "lovage" }],
    ["a class of the user's over a built-in one", new Odd("no"), { exc_type: "Odd", exc_module: "lovage" }],
    ["a name that was set", new Minified("no"), { exc_type: "CardExpired", exc_module: "lovage" }],
    ["a name that was set by hand", Object.assign(new Error("no"), { name: "ByHand" }), { exc_type: "ByHand" }],
    [
      "an abort",
      new DOMException("gone", "AbortError"),
      { exc_type: "AbortError", exc_message: ["gone"], exc_module: "lovage" },
    ],
    [
      "a task's refusal",
      new errors.Reject("no"),
      { exc_type: "Reject", exc_message: ["no"], exc_module: "celery.exceptions" },
    ],
    [
      "a revoked task",
      new errors.TaskRevokedError("expired"),
      { exc_type: "TaskRevokedError", exc_message: ["expired"], exc_module: "celery.exceptions" },
    ],
    ["a chord that failed", new errors.ChordError("x"), { exc_type: "ChordError", exc_module: "celery.exceptions" }],
    [
      "an unknown task",
      new errors.NotRegistered("a.b"),
      { exc_type: "NotRegistered", exc_message: ["a.b"], exc_module: "celery.exceptions" },
    ],
    [
      "a time limit",
      new errors.TimeLimitExceeded(3),
      { exc_type: "TimeLimitExceeded", exc_message: [3], exc_module: "billiard.exceptions" },
    ],
    [
      "a soft time limit",
      new errors.SoftTimeLimitExceeded(3),
      { exc_type: "SoftTimeLimitExceeded", exc_message: [3], exc_module: "billiard.exceptions" },
    ],
    [
      "a dead worker",
      new errors.WorkerLostError("x"),
      { exc_type: "WorkerLostError", exc_module: "billiard.exceptions" },
    ],
    [
      "a value that cannot travel",
      new errors.EncodeError("a", "is bad"),
      { exc_type: "EncodeError", exc_module: "kombu.exceptions" },
    ],
    ["a text that was thrown", "boom", { exc_type: "Error", exc_message: ["boom"], exc_module: "lovage" }],
    ["nothing that was thrown", undefined, { exc_type: "Error", exc_message: ["undefined"] }],
    ["null that was thrown", null, { exc_type: "Error", exc_message: [null] }],
    ["an object that was thrown", { code: 1 }, { exc_type: "Error", exc_message: [{ code: 1 }] }],
    ["a function that was thrown", Symbol("x"), { exc_type: "Error", exc_message: ["Symbol(x)"] }],
    [
      "a class named like what ends a process",
      Object.assign(new Error("x"), { name: "SystemExit" }),
      { exc_type: "SystemExit", exc_module: "lovage" },
    ],
    [
      "a name that Python can make no class of",
      Object.assign(new Error("x"), { name: "A\0\ud800" }),
      { exc_type: "A\ufffd" },
    ],
    ["no name at all", Object.assign(new Error("x"), { name: "" }), { exc_type: "Error" }],
  ])("for %s", (_, error, expected) => {
    expect(data(error)).toMatchObject(expected);
  });

  test("an error that came from Python goes back as what it was", () => {
    const facts = {
      taskId: "t",
      excType: "ValueError",
      excModule: "builtins",
      excMessage: ["bad", 7],
      traceback: null,
      message: "bad, 7",
    };
    expect(data(new TaskError(facts))).toEqual({
      exc_type: "ValueError",
      exc_message: ["bad", 7],
      exc_module: "builtins",
    });
  });

  test.each(["SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException", "map", "exec", "__import__"])(
    "builtins.%s never goes back",
    (excType) => {
      const facts = { taskId: "t", excType, excModule: "builtins", excMessage: [], traceback: null, message: "" };
      expect(data(new TaskError(facts)).exc_module).not.toBe("builtins");
      expect(isSafeBuiltin(excType)).toBe(false);
    },
  );
});

describe("the traceback", () => {
  test("has the stack, and the stacks of the causes", () => {
    const cause = new TypeError("inner", { cause: "innermost" });
    const { traceback } = exceptionToData(new Error("outer", { cause }));
    expect(traceback).toMatch(/^Error: outer\n.*exceptions\.test\.ts/);
    expect(traceback).toMatch(/\[cause\]: TypeError: inner\n/);
    expect(traceback).toMatch(/\[cause\]: thrown: innermost$/);
  });

  test("ends where causes go round", () => {
    const error = new Error("round");
    error.cause = error;
    expect(exceptionToData(error).traceback.match(/round/g)).toHaveLength(1);
  });

  test("says something of an error without a stack, and of what is no error", () => {
    const error = new Error("boom");
    Object.assign(error, { stack: undefined });
    expect(exceptionToData(error).traceback).toBe("Error: boom");
    expect(exceptionToData({ code: 1 }).traceback).toBe('thrown: {"code":1}');
    expect(exceptionToData(undefined).traceback).toBe("thrown: undefined");
  });
});

test("an error that resists being read is told of all the same", () => {
  const hostile = new Proxy(new Error("x"), {
    get() {
      throw new Error("no");
    },
  });
  expect(data(hostile)).toMatchObject({ exc_type: "Error", exc_message: [expect.stringContaining("cannot be read")] });
});

test("whatever is thrown gives data that can be stored and read as an error again", () => {
  fc.assert(
    fc.property(
      fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true, withSparseArray: true }),
      fc.string({ unit: "binary" }),
      (thrown, name) => {
        for (const error of [thrown, Object.assign(new Error(name), { name: thrown })]) {
          const stored = exceptionToData(error);
          expect(stored.data.exc_type).not.toBe("");
          expect(() => stringifyValue(stored)).not.toThrow();
          expect(dataToError(stored.data, stored.traceback, "t")).toBeInstanceOf(Error);
        }
      },
    ),
    { numRuns: 300 },
  );
});

describe("what a reader gets", () => {
  const roundTrip = (error: Error) => {
    const stored = exceptionToData(error);
    return dataToError(stored.data, stored.traceback, "task-1");
  };

  test.each([
    new errors.MaxRetriesExceededError("gave up"),
    new errors.TaskRevokedError("terminated"),
    new errors.ChordError("Dependency x raised"),
    new errors.NotRegistered("a.b"),
    new errors.SoftTimeLimitExceeded(2),
    new errors.TimeLimitExceeded(3),
    new errors.WorkerLostError("gone"),
    new errors.Reject("no"),
  ])("$name is itself, with its message and the stack it had", (error) => {
    const read = roundTrip(error);
    expect(read.constructor).toBe(error.constructor);
    expect(read.message).toBe(error.message);
    expect(read.stack).toContain("exceptions.test.ts");
  });

  test("a limit of which Python says no seconds keeps Python's words", () => {
    const read = dataToError(
      { exc_type: "TimeLimitExceeded", exc_message: ["300s"], exc_module: "billiard.exceptions" },
      null,
      "t",
    );
    expect(read).toBeInstanceOf(errors.TimeLimitExceeded);
    expect(read.message).toBe("300s");
  });

  test("anything else is a TaskError with the facts", () => {
    const read = roundTrip(new RangeError("boom"));
    expect(read).toBeInstanceOf(TaskError);
    expect(read).toMatchObject({
      name: "RangeError",
      message: "boom",
      taskId: "task-1",
      excType: "RangeError",
      excModule: "lovage",
      excMessage: ["boom"],
    });
    expect(read.stack).toMatch(/^RangeError: boom\nRangeError: boom\n.*exceptions\.test\.ts/);
  });

  test("what Celery stores of an exception that pickle cannot copy is that exception", () => {
    const wrapper = (...args: readonly unknown[]) => ({
      exc_type: "UnpickleableExceptionWrapper",
      exc_message: args,
      exc_module: "celery.utils.serialization",
    });
    const stored = wrapper("shop.errors", "OutOfStock", ["apples", 3], "OutOfStock('apples', 3)");
    const read = dataToError(stored, "Traceback", "t");
    expect(read).toMatchObject({
      name: "OutOfStock",
      message: "apples, 3",
      excType: "OutOfStock",
      excModule: "shop.errors",
      excMessage: ["apples", 3],
      traceback: "Traceback",
    });
    expect(exceptionLine(stored)).toBe(`OutOfStock("apples", 3)`);
    // Seen of Celery 5.7: an argument that JSON cannot carry makes a text of all of them.
    for (const [args, message] of [
      ["(<Response [500]>,)", "<Response [500]>"],
      ["(<object object at 0x7f>, b'\\x00\\xff', (1,))", "<object object at 0x7f>, b'\\x00\\xff', (1,)"],
      ["('a\nb', {1})", "'a\nb', {1}"],
    ] as const)
      expect(dataToError(wrapper("shop.errors", "ApiError", args, "ApiError(…)"), null, "t")).toMatchObject({
        name: "ApiError",
        excModule: "shop.errors",
        excMessage: [message],
        message,
      });
    // Neither a wrapper without its parts nor a class of that name elsewhere is one.
    expect(dataToError(wrapper("shop.errors"), null, "t").name).toBe("UnpickleableExceptionWrapper");
    expect(dataToError({ ...stored, exc_module: "shop" }, null, "t").name).toBe("UnpickleableExceptionWrapper");
  });

  test("Python's Reject has its reason as message", () => {
    const stored = { exc_type: "Reject", exc_message: ["no stock", false], exc_module: "celery.exceptions" };
    expect(dataToError(stored, null, "t").message).toBe("no stock");
    expect(dataToError({ ...stored, exc_message: [null, false] }, null, "t").message).toBe("");
  });

  test("a user's class named like one of ours stays a TaskError", () => {
    class ChordError extends Error {}
    expect(roundTrip(new ChordError("mine"))).toBeInstanceOf(TaskError);
  });

  test.each([null, undefined, "boom", 7, [], {}, { exc_type: 1 }, { exc_type: "" }, { exc_message: ["x"] }])(
    "%j, which is no exception, is a TaskError that shows it",
    (stored) => {
      const read = dataToError(stored, null, "t");
      expect(read).toBeInstanceOf(TaskError);
      expect(read.message).toContain("not of Celery's form");
      if (typeof stored === "string") expect(read.message).toContain(stored);
    },
  );
});
