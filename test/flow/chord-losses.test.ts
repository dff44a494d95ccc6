/** Members of chords that never run: nothing may wait for them. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { chain, chord, Lovage, OperationalError, PayloadTooLarge, PythonError } from "../../src/index.ts";
import { openBackend, registerBackend } from "../../src/open.ts";
import { groupKey, type Row, taskKey } from "../../src/results/backend.ts";
import type { Command, Outcome } from "../../src/results/record.ts";
import { type TestApp, testApp } from "../../src/testing/index.ts";
import { envelope } from "./envelopes.ts";
import "./small-rows.ts";

const app = new Lovage("losses");
const add = app.task("add", (x: number, y: number) => x + y);
const sum = app.task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));
const told: string[] = [];
const tell = app.task("tell", (id: string) => void told.push(id));
const careless: unknown[] = [];
const adds = app.task("adds", { bind: true }, async (self, x: number, catches = false) => {
  try {
    await self.addToChord(add.s(100, x));
  } catch (error) {
    if (!catches) throw error;
    careless.push(error);
  }
  return x;
});

interface Envelope {
  body: string;
  "content-type": string;
  readonly headers: Record<string, unknown>;
  readonly properties: Record<string, unknown>;
}

const addsOnce = app.task("addsOnce", { bind: true }, async (self, x: number) => {
  if (self.request.deliveryInfo.redelivered !== true) await self.addToChord(add.s(100, x));
  return x;
});

let t: TestApp;
/** What becomes of a message on its way into the queue. */
let onSend: (envelope: Envelope) => Envelope | Error | Promise<never>;
beforeEach(() => {
  told.length = 0;
  careless.length = 0;
  onSend = (envelope) => envelope;
  t = testApp(app, {
    broker: (broker) => ({
      ...broker,
      async send(entries) {
        const answers: (Error | undefined)[] = [];
        for (const entry of entries) {
          const sent = await onSend(JSON.parse(entry.body) as Envelope);
          if (sent instanceof Error) answers.push(sent);
          else answers.push(...(await broker.send([{ ...entry, body: JSON.stringify(sent) }])));
        }
        return answers;
      },
    }),
  });
});
afterEach(() => t.close());

/** Changes the elements of a body: args, kwargs and what follows. */
const rewritten = (envelope: Envelope, change: (body: unknown[]) => unknown): Envelope => ({
  ...envelope,
  body: JSON.stringify(change(JSON.parse(envelope.body) as unknown[])),
});

describe("a member whose message becomes a dead letter has failed, and its chord is told, when", () => {
  test.each<[string, string, (envelope: Envelope) => Envelope]>([
    [
      "its arguments have an unknown tag",
      "DecodeError",
      (e) => rewritten(e, ([, ...rest]) => [[{ __type__: "alien", __value__: 1 }], ...rest]),
    ],
    ["its arguments are no list", "DecodeError", (e) => rewritten(e, ([, ...rest]) => ["no list", ...rest])],
    ["it has a time that none can read", "DecodeError", (e) => ({ ...e, headers: { ...e.headers, eta: "soon" } })],
    ["its content type is not accepted", "ContentDisallowed", (e) => ({ ...e, "content-type": "application/x-yaml" })],
    [
      "its body came in base64, and holds no number of retries",
      "DecodeError",
      (e) => ({
        ...e,
        body: Buffer.from(e.body).toString("base64"),
        properties: { ...e.properties, body_encoding: "base64" },
        headers: { ...e.headers, retries: "many" },
      }),
    ],
    ["nobody registers its task", "NotRegistered", (e) => ({ ...e, headers: { ...e.headers, task: "nobody.knows" } })],
  ])("%s", async (_, error, damage) => {
    onSend = (envelope) => (envelope.headers["group_index"] === 1 ? damage(envelope) : envelope);
    const result = await chord([add.s(1, 1), add.s(2, 2), add.s(3, 3)], sum.s().linkError(tell.s())).delay();
    await t.advance({ hours: 1 });
    await expect(result.get({ timeout: 0 })).rejects.toThrow(new RegExp(`Dependency \\S+ raised ${error}`));
    expect(told).toEqual([result.id]);
    expect(await t.deadLetters()).toHaveLength(1);
  });

  test("it is a step before the last of a chain", async () => {
    onSend = (e) => (e.headers["task"] === "add" ? rewritten(e, ([, ...rest]) => [null, ...rest]) : e);
    const result = await chord([chain(add.s(1, 1), sum.si([1])), sum.s([2])], sum.s().linkError(tell.s())).delay();
    await t.drain();
    await expect(result.get({ timeout: 0 })).rejects.toMatchObject({ name: "ChordError" });
    expect(told).toEqual([result.id]);
  });
});

