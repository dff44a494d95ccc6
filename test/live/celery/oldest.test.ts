/** The same beside Celery 5.4, the oldest whose chords count in DynamoDB as later ones do. */
import { randomUUID } from "node:crypto";
import { afterAll, describe, expect, test } from "vitest";
import { celeryPython } from "../../python/python.ts";
import { emulator } from "../emulators.ts";
import { startFleet } from "./fleet.ts";
import { CASES, NEWER_COMPRESSION, type Side, submit } from "./matrix.ts";

const [aws, python] = await Promise.all([emulator("ministack"), celeryPython("5.4")]);

describe.skipIf(aws === undefined || python === undefined).concurrent("Celery 5.4", async () => {
  if (aws === undefined || python === undefined) return;
  const fleet = await startFleet(aws, python, "python");
  afterAll(() => fleet.stop());
  const across: readonly (readonly [Side, Side])[] = [
    ["py", "ts"],
    ["ts", "py"],
  ];
  for (const [name, example] of Object.entries(CASES)) {
    if (name === NEWER_COMPRESSION) continue;
    for (const [submits, run] of across) {
      test(`${submits === "py" ? "Python" : "Lovage"} submits across the border: ${name}`, async () => {
        const result = await submit(fleet, example, submits, run, randomUUID());
        const expected = example.expected(run, submits);
        if (typeof expected === "object" && !Array.isArray(expected)) expect(result).toMatchObject(expected as object);
        else expect(result).toEqual(expected);
        fleet.alive();
      });
    }
  }
});
