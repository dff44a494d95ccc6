/** What users of Celery and BullMQ met, by the number of the issue. */
import { afterEach, expect, test } from "vitest";
import { chain, chord, group, Lovage } from "../../src/index.ts";
import { type TestApp, testApp } from "../../src/testing/index.ts";

const app = new Lovage("complaints");
const identity = app.task("identity", (x: unknown) => x);
const fail = app.task("fail", (x: unknown): unknown => {
  throw new RangeError(String(x));
});
const told: string[] = [];
const tell = app.task("tell", (id: string) => void told.push(id));

let t: TestApp;
afterEach(() => t.close());

/** Names of the tasks that ran for the last outcome. */
let ran: readonly string[];

async function outcome(canvas: unknown, config = {}): Promise<unknown> {
  told.length = 0;
  t = testApp(app, { config });
  const result = (await (canvas as { delay(): Promise<unknown> }).delay()) as {
    get(options: object): Promise<unknown>;
  };
  ran = (await t.drain()).map(({ task }) => task);
  return result.get({ timeout: 0 }).catch((error: Error) => error.name);
}

test("celery 9674: a failed task in nested chains and groups ends the whole, and nothing waits for ever", async () => {
  const inner = group(chain(identity.s(1), group(fail.s(), identity.s()), identity.s()), identity.s(2));
  expect(await outcome(chain(identity.s(0), inner, identity.s()).linkError(tell.s()))).toBe("ChordError");
  expect(told).toHaveLength(1);
});

test("celery 9107: a chord in the header of a chord whose header fails calls the errbacks of the outer", async () => {
  const outer = chord([chord([fail.s(1), identity.s(2)], identity.s())], identity.s()).linkError(tell.s());
  expect(await outcome(outer)).toBe("ChordError");
  expect(told).toHaveLength(1);
});

test("celery 6220: a chain in a header that fails before its last task fails the chord", async () => {
  const canvas = chord([chain(fail.si(1), identity.si(2), identity.si(3)), identity.si(4)], identity.si(5)).linkError(
    tell.s(),
  );
  expect(await outcome(canvas)).toBe("ChordError");
  expect(told).toHaveLength(1);
});

test("celery 3317: link_error of a chord's callback is called when a chain in the header fails", async () => {
  const callback = identity.si(1).link(identity.s()).linkError(tell.s());
  expect(await outcome(chord(group([chain(fail.si(1), identity.si(2))]), callback))).toBe("ChordError");
  expect(told).toHaveLength(1);
});

test("celery 3743: exceptions of chains and chords reach who waits for the last step", async () => {
  expect(await outcome(chain(fail.s(1), identity.s(), identity.s()))).toBe("RangeError");
  await t.close();
  expect(await outcome(chain(identity.s(1), group(fail.s(), identity.s()), identity.s(), identity.s()))).toBe(
    "ChordError",
  );
});

test("celery 6792: a chord in a chain whose body is a chain fails as a whole when a header task does", async () => {
  const canvas = chain(identity.s(0), chord([fail.s(), identity.s()], chain(identity.s(), identity.s())), identity.s());
  expect(await outcome(canvas.linkError(tell.s()))).toBe("ChordError");
  expect(told).toHaveLength(1);
});

test("celery 8786: a chain of groups throws when a task of the first group failed", async () => {
  const second = group(identity.si("c"), identity.si("d"));
  expect(await outcome(chain(group(identity.si("a"), fail.si("b")), second))).toBe("ChordError");
  await t.close();
  expect(await outcome(chain(group(identity.si("a"), identity.si("b")), group(identity.si("c"), fail.si("d"))))).toBe(
    "RangeError",
  );
});

test("celery 4161: a chain in a group in the body of a chord gets the header's results", async () => {
  const body = group(chain(identity.s(), identity.s()), identity.s());
  expect(await outcome(chord([identity.s(1), identity.s(2)], body))).toEqual([
    [1, 2],
    [1, 2],
  ]);
});

test("celery 5237: a chord's body runs where results never expire", async () => {
  expect(await outcome(chord([identity.s(1), identity.s(2)], identity.s()), { resultExpires: 0 })).toEqual([1, 2]);
});

test("bullmq 3362: a child that failed does not leave its parent waiting", async () => {
  const parent = chord([identity.s(1), fail.s(2), identity.s(3)], identity.s());
  expect(await outcome(parent)).toBe("ChordError");
});

test("celery 5467: groups that follow one another in a chain run, each with the results of the one before", async () => {
  const two = () => group(identity.s(), identity.s());
  const both = (x: unknown) => [x, x];
  expect(await outcome(chain(two().clone([1]), two(), identity.s()))).toEqual(both(both(1)));
  await t.close();
  expect(await outcome(chain(identity.s(1), two(), two(), two(), identity.s()))).toEqual(both(both(both(1))));
  await t.close();
  expect(await outcome(chain(two().clone([1]), two(), two()))).toEqual(both(both(both(1))));
  await t.close();
  expect(await outcome(chord([chain(identity.s(1), two(), two())], identity.s()))).toEqual([both(both(1))]);
});

test("celery 2725: a chord needs no task that looks for its end again and again", async () => {
  expect(await outcome(chord([identity.s(1), identity.s(2)], identity.s()))).toEqual([1, 2]);
  // Header and body, and nothing beside them; nothing is left to be done, however long one waits.
  expect(ran).toEqual(["identity", "identity", "identity"]);
  expect(await t.advance({ days: 1 })).toEqual([]);
});
