import { AlreadyRegistered, EncodeError, ImproperlyConfigured, Lovage } from "lovage";
import { describe, expect, test } from "vitest";
import { inMemory } from "../flow/stores.ts";

/** What a declaration or a call throws, which is always of one class. */
async function refusal(act: () => unknown): Promise<ImproperlyConfigured> {
  try {
    await act();
  } catch (error) {
    expect(error).toBeInstanceOf(ImproperlyConfigured);
    return error as ImproperlyConfigured;
  }
  throw new Error("nothing was refused");
}

const declare = (options: object) => () => new Lovage("tasks").task("tasks.add", options, () => 1);
class Expected extends Error {}

describe("a declaration", () => {
  test.each([
    [{ max_retries: 1 }, "max_retries: task tasks.add has no such option; it is called maxRetries here"],
    [{ rate_limit: "1/m" }, /^rate_limit: task tasks\.add has no such option; it is called rateLimit here/],
    [{ retryKwargs: { max_retries: 1 } }, "retryKwargs.max_retries: task tasks.add: is called maxRetries here"],
    [{ retryKwargs: { maxRetrys: 1 } }, /^retryKwargs\.maxRetrys: .*did you mean "maxRetries"/],
    [{ retryKwargs: { countdown: -1 } }, /^retryKwargs\.countdown: .*seconds from 0 to \d+ \(given: -1\)/],
    [{ retryKwargs: { countdown: "5" } }, /^retryKwargs\.countdown: .*\(given: "5"\)/],
    [{ retryKwargs: { maxRetries: 1.5 } }, /^retryKwargs\.maxRetries: .*whole number from 0 \(given: 1\.5\)/],
    [{ retryKwargs: [] }, /^retryKwargs: task tasks\.add: must be an object \(given: \[\]\)/],
    [{ autoretryFor: [() => Error] }, /^autoretryFor: .*\[0\] is none/],
    [{ autoretryFor: Error }, /^autoretryFor: .*must be a list of error classes/],
    [{ dontAutoretryFor: [Error, "Error"] }, /^dontAutoretryFor: .*\[1\] is none/],
    [{ throws: [new Error("an instance")] }, /^throws: .*\[0\] is none/],
    [{ timeLimit: 5, softTimeLimit: 5 }, /^softTimeLimit: .*must be below timeLimit \(5 s\).*given: 5/],
    [{ queue: "bad name" }, /^queue: task tasks\.add: the queue name "bad name" has characters that SQS refuses/],
    [{ queue: "celery-dlq" }, /^queue: .*is reserved/],
    [{ queue: "q".repeat(81) }, /^queue: .*too long/],
    [{ compression: "rar" }, /^compression: .*must be gzip, brotli or zstd.*given: "rar"/],
    [{ compression: "bzip2" }, /^compression: .*must be gzip, brotli or zstd/],
    [{ params: ["x", "x"] }, 'params: task tasks.add: names a parameter twice; given: ["x","x"]'],
    [{ params: ["x", "not a name"] }, /^params: .*must be a list of parameter names/],
    [{ schema: null }, /^schema: .*Standard Schema/],
    [{ expires: "Nov 24 2026" }, /^expires: .*seconds from now, a Date, or text in ISO 8601 such as/],
  ])("with %j is refused by the option's name, with the reason", async (options, message) => {
    const error = await refusal(declare(options));
    if (typeof message === "string") expect(error.message).toBe(message);
    else expect(error.message).toMatch(message);
  });

  test("takes classes of errors, names of parameters in any script, and every kind of a retry", () => {
    expect(
      declare({
        autoretryFor: [Error, Expected],
        throws: [TypeError],
        params: ["x", "größe", "_y", "$z"],
        retryKwargs: { countdown: 0, maxRetries: null },
        timeLimit: 5,
        softTimeLimit: 4,
        queue: "orders.fifo",
        compression: "zlib",
      }),
    ).not.toThrow();
  });

  test.each([
    ["a line break", "tasks.add\nFAKE LOG LINE"],
    ["a control character", "tasks\u0000add"],
    ["another line's end", "tasks\u2028add"],
    ["more than 255 characters", "t".repeat(256)],
    ["half of a character", "t\ud800"],
    ["no text", 5],
  ])("of a task whose name has %s is refused, and so is a call of it", async (_, name) => {
    const app = new Lovage("tasks");
    const message = /^task: a task's name must be text of 1 to 255 characters/;
    for (const act of [
      () => app.task(name as string, () => 1),
      () => app.taskRef(name as string),
      () => app.sendTask(name as string),
    ])
      expect((await refusal(act)).message).toMatch(message);
    expect(() => app.task("t".repeat(255), () => 1)).not.toThrow();
  });

  test("may leave its options out as undefined or null, and has nothing else in their place", async () => {
    const app = new Lovage("tasks", null as never);
    const one = app.task("tasks.one", undefined as never, () => 1);
    app.task("tasks.two", null as never, () => 2);
    inMemory(app);
    expect((await one.applyAsync([], null as never)).id).toMatch(/-/);
    expect((await one.apply([], null as never)).id).toMatch(/-/);
    expect(one.signature([], null as never).task).toBe("tasks.one");
    expect(app.signature("tasks.one", [], null as never).task).toBe("tasks.one");
    expect((await one.s().applyAsync([], null as never)).id).toMatch(/-/);
    for (const options of [5, "queue", []])
      expect((await refusal(() => app.task("tasks.three", options as never, () => 3))).message).toMatch(
        /^options: the options of task tasks\.three must be an object; given: /,
      );
    expect((await refusal(() => app.task("tasks.three", (() => 3) as never, () => 3))).message).toMatch(
      /options before the function/,
    );
    expect(() => app.task("tasks.one", () => 1)).toThrow(AlreadyRegistered);
  });
});

