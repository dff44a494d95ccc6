import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { awsPages } from "../../scripts/aws-pages.ts";

test("the pages of rights and alarms are what a stack has", () => {
  for (const [file, text] of awsPages())
    expect(readFileSync(file, "utf8"), "run `node --import ./scripts/source.ts scripts/aws-pages.ts`").toBe(text);
});
