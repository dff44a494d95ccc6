/** What the rows of limits make of answers that DynamoDB gives now and then. */
import { Readable } from "node:stream";
import type { RequestHandler } from "lovage";
import { expect, onTestFinished, test } from "vitest";
import { open } from "../../src/limits/dynamodb.ts";

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
    message: expect.stringContaining("the row of the limit held was left out, 30 times in a row"),
  });
});