describe("a call", () => {
  const call = (options: unknown, args: unknown = []) => {
    const app = new Lovage("tasks");
    inMemory(app);
    return () => app.sendTask("tasks.add", args as unknown[], options as object);
  };

  test.each([
    [{ retryPolicy: { max_retries: 1 } }, "retryPolicy.max_retries: a call of tasks.add: is called maxRetries here"],
    [{ retryPolicy: { intervalStart: -1 } }, /^retryPolicy\.intervalStart: .*number of seconds from 0 \(given: -1\)/],
    [{ retryPolicy: { retry_errors: [] } }, /^retryPolicy\.retry_errors: .*only errors that can pass/],
    [{ link: {} }, /^link: .*must be a signature such as add\.s\(1\).*names a task.*given: \{\}/],
    [{ link: [5] }, /^link: .*must be a signature.*given: \[5\]/],
    [{ linkError: { task: "tasks.note", args: 5 } }, /^linkError: .*args of tasks\.note must be a list/],
    [{ link: { task: "tasks.note", options: { link: [5] } } }, /^link: .*must be a signature/],
    [{ link: null }, /^link: .*must be a signature/],
    [{ eta: "Nov 24 2026" }, /^eta: .*a Date, or text in ISO 8601 such as .*given: "Nov 24 2026"/],
    [{ eta: "2026-02-30" }, /^eta: /],
    [{ eta: new Date(Number.NaN) }, /^eta: .*given: Invalid Date/],
    [{ eta: new Date(8.64e15) }, /^eta: /],
    [{ expires: "tomorrow" }, /^expires: .*ISO 8601/],
    [{ timeLimit: 1, softTimeLimit: 2 }, /^softTimeLimit: a call of tasks\.add: must be below timeLimit/],
    [{ queue: "bad name" }, /^queue: a call of tasks\.add: the queue name "bad name"/],
    [{ time_limit: 5 }, /it is called timeLimit here/],
    [5, /^options: the options of a call of tasks\.add must be an object; given: 5/],
  ])("with %j is refused by the option's name, with the reason", async (options, message) => {
    const error = await refusal(call(options));
    if (typeof message === "string") expect(error.message).toBe(message);
    else expect(error.message).toMatch(message);
  });

  test("whose arguments are no list is refused with what was given", async () => {
    expect((await refusal(call({}, null))).message).toBe(
      "args: the arguments of tasks.add must be a list; given: null",
    );
  });

  test("takes signatures, their JSON and lists of both as links, and every spelling of a time that Celery reads", async () => {
    const app = new Lovage("tasks");
    const note = app.task("tasks.note", (text: unknown) => text);
    inMemory(app);
    const json = { task: "tasks.note" } as never;
    for (const link of [note.s(), json, [note.s(), json], []]) await note.applyAsync(["x"], { link, linkError: link });
    for (const eta of ["2026-11-24", "20261124T120000Z", "2026-11-24 12:00:00.5+08:00"])
      await note.applyAsync(["x"], { eta, expires: eta, retryPolicy: { maxRetries: null, intervalMax: 0 } });
  });

  test("that runs in place refuses arguments that cannot be carried, as one that is sent does", async () => {
    const ran: unknown[] = [];
    const value = { callback: () => 1 };
    for (const taskAlwaysEager of [true, false]) {
      const app = new Lovage("tasks", { taskAlwaysEager });
      const note = app.task("tasks.note", (given: unknown) => void ran.push(given));
      const sent = inMemory(app);
      for (const act of [() => note.apply([value as never]), () => note.delay(value as never)]) {
        const error = await act().catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(EncodeError);
        expect(error).toMatchObject({ path: "args[0].callback" });
      }
      await sent.drain();
    }
    expect(ran).toEqual([]);
  });
});

