import { describe, expect, test } from "vitest";
import { open } from "../../src/brokers/sqs.ts";
import { ImproperlyConfigured } from "../../src/errors.ts";

const open_ = (url: string) => open(url, { now: () => 0, random: () => 0, options: {} });

describe("opening", () => {
  test("connects to nothing and needs no credentials", async () => {
    const broker = open_("sqs://");
    expect(broker.limits).toMatchObject({ maxBytes: 1_048_576, maxDelaySeconds: 900, maxVisibilitySeconds: 43_200 });
    await broker.close();
  });

  test("an option that there is not is refused", () => {
    expect(() => open_("sqs://?prefix=shop-")).toThrow(ImproperlyConfigured);
    expect(() => open_("sqs://?prefix=shop-")).toThrow(/no option "prefix"/);
  });
});
