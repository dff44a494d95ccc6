import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkQueueName, translateQueueName } from "../../src/brokers/queue-name.ts";

describe("translateQueueName", () => {
  // Seen in a run of kombu.
  it.each([
    ["", "my.queue.v2", "my-queue-v2"],
    ["", "a.b:c/d_e-f", "a-b_c_d_e-f"],
    ["", "x.fifo", "x.fifo"],
    ["pre.", "x", "pre-x"],
    ["pre.", "a.b.fifo", "pre-a-b.fifo"],
    ["", "größe", "größe"],
  ])("makes of %j and %j what kombu makes of it: %j", (prefix, name, expected) => {
    expect(translateQueueName(prefix, name)).toBe(expected);
  });

  it("translates every other ASCII punctuation to _", () => {
    const punctuation = "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~";
    expect(translateQueueName("", punctuation)).toBe("_".repeat(punctuation.length));
    expect(translateQueueName("", "-_aZ09")).toBe("-_aZ09");
  });

  it("leaves what it has translated", () => {
    fc.assert(
      fc.property(fc.string(), (name) => {
        const once = translateQueueName("", name);
        expect(translateQueueName("", once)).toBe(once);
      }),
    );
  });
});

describe("checkQueueName", () => {
  it("returns the name on SQS", () => {
    expect(checkQueueName("taskQueues", "shop.", "media.v2", true)).toBe("shop-media-v2");
  });

  it("leaves room for -dlq only where a dead-letter queue will be made", () => {
    expect(() => checkQueueName("queue", "", "q".repeat(80), false)).not.toThrow();
    expect(() => checkQueueName("queue", "", "q".repeat(81), false)).toThrow("queue: the queue name");
    expect(() => checkQueueName("taskQueues", "", "q".repeat(77), true)).toThrow("taskQueues: the queue name");
  });

  it("refuses spaces, letters outside ASCII, an empty name and a bare .fifo", () => {
    for (const name of ["a b", "größe", "", ".fifo"])
      expect(() => checkQueueName("queue", "", name, false), name).toThrow("queue: ");
  });
});