describe("taskAnnotations", () => {
  const annotate = (taskAnnotations: object) => () => new Lovage("tasks", { taskAnnotations } as object);
  const at = 'taskAnnotations["tasks.add"]';

  test.each([
    [{ foo: 1 }, `${at}.foo: an annotation has no such option; known: `],
    [{ maxRetrys: 1 }, `${at}.maxRetrys: an annotation has no such option; did you mean maxRetries?`],
    [{ max_retries: 1 }, `${at}.max_retries: an annotation has no such option; it is called maxRetries here`],
    [{ rateLimit: "10/d" }, `${at}.rateLimit: an annotation: must be a whole number of starts`],
    [{ maxRetries: -1 }, `${at}.maxRetries: an annotation: must be a whole number from 0`],
    [{ retryKwargs: { countdown: -1 } }, `${at}.retryKwargs.countdown: an annotation: must be a number of seconds`],
    [
      { onFailure: () => {} },
      `${at}.onFailure: belongs to the declaration; give the task a base class, or listen with`,
    ],
    [{ bind: true }, `${at}.bind: belongs to the function`],
    [{ timeLimit: 1, softTimeLimit: 2 }, `${at}.softTimeLimit: an annotation: must be below timeLimit`],
  ])("with %j are refused when the app is made", async (options, message) => {
    expect((await refusal(annotate({ "tasks.add": options }))).message).toContain(message);
    // The first map that knows the task decides, and what another one says is checked all the same.
    const second = await refusal(annotate([{ "tasks.add": {} }, { "tasks.add": options }]));
    expect(second.message).toContain(message.replace("taskAnnotations", "taskAnnotations[1]"));
  });

  test("are named as they were written, and may be spelled as in Python", async () => {
    const app = new Lovage("tasks");
    const old = await refusal(() => app.configFromObject({ CELERY_ANNOTATIONS: { "*": { rate_limit: "10/d" } } }));
    expect(old.message).toContain('CELERY_ANNOTATIONS["*"].rateLimit: an annotation: must be a whole number of starts');
    app.configFromObject({ task_annotations: { "*": { max_retries: 7, rate_limit: "10/s" } } });
    expect(app.config.taskAnnotations).toEqual({ "*": { maxRetries: 7, rateLimit: "10/s" } });
  });
});

describe("the options of a beat entry", () => {
  const entry = (options: Readonly<Record<string, unknown>>) => ({ task: "tasks.add", schedule: 60, options }) as const;

  test.each([
    [{ countdown: -1 }, "countdown: a call of tasks.add: must be a number of seconds"],
    [{ quue: "media" }, "quue: a call of tasks.add has no such option; did you mean queue?"],
    [{ countdown: 1, eta: new Date() }, "countdown: a call of tasks.add can have countdown or eta, not both"],
    [{ headers: "abc" }, "headers: a call of tasks.add: must be an object"],
    [{ kwargs: { x: 1 } }, "kwargs: give it in the entry itself"],
    [{ taskId: "one" }, "taskId: each run has an id of its own"],
    [{ link: {} }, "link: a call of tasks.add: must be a signature"],
  ])("are checked where it is declared or put: %j", async (options, message) => {
    const at = 'beatSchedule["every minute"].options.';
    const declared = () => new Lovage("tasks", { beatSchedule: { "every minute": entry(options) } });
    expect((await refusal(declared)).message).toContain(at + message);

    const app = new Lovage("tasks");
    app.task("tasks.add", () => 1);
    inMemory(app);
    expect((await refusal(() => app.beat.put("every minute", entry(options)))).message).toContain(
      `.options.${message}`,
    );
  });

  test("are named as the setting was written", async () => {
    const old = { CELERYBEAT_SCHEDULE: { a: entry({ expires: -1 }) } };
    expect((await refusal(() => new Lovage("tasks").configFromObject(old))).message).toContain(
      'CELERYBEAT_SCHEDULE["a"].options.expires: a call of tasks.add: must be',
    );
  });
});
