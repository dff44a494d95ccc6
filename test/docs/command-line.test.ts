import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { COMMAND_LINE_PAGE, commandLinePage } from "../../scripts/command-line-page.ts";

test("the page of the command line is what the commands say of themselves", async () => {
  expect(
    await readFile(COMMAND_LINE_PAGE, "utf8"),
    "run `node --import ./scripts/source.ts scripts/command-line-page.ts`",
  ).toBe(await commandLinePage());
});
