/** What the rows of limits make of answers that DynamoDB gives now and then. */
import { Readable } from "node:stream";
import type { RequestHandler } from "lovage";
import { expect, onTestFinished, test } from "vitest";
import { MAX_ROUNDS, open, raceBackOff } from "../../src/limits/dynamodb.ts";
import { seededRandom } from "../../src/testing/random.ts";

const HELD = { id: { S: "limit-held" }, limit: { S: "held" }, until: { N: "99" } };

/** A store whose reads are answered by these, one after the other, and the last of them again and again. */
function answeredBy(...answers: readonly object[]) {
  let reads = 0;
  const requestHandler: RequestHandler = {
    async handle() {
      const answer = JSON.stringify(answers[Math.min(reads++, answers.length - 1)]);
      return { response: { statusCode: 200, headers: {}, body: Readable.from([answer]) } };
    },
  };
  const store = open("dynamodb://k:s@rows.invalid/limits?region=eu-west-1", {
    now: () => 1,
    random: () => 0,
    options: { requestHandler },
  });
  onTestFinished(() => store.close());
  return { store, reads: () => reads };
}

const leftOut = { Responses: { limits: [] }, UnprocessedKeys: { limits: { Keys: [{ id: HELD.id }] } } };

test("a row that was left out of an answer is asked for again, and not taken for absent", async () => {
  const { store, reads } = answeredBy(leftOut, leftOut, { Responses: { limits: [HELD] }, UnprocessedKeys: {} });
  expect(await store.decide("held", (state) => ({ answer: state ?? "absent" }))).toBe("held");
  expect(reads()).toBe(3);
});

test("one that is left out again and again is an error that may pass", async () => {
  const { store } = answeredBy(leftOut);
  await expect(store.decide("held", (state) => ({ answer: state ?? "absent" }))).rejects.toMatchObject({
    name: "OperationalError",
    retryable: true,
    message: expect.stringContaining("the row of the limit held was left out, 40 times in a row"),
  });
});

interface Contended {
  readonly workers: number;
  /** Decisions of all workers together, in a second. */
  readonly perSecond: number;
}

/**
 * A model of one row that many workers change by conditional writes, for forty seconds: how long each decision took, in
 * milliseconds, in order, how many writes were sent, and how many decisions were given up. Decisions that come to a worker while one
 * of its writes is under way share the next one, as in the store. A request takes 4 to 8 ms.
 */
function contended({ workers, perSecond }: Contended) {
  const random = seededRandom(7);
  /** What happens at a time, by tenths of a millisecond. */
  const agenda = new Map<number, (() => void)[]>();
  let now = 0;
  const after = (ms: number, happens: () => void) => {
    const at = Math.max(Math.round((now + ms) * 10), Math.round(now * 10));
    const there = agenda.get(at);
    if (there === undefined) agenda.set(at, [happens]);
    else there.push(happens);
  };
  const oneWay = () => 2 + random() * 2;
  let row = 0;
  let writes = 0;
  let givenUp = 0;
  const took: number[] = [];

  function startWorker(): void {
    let seen = 0;
    let line: number[] = [];
    let isBusy = false;
    function work(): void {
      isBusy = line.length > 0;
      if (!isBusy) return;
      const batch = line;
      line = [];
      let round = 0;
      const write = () => {
        writes++;
        after(oneWay(), () => {
          const isFirst = row === seen;
          if (isFirst) row++;
          const there = row;
          after(oneWay(), () => {
            seen = there;
            if (isFirst) for (const asked of batch) took.push(now - asked);
            else if (round === MAX_ROUNDS) givenUp += batch.length;
            else {
              const wait = round === 0 ? 0 : raceBackOff(round, random);
              round++;
              return after(wait, write);
            }
            work();
          });
        });
      };
      write();
    }
    function arrive(): void {
      if (now > 40_000) return;
      line.push(now);
      if (!isBusy) work();
      after((-Math.log(1 - random()) * workers * 1000) / perSecond, arrive);
    }
    after((random() * workers * 1000) / perSecond, arrive);
  }

  for (let worker = 0; worker < workers; worker++) startWorker();
  for (let tick = 0; agenda.size > 0; tick++) {
    now = tick / 10;
    // What happens may call for more in the same tick.
    for (let due = agenda.get(tick); due !== undefined; due = agenda.get(tick)) {
      agenda.delete(tick);
      for (const happens of due) happens();
    }
  }
  took.sort((one, other) => one - other);
  const slowest = took[Math.floor(took.length * 0.99)] ?? 0;
  return { slowest, writes: writes / took.length, givenUp };
}

test.each<[Contended, number]>([
  [{ workers: 2, perSecond: 10 }, 50],
  [{ workers: 5, perSecond: 20 }, 100],
  [{ workers: 5, perSecond: 50 }, 1000],
  [{ workers: 20, perSecond: 100 }, 1000],
  [{ workers: 50, perSecond: 200 }, 1500],
])(
  "a row that %o change: of a hundred the slowest waits for less than %d ms, and hardly any is given up",
  (load, longest) => {
    const { slowest, writes, givenUp } = contended(load);
    expect(slowest).toBeLessThan(longest);
    expect(writes).toBeLessThan(6);
    expect(givenUp).toBeLessThan(perMille(5, load));
  },
);

const perMille = (parts: number, { perSecond }: Contended): number => (perSecond * 40 * parts) / 1000;
