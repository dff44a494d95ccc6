import { expect, test } from "vitest";
import { DecodeError, MaxRetriesExceededError, TaskError, TaskRevokedError } from "../../src/errors.ts";
import { dataToError } from "../../src/protocol/exceptions.ts";
import { decodeMeta, encodeMeta, type Meta } from "../../src/protocol/meta.ts";
import { holdsException, isReady } from "../../src/states.ts";
import { payloadOf, type RecordedItem, recordings } from "./recordings.ts";

interface Read {
  readonly item: RecordedItem;
  readonly meta: Record<string, unknown>;
}

const all = recordings<Read>("reads").flatMap(([name, recording]) =>
  name.startsWith("_") ? [] : [{ name, ...recording }],
);

/** What we make of each item that was written by hand, as far as it is not simply what stands there. */
const ANSWERS: Readonly<Record<string, Partial<Meta> | RegExp>> = {
  "children-bare-id": { children: [["c1", null]] },
  "children-null": { children: null },
  "children-string": { children: ["c1"] },
  "custom-state": { status: "PROGRESS", result: { done: 3 } },
  "date-done-epoch": { dateDone: null },
  "date-done-missing": { dateDone: null },
  "date-done-naive": { dateDone: "2026-11-23T22:18:21.809380" },
  "date-done-z": { dateDone: "2026-11-23T22:18:21.809Z" },
  "lower-case-status": { status: "success" },
  minimal: { status: "SUCCESS", result: 4, traceback: null, children: null, dateDone: null, taskId: "" },
  "result-missing": { result: null },
  "result-tagged-datetime": { result: new Date("2026-08-20T01:02:03.004Z") },
  "result-tagged-datetime-z": { result: new Date("2026-08-20T01:02:03.004Z") },
  "result-unknown-tag": /tag "nope" is not known/,
  "retry-null-result": { status: "RETRY", result: null },
  "status-missing": /no status/,
};

/** Metas that make Python's readers throw, or end their process: we read them, and refuse to write them. */
const HARMFUL = new Set([
  "children-string",
  "failure-no-exc-type",
  "failure-not-an-exception",
  "failure-null-result",
  "failure-string-result",
  "failure-system-exit",
]);

test("every answer is to a recording", () => {
  const names = all.map(({ name }) => name);
  expect([...Object.keys(ANSWERS), ...HARMFUL].filter((name) => !names.includes(name))).toEqual([]);
});

// Where the attribute is a text, the backend hands the text on.
const payload = ({ item }: Read) => item.result.S ?? payloadOf(item);

test.each(all)("$name", async (recording) => {
  const { name, meta } = recording;
  const answer = ANSWERS[name];
  const reading = (async () => decodeMeta(payload(recording)))();
  if (answer instanceof RegExp) {
    await expect(reading).rejects.toThrow(DecodeError);
    await expect(reading).rejects.toThrow(answer);
    return;
  }
  const decoded = await reading;
  expect(decoded).toMatchObject({
    status: meta.status,
    ...(answer && "result" in answer ? {} : { result: meta.result }),
    ...answer,
  });

  const writing = (async () => encodeMeta(decoded))();
  if (HARMFUL.has(name)) await expect(writing).rejects.toThrow(/must/);
  // Only final states have a date, so that a state of the user's own loses it.
  else
    expect(await decodeMeta(await writing)).toEqual(isReady(decoded.status) ? decoded : { ...decoded, dateDone: null });
});

test.each(
  all.filter(({ meta }) => typeof meta.status === "string" && holdsException(meta.status) && meta.result !== null),
)("the exception of $name becomes an error", async (recording) => {
  const { result, traceback, taskId } = await decodeMeta(payload(recording));
  const error = dataToError(result, traceback, taskId);
  const { exc_type: type, exc_message: message } = (typeof result === "object" ? result : {}) as {
    exc_type?: string;
    exc_message?: unknown;
  };
  if (type === "MaxRetriesExceededError") expect(error).toBeInstanceOf(MaxRetriesExceededError);
  else if (type === "TaskRevokedError") expect(error).toBeInstanceOf(TaskRevokedError);
  else expect(error).toBeInstanceOf(TaskError);
  if (type !== undefined) expect(error.message).toBe(message === undefined ? "" : [message].flat().join(", "));
  else expect(error.message).toMatch(/not of Celery.s form: .*boom/);
});
