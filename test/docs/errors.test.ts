import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import * as errors from "../../src/errors.ts";

const page = readFileSync(new URL("../../docs/reference/errors.md", import.meta.url), "utf8");

test("the errors page has a row for every error, and for no other", () => {
  const rows = [...page.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
  const classes = Object.values(errors).filter(
    (value) => typeof value === "function" && value.prototype instanceof Error,
  );
  expect(rows.sort()).toEqual(classes.map(({ name }) => name).sort());
});
