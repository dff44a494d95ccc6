import { expect, test } from "vitest";
import { ContentDisallowed, DecodeError } from "../../src/errors.ts";
import { decodeEnvelope } from "../../src/protocol/envelope.ts";
import { recordings } from "./recordings.ts";

/** What we say to each text that was written by hand. Where Python runs the task, so do we. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  "body-encoding-unknown": /body_encoding "hex" is not known/,
  "body-not-json": /not JSON/,
  "body-not-json.redrive": /not JSON/,
  "body-object-instead-of-text": /body is not text/,
  "body-two-elements": /has 2 elements/,
  "content-type-charset": /charset=utf-8 is refused/,
  "content-type-missing": /no content-type/,
  "eta-number": /eta is 1795472301/,
  "eta-number.redrive": /eta is 1795472301/,
  "id-missing": /no id/,
  "kwargs-null": /kwargs is not an object/,
  "not-an-envelope": /not an envelope/,
  "properties-missing": /not an envelope/,
  "unknown-type-tag": /tag "nope" is not known/,
};

interface Foreign {
  readonly sqsBody?: string;
  readonly outcome?: { readonly stored: readonly unknown[]; readonly workerAlive: boolean };
}

const bodies = recordings<Foreign>("foreign").flatMap(([name, { sqsBody, outcome }]) =>
  sqsBody && outcome ? [{ name, sqsBody, outcome }] : [],
);

test("every refusal is of a recording", () => {
  const names = bodies.map(({ name }) => name);
  expect(Object.keys(REFUSED).filter((name) => !names.includes(name))).toEqual([]);
});

test.each(bodies.filter(({ name }) => name in REFUSED))(
  "$name is refused, and why is said",
  async ({ name, sqsBody, outcome }) => {
    const reading = (async () => decodeEnvelope(sqsBody, { accept: ["json"] }))();
    await expect(reading).rejects.toThrow(REFUSED[name]);
    await expect(reading).rejects.toBeInstanceOf(name.startsWith("content-type") ? ContentDisallowed : DecodeError);
    // Python does not run it either.
    expect(outcome.stored).toEqual([]);
  },
);

test.each(bodies.filter(({ name }) => !(name in REFUSED)))("$name is read", ({ sqsBody, outcome }) => {
  expect(decodeEnvelope(sqsBody, { accept: ["json"] })).toMatchObject({ args: [1, 2], kwargs: {} });
  expect(outcome.stored.length).toBeGreaterThan(0);
});

test("a signature needs no more than its task", () => {
  const sqsBody = bodies.find(({ name }) => name === "chain-rest-minimal-signature")?.sqsBody ?? "";
  expect(decodeEnvelope(sqsBody, { accept: ["json"] })).toMatchObject({
    chain: [
      {
        task: "wire.add",
        args: [10],
        kwargs: {},
        options: { task_id: "foreign-chain-rest-minimal-signature-2" },
        subtask_type: null,
        immutable: false,
      },
    ],
  });
});
