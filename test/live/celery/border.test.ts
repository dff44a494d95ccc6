/** What crosses the border between Python and TypeScript beside work that goes well: errors, copies, and bad messages. */
import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { deflateSync } from "node:zlib";
import { chord, TaskError } from "lovage";
import { afterAll, describe, expect, test } from "vitest";
import type { Delivery } from "../../../src/brokers/broker.ts";
import { celeryPython } from "../../python/python.ts";
import { emulator } from "../emulators.ts";
import { HELD, startFleet } from "./fleet.ts";
import type { Side } from "./matrix.ts";

const [aws, python] = await Promise.all([emulator("ministack"), celeryPython("5.7")]);
const WAIT = { timeout: 60, interval: 0.05 };
const QUEUE = { py: "python", ts: "lovage" } as const;

describe.skipIf(aws === undefined || python === undefined)("beside Celery 5.7", async () => {
  if (aws === undefined || python === undefined) return;
  const fleet = await startFleet(aws, python, "python");
  afterAll(() => fleet.stop());
  const { app } = fleet;

  test("an argument of 2 MB reaches Python, and goes by a pointer", async () => {
    const text = randomBytes(1_500_000).toString("base64");
    expect(await (await app.sendTask("py.size", [text])).get(WAIT)).toBe(text.length);
  });

  describe("an exception", () => {
    test("of Python's own is an error here, with its name, arguments and traceback", async () => {
      const result = await app.sendTask("py.fail", ["Grüße", 7]);
      const error = (await result.get({ ...WAIT, propagate: false })) as TaskError;
      expect(error).toBeInstanceOf(TaskError);
      expect(error).toMatchObject({
        name: "ValueError",
        excModule: "builtins",
        excMessage: ["Grüße", 7],
        message: "Grüße, 7",
      });
      expect(error.traceback).toMatch(
        /^Traceback \(most recent call last\):[\s\S]*proj\.py", line \d+, in fail[\s\S]*ValueError/,
      );
      expect(error.stack).toContain("proj.py");
    });

    test("of the Python app is one too, under the app's module", async () => {
      const result = await app.sendTask("py.fail", ["no", 7], { kwargs: { kind: "Refused" } });
      await expect(result.get(WAIT)).rejects.toMatchObject({
        name: "Refused",
        excModule: "proj",
        excMessage: ["no", 7],
      });
    });

    test("of ours is an exception class in Python, with a traceback that names our source and the cause", async () => {
      const seen = await fleet.py<Record<string, unknown>>(`outcome(s("ts.fail", "no").delay())`);
      expect(seen).toMatchObject({
        state: "FAILURE",
        type: "Refused",
        args: ["no"],
        text: "no",
        bases: ["Exception", "BaseException", "object"],
      });
      expect(seen["traceback"]).toMatch(/^Refused: no\n {4}at .*app\.ts/);
      expect(seen["traceback"]).toContain("[cause]: TypeError: the cause");
    });

    test("that Python raised and a task here passed on is again the Python class", async () => {
      const seen = await fleet.py(`outcome(s("ts.relay", "py.fail", "no", 7).delay())`);
      expect(seen).toMatchObject({ type: "ValueError", module: "builtins", args: ["no", 7] });
    });
  });

  /** Takes what was held, by task. */
  async function held(count: number): Promise<Delivery[]> {
    const broker = await app.engine.broker();
    const found: Delivery[] = [];
    for (let tries = 0; found.length < count && tries < 20; tries++)
      found.push(...(await broker.receive(HELD, { max: 10, wait: 1000, visibility: 30_000 })));
    await broker.delete(found);
    return found;
  }

  async function put(queue: string, body: string): Promise<void> {
    const [failed] = await (await app.engine.broker()).send([{ queue, body, attributes: {} }]);
    if (failed !== undefined) throw failed;
  }

  const sideOf = ({ body }: Delivery): Side => (textOf(body).includes('"ts.add"') ? "ts" : "py");
  const textOf = (body: string): string => (body.startsWith("{") ? body : Buffer.from(body, "base64").toString());

  describe.each(["py", "ts"] as const)("a chord whose body is %s's", (bodyOn) => {
    describe.each(["py", "ts"] as const)("submitted by %s", (submits) => {
      test.each([
        ["py", "ts"],
        ["ts", "py"],
      ] as const)(
        "is completed where %s ends first and %s last, whatever is delivered again",
        async (first, last) => {
          const id = randomUUID();
          const [a, b] = [`${id}-ts`, `${id}-py`];
          if (submits === "py") {
            await fleet.py(
              `chord([s("ts.add", 1, 1).set(queue="${HELD}", task_id="${a}"), s("py.add", 2, 2).set(queue="${HELD}", task_id="${b}")])` +
                `(s("${bodyOn}.total").set(task_id="${id}")).id`,
            );
          } else {
            await chord(
              [
                app.signature("ts.add", [1, 1], { queue: HELD, taskId: a }),
                app.signature("py.add", [2, 2], { queue: HELD, taskId: b }),
              ],
              app.signature(`${bodyOn}.total`, [], { taskId: id }),
            ).delay();
          }
          const messages = await held(2);
          expect(messages.map(sideOf).sort()).toEqual(["py", "ts"]);
          const deliver = async (side: Side) => {
            const message = messages.find((each) => sideOf(each) === side);
            if (message === undefined) throw new Error(`${side}'s member is not there`);
            await put(QUEUE[side], message.body);
            await app.result(side === "ts" ? a : b).get(WAIT);
          };
          /** Of further copies a Celery worker would count each. */
          const repeat = async () => {
            const member = messages.find((each) => sideOf(each) === "ts") as Delivery;
            for (let copy = 0; copy < 2; copy++) await put("lovage", member.body);
            await settled();
          };
          await deliver(first);
          if (first === "ts") await repeat();
          expect(await app.result(id).state()).toBe("PENDING");
          await deliver(last);
          expect(await app.result(id).get(WAIT)).toBe(6);
          await repeat();
          expect(await fleet.py(`outcome(AsyncResult("${id}", app=app))`)).toEqual({ state: "SUCCESS", result: 6 });
          expect(fleet.ran.filter((run) => run.id === a)).toHaveLength(1);
          expect(fleet.ran.filter((run) => run.id === id)).toHaveLength(bodyOn === "ts" ? 1 : 0);
          expect(fleet.pythonLog().split(`py.total[${id}] received`)).toHaveLength(bodyOn === "py" ? 2 : 1);
        },
        20_000,
      );
    });
  });

  describe("a chord of more members than one row of ours counts", () => {
    const sum = Array.from({ length: 120 }, (_, n) => n + 1).reduce((x, y) => x + y);

    test.each(["py", "ts"] as const)("made here ends in a body of %s", async (bodyOn) => {
      const members = Array.from({ length: 120 }, (_, n) => app.signature("ts.add", [n, 1]));
      const result = await chord(members, app.signature(`${bodyOn}.total`)).delay();
      expect(await result.get(WAIT)).toBe(sum);
    });

    test.each(["py", "ts"] as const)("made in Python ends in a body of %s", async (bodyOn) => {
      const made = `chord([s("ts.add" if n % 10 else "py.add", n, 1) for n in range(120)])(s("${bodyOn}.total"))`;
      expect(await fleet.py(`got(${made})`)).toBe(sum);
    });
  });

  /** Lovage's queue is empty and nothing of it is being worked on. */
  async function settled(): Promise<void> {
    const broker = await app.engine.broker();
    for (;;) {
      const { ready, inFlight, delayed } = await broker.size("lovage");
      if (ready + inFlight + delayed === 0) return;
      await sleep(50);
    }
  }

  describe("a bad message from Python", () => {
    const envelope = (change: (facts: Record<string, unknown>) => unknown) => {
      const facts: Record<string, unknown> = {
        body: Buffer.from(`[[1, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]`).toString(
          "base64",
        ),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        headers: { lang: "py", task: "ts.add", id: "bad" },
        properties: { body_encoding: "base64", delivery_info: { exchange: "", routing_key: "lovage" } },
      };
      change(facts);
      return JSON.stringify(facts);
    };
    const body = (text: string | Uint8Array) =>
      envelope((facts) => {
        facts["body"] = Buffer.from(text).toString("base64");
      });
    const header = (more: Record<string, unknown>) =>
      envelope((facts) => {
        Object.assign(facts["headers"] as object, more);
      });
    const without = (...names: string[]) =>
      envelope((facts) => {
        for (const name of names) delete facts[name];
      });

    test.each([
      ["that is no envelope", "hello", /./],
      ["without headers", without("headers"), /no id/],
      ["without a task", header({ task: null }), /task/],
      ["without an id", header({ id: null }), /id/],
      ["without properties", without("properties"), /properties/],
      ["without a content type", without("content-type"), /content-type/],
      [
        "in pickle",
        envelope((facts) => {
          facts["content-type"] = "application/x-python-serialize";
        }),
        /pickle|accept/i,
      ],
      [
        "in a type with a charset",
        envelope((facts) => {
          facts["content-type"] = "application/json; charset=utf-8";
        }),
        /application\/json; charset/,
      ],
      [
        "in an unknown encoding",
        envelope((facts) => {
          facts["properties"] = { body_encoding: "hex" };
        }),
        /body_encoding|hex/,
      ],
      ["whose body is an object", envelope((facts) => Object.assign(facts, { body: { a: 1 } })), /body/],
      ["whose body is no JSON", body("[[1, 2], {}"), /JSON/],
      ["with two parts in place of three", body("[[1, 2], {}]"), /three|3|parts|elements/],
      ["with arguments that are no list", body("[7, {}, {}]"), /arg/],
      ["with keywords that are no object", body("[[1, 2], null, {}]"), /kwargs|keyword/],
      ["with an unknown tag", body(`[[{"__type__": "alien", "__value__": 1}], {}, {}]`), /alien/],
      ["with an eta that is a number", header({ eta: 1795472301 }), /eta/],
      ["with expires in words", header({ expires: "tomorrow" }), /expires/],
      ["nested ten thousand deep", body(`[[${"[".repeat(10_000)}${"]".repeat(10_000)}], {}, {}]`), /deep|nest/i],
      [
        "that inflates to a quarter of a gigabyte",
        envelope((facts) => {
          facts["body"] = bomb().toString("base64");
          Object.assign(facts["headers"] as object, { compression: "application/x-gzip" });
        }),
        /inflate|larger|bytes|MiB/i,
      ],
      ["in an unknown compression", header({ compression: "application/x-rar" }), /rar/],
      ["with signatures that are none", body(`[[1, 2], {}, {"callbacks": [7]}]`), /callbacks/],
    ])(
      "%s is a dead letter with the reason, and the worker goes on",
      async (_, text, reason) => {
        // Only texts that SQS takes: a bomb is one of them.
        await fleet.py(`post("lovage", ${JSON.stringify(text)})`);
        const letter = await deadLetter();
        expect(letter.body).toBe(text);
        expect(letter.attributes.reason).toMatch(reason);
        expect(letter.attributes.queue).toBe("lovage");
        expect(await fleet.py(`got(s("ts.add", 1, 2).delay())`)).toBe(3);
      },
      20_000,
    );

    test.each([
      ["with nothing after its arguments", body("[[1, 2], {}, null]")],
      [
        "whose properties are empty",
        envelope((facts) => Object.assign(facts, { properties: { body_encoding: "base64" } })),
      ],
      ["with limits that are not there", header({ id: "by-hand", retries: 0, timelimit: null })],
    ])("%s is good enough for Python, and for us", async (_, text) => {
      const id = randomUUID();
      const named = text.replace(/"id":"[^"]*"/, `"id":"${id}"`);
      await fleet.py(`post("lovage", ${JSON.stringify(named)})`);
      expect(await app.result(id).get(WAIT)).toBe(3);
    });

    test("with keys that mean something to JavaScript is data", async () => {
      const value = `{"__proto__": {"x": 1}, "constructor": 2, "toString": null}`;
      expect(
        await fleet.py(
          `got(s("ts.echo", ${value.replace("null", "None")}).delay())["args"][0] == {"__proto__": {"x": 1}, "constructor": 2, "toString": None}`,
        ),
      ).toBe(true);
      expect(({} as { x?: number }).x).toBeUndefined();
    });

    async function deadLetter(): Promise<Delivery> {
      const broker = await app.engine.broker();
      for (let tries = 0; tries < 60; tries++) {
        const [letter] = await broker.receive("lovage-dlq", { max: 1, wait: 1000, visibility: 30_000 });
        if (letter === undefined) continue;
        await broker.delete([letter]);
        return letter;
      }
      throw new Error(`there is no dead letter; the worker said ${fleet.log.slice(-5).join("\n")}`);
    }
  });

  describe("what only one side knows", () => {
    test("a Python task on Lovage's queue ends as NotRegistered, which Python reads as its own", async () => {
      // Three tries, a rollout apart, would take minutes; the worker is told of the first only.
      const sent = await fleet.py<string>(`s("py.add", 1, 2).apply_async(queue="lovage").id`);
      await expect
        .poll(() => fleet.log.find((line) => line.includes(sent)))
        .toMatch(/warning Received unregistered task/);
      expect(await app.result(sent).state()).toBe("PENDING");
    });

    test("a task of ours on Python's queue fails with NotRegistered here", async () => {
      const result = await app.sendTask("ts.add", [1, 2], { queue: "python" });
      await expect(result.get(WAIT)).rejects.toMatchObject({ name: "NotRegistered" });
      fleet.alive();
    });
  });
});

/** A quarter of a gigabyte of zeros, deflated: base64 of it still fits into a message. */
function bomb(): Buffer {
  const block = Buffer.alloc(64 * 1024 * 1024);
  return deflateSync(Buffer.concat([block, block, block, block]), { level: 9 });
}