test("a damaged copy of a message whose task has ended is a dead letter, and calls no errback", async () => {
  const copies: Envelope[] = [];
  onSend = (envelope) => {
    copies.push(envelope);
    return envelope;
  };
  const result = await add.applyAsync([1, 1], { linkError: tell.s() });
  await t.drain();
  const [copy] = copies as [Envelope];
  await t.put(JSON.stringify(rewritten(copy, ([, ...rest]) => [null, ...rest])));
  await t.drain();
  expect(await t.deadLetters()).toHaveLength(1);
  expect([await result.get({ timeout: 0 }), told]).toEqual([2, []]);
});

test("a member whose exception has an integer that JSON has no number for has failed, and its chord is told", async () => {
  const overflows = app.task("overflows", (): number => {
    throw new PythonError("builtins", "OverflowError", [2n ** 70n, new Uint8Array(2)]);
  });
  const result = await chord([add.s(1, 1), overflows.s()], sum.s().linkError(tell.s())).delay();
  await t.drain();
  await expect(result.get({ timeout: 0 })).rejects.toThrow(/raised OverflowError\(1180591620717411303424, /);
  expect(told).toEqual([result.id]);
});

/** As Python stores a value of a type that only it knows. */
const foreign = '{"status": "SUCCESS", "result": {"__type__": "shop.money", "__value__": 1}}';

/** What is found in place of a row. */
let found: (key: string, row: Row | undefined) => Row | undefined;
registerBackend("foreign", async () => ({
  async open(url, context) {
    const backend = await openBackend(url.replace("foreign:", "memory:"), context);
    return {
      ...backend,
      async read(keys, options) {
        const rows = await backend.read(keys, options);
        return rows.map((row, at) => found(keys[at] as string, row));
      },
    };
  },
}));

/** Has another program's row be found in place of one, or none. */
async function findInstead(change: typeof found): Promise<void> {
  found = change;
  await t.close();
  t = testApp(app, { config: { resultBackend: "foreign://chords" } });
}

const handedBack = () => t.log.map(({ line }) => line).filter((line) => line.includes("handed back"));

test("a chord whose own row cannot be read here has failed", async () => {
  await findInstead((key, row) => row && (key.startsWith(groupKey("")) ? { ...row, result: foreign } : row));
  const result = await chord([add.s(1, 1), add.s(2, 2)], sum.s().linkError(tell.s())).delay();
  await t.advance({ hours: 1 });
  await expect(result.get({ timeout: 0 })).rejects.toThrow(
    /^the chord \S+ cannot be completed: the row cannot be read as json .*shop\.money/,
  );
  expect([told, handedBack()]).toEqual([[result.id], []]);
});

test("a body whose stored result cannot be read here has its outcome, whatever becomes of a member that nobody counts", async () => {
  await findInstead((key, row) => {
    if (key.startsWith(groupKey(""))) return undefined;
    return key === taskKey("body") ? { result: foreign, timestamp: 0 } : row;
  });
  const fails = app.task("failsUncounted", () => {
    throw new Error("no");
  });
  await chord([fails.s(), fails.s()], sum.s().set({ taskId: "body" }).linkError(tell.s())).delay();
  await t.advance({ hours: 1 });
  expect([told, handedBack()]).toEqual([[], []]);
});

test("what was sent before is not sent again where its stored result cannot be read here", async () => {
  await findInstead((key, row) => (key === taskKey("next") ? { result: foreign, timestamp: 0 } : row));
  // As a second copy of the first message, which finds its outcome, and sends what follows once more.
  const first = { task: "add", id: "first", args: [1, 1] };
  const next = { task: "sum", args: [], kwargs: {}, options: { task_id: "next" }, subtask_type: null };
  for (let copy = 0; copy < 2; copy++) {
    await t.put(envelope({ ...first, embed: { chain: [next] } }));
    await t.drain();
  }
  expect([await app.result("first").get({ timeout: 0 }), handedBack()]).toEqual([2, []]);
});

test("the errbacks of a task that a group takes the place of are told when the row of that group is too large", async () => {
  const group = (count: number) => ({
    task: "celery.group",
    args: [],
    kwargs: { tasks: Array.from({ length: count }, (_, n) => add.s(n, 1).toJSON()) },
    options: {},
    subtask_type: "group",
    immutable: false,
  });
  const becomes = app.task("becomes", { bind: true }, (self, count: number) => self.replace(group(count)));
  await t.close();
  t = testApp(app, { config: { resultBackend: "small://chords" } });
  const result = await becomes.applyAsync([100], { linkError: tell.s() });
  await t.drain();
  await expect(result.get({ timeout: 0 })).rejects.toThrow(/^the row has \d+ bytes and the limit is 2000/);
  expect(told).toEqual([result.id]);
});

test("a member whose stored result cannot be read here has failed, and its chord is told", async () => {
  await findInstead((key, row) => row && (key === taskKey("member") ? { ...row, result: foreign } : row));
  const members = [add.s(1, 1).set({ taskId: "member" }), add.s(2, 2)];
  const result = await chord(members, sum.s().linkError(tell.s())).delay();
  await t.advance({ hours: 1 });
  await expect(result.get({ timeout: 0 })).rejects.toThrow(
    /^Dependency member raised DecodeError\(.*cannot be read as json .*shop\.money/,
  );
  expect(told).toEqual([result.id]);
});

describe("what a member adds to its chord, and does not send", () => {
  const isAdded = ({ headers, body }: Envelope) => headers["task"] === "add" && body.startsWith("[[100");

  test("is not waited for when its workers die of it", async () => {
    onSend = (envelope) => (isAdded(envelope) ? new Promise<never>(() => {}) : envelope);
    const result = await chord([adds.s(1), add.s(2, 2)], sum.s().linkError(tell.s())).delay();
    for (let deaths = 0; deaths < 6; deaths++) {
      await t.advance({ minutes: 2 });
      t.crash();
    }
    await t.advance({ minutes: 2 });
    await expect(result.get({ timeout: 0 })).rejects.toThrow(/Dependency \S+ raised WorkerLostError/);
    expect(told).toEqual([result.id]);
  });

  test.each([false, true])(
    "is a member that failed, where the broker does not take it (caught: %s)",
    async (caught) => {
      const refusal = new OperationalError("the broker is away", { retryable: true });
      onSend = (envelope) => (isAdded(envelope) ? refusal : envelope);
      const result = await chord([adds.s(1, caught), add.s(2, 2)], sum.s().linkError(tell.s())).delay();
      await t.advance({ hours: 1 });
      await expect(result.get({ timeout: 0 })).rejects.toThrow(/Dependency \S+ raised OperationalError/);
      expect([told, careless]).toEqual([[result.id], caught ? [refusal] : []]);
    },
  );

  test.each(["before", "after"])(
    "and the run after its worker's death does not add again, is not waited for (died %s it was sent)",
    async (when) => {
      let held = false;
      onSend = (envelope) => {
        if (!isAdded(envelope) || held) return envelope;
        held = true;
        if (when === "after") void t.put(JSON.stringify(envelope));
        return new Promise<never>(() => {});
      };
      const result = await chord([addsOnce.s(1), add.s(2, 2)], sum.s().linkError(tell.s())).delay();
      await t.advance({ seconds: 1 });
      t.crash();
      await t.advance({ minutes: 5 });
      // Where it was sent it may have run before anybody missed it.
      if (when === "after") expect(await result.get({ timeout: 0 })).toBe(106);
      else await expect(result.get({ timeout: 0 })).rejects.toThrow(/Dependency \S+ raised WorkerLostError/);
      expect(told).toEqual(when === "after" ? [] : [result.id]);
      expect(await (await app.engine.broker()).size("celery")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
    },
  );

  test("is run where it was sent, and its result is the body's", async () => {
    const result = await chord([adds.s(1), add.s(2, 2)], sum.s()).delay();
    await t.drain();
    expect(await result.get({ timeout: 0 })).toBe(106);
  });
});

test("a chord whose row is full fails, once, and its members are done with", async () => {
  registerBackend("full", async () => ({
    async open(url, context) {
      const backend = await openBackend(url.replace("full:", "memory:"), context);
      // As DynamoDB's: what does not fit is refused, and nothing is lost of what is there.
      const isTooMuch = async ({ type, key, member }: Command & { readonly member?: string }) =>
        type === "join" && member !== undefined && ((await backend.read([key]))[0]?.members ?? "").length >= 22;
      return {
        ...backend,
        apply: async (commands) =>
          Promise.all(
            commands.map(async (command) =>
              (await isTooMuch(command as Command & { readonly member?: string }))
                ? new PayloadTooLarge(`the row ${command.key}`, 409_601, 409_600)
                : ((await backend.apply([command]))[0] as Outcome | Error),
            ),
          ),
      };
    },
  }));
  await t.close();
  t = testApp(app, { config: { resultBackend: "full://chords" } });
  const members = Array.from({ length: 5 }, (_, n) => add.s(n, n).set({ taskId: `member-${n}` }));
  const result = await chord(members, sum.s().linkError(tell.s())).delay();
  await t.advance({ hours: 1 });
  await expect(result.get({ timeout: 0 })).rejects.toThrow(
    /^the chord \S+ cannot be completed: the row \S+ has 409601/,
  );
  expect(told).toEqual([result.id]);
  for (let n = 0; n < 5; n++) expect(await app.result(`member-${n}`).get({ timeout: 0 })).toBe(2 * n);
  expect(await (await app.engine.broker()).size("celery")).toEqual({ ready: 0, delayed: 0, inFlight: 0 });
});
