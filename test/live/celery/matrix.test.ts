/** Python and TypeScript on the same queues and the same table, with an unmodified Celery 5.7 as judge. */
import { randomUUID } from "node:crypto";
import { afterAll, describe, expect, test } from "vitest";
import { celeryPython } from "../../python/python.ts";
import { emulator } from "../emulators.ts";
import { type Keys, startFleet } from "./fleet.ts";
import { CASES, type Side, submit } from "./matrix.ts";

const [aws, python] = await Promise.all([emulator("ministack"), celeryPython("5.7")]);
const SIDES: readonly Side[] = ["py", "ts"];
const NAMES = { py: "Python", ts: "Lovage" };

async function describeFleet(keys: Keys): Promise<void> {
  if (aws === undefined || python === undefined) {
    test.skip(`with ${keys} keys`);
    return;
  }
  const fleet = await startFleet(aws, python, keys);
  afterAll(() => fleet.stop());

  // The class that gives the plain keys is the one that looks there.
  if (keys === "plain")
    test("a result that no row takes is read by Python, from where it is kept", async () => {
      expect(await fleet.py<number>(`len(got(s("ts.make", 1_000_000).delay()))`)).toBe(1_000_000);
    });

  describe.concurrent(`with ${keys} keys`, () => {
    for (const [name, example] of Object.entries(CASES)) {
      for (const submits of SIDES) {
        for (const run of SIDES) {
          test(`${NAMES[submits]} submits to ${NAMES[run]}: ${name}`, async () => {
            const result = await submit(fleet, example, submits, run, randomUUID());
            const expected = example.expected(run, run === "py" ? "ts" : "py");
            if (typeof expected === "object" && !Array.isArray(expected))
              expect(result).toMatchObject(expected as object);
            else expect(result).toEqual(expected);
            fleet.alive();
          });
        }
      }
    }
  });
}

await describeFleet("python");
await describeFleet("plain");
