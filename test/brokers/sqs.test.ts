import { describe, expect, test } from "vitest";
import { open } from "../../src/brokers/sqs.ts";
import { ImproperlyConfigured } from "../../src/errors.ts";

const open_ = (url: string, options: Record<string, unknown> = {}) =>
  open(url, { now: () => 0, random: () => 0, options });

describe("opening", () => {
  test("connects to nothing and needs no credentials", async () => {
    const broker = open_("sqs://");
    expect(broker.limits).toMatchObject({ maxBytes: 1_048_576, maxDelaySeconds: 900, maxVisibilitySeconds: 43_200 });
    await broker.close();
  });

  test.each<[string, Record<string, unknown>, RegExp]>([
    ["sqs://?prefix=shop-", {}, /no option "prefix"/],
    ["sqs://?wait_time_seconds=21", {}, /wait_time_seconds must be 1 to 20, not 21/],
    ["sqs://", { wait_time_seconds: 0 }, /wait_time_seconds must be 1 to 20, not 0/],
    ["sqs://", { predefined_queues: { media: {} } }, /predefined_queues has no url for "media"/],
    ["sqs://", { predefinedQueues: "media" }, /must be an object/],
  ])("%s with %o is refused", (url, options, message) => {
    expect(() => open_(url, options)).toThrow(ImproperlyConfigured);
    expect(() => open_(url, options)).toThrow(message);
  });
});
