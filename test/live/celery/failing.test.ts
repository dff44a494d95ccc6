/** The page's table of failing chords, held to an unmodified Celery 5.7 and to Lovage. `LOVAGE_WRITE=1` writes it anew. */
import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { celeryPython } from "../../python/python.ts";
import { emulator } from "../emulators.ts";
import { BY_BODY, BY_HEADER, failing, idle, LEAF_SIZE, type Shape } from "./failing.ts";
import { startFleet } from "./fleet.ts";
import type { Side } from "./matrix.ts";

const PAGE = join(import.meta.dirname, "../../../docs/reference/canvases.md");
const BEGIN = "<!-- a test writes what follows -->\n";
const ABOUT_HEADERS = `The second table is about different headers. An empty header cannot fail, and its body runs with an empty list. In each other header one
member fails.`;
const END = "<!-- up to here -->";

const [aws, python] = await Promise.all([emulator("ministack"), celeryPython("5.7")]);
const COLUMNS: readonly (readonly [Side, Side])[] = [
  ["py", "py"],
  ["ts", "py"],
  ["py", "ts"],
  ["ts", "ts"],
];

test.skipIf(aws === undefined || python === undefined)("failing chords end as the page says", async () => {
  if (aws === undefined || python === undefined) return;
  const fleet = await startFleet(aws, python, "python");
  afterAll(() => fleet.stop());
  fleet.app.engine.leafSize = LEAF_SIZE;
  const shapes = [...BY_BODY, ...BY_HEADER];
  const ends = shapes.map((shape) =>
    Promise.all(COLUMNS.map(([submits, run]) => failing(fleet, shape, submits, run, randomUUID()))),
  );
  const ended = await Promise.all(ends);
  await idle(fleet);
  const cells = await Promise.all(ended.map((ends) => Promise.all(ends.map((end) => end()))));
  fleet.alive();
  const tableOf = (
    chosen: readonly Shape[],
    first: string,
    second: string,
    label: (shape: Shape) => readonly string[],
  ) => {
    const rows = chosen.map(
      (shape) => `| ${[...label(shape), ...(cells[shapes.indexOf(shape)] ?? [])].join(" | ")} |\n`,
    );
    return `| ${first} | ${second} | Celery sends, Celery runs | Lovage sends, Celery runs | Celery sends, Lovage runs | Lovage sends and runs |\n|---|---|---|---|---|---|\n${rows.join("")}`;
  };
  const byBody = tableOf(BY_BODY, "the body", "errback of", ({ body, errback }) => [body, errback]);
  const byHeader = tableOf(BY_HEADER, "the header", "the body, with an errback", ({ header, body }) => [header, body]);
  const table = `${byBody}\n${ABOUT_HEADERS}\n\n${byHeader}`;
  const page = await readFile(PAGE, "utf8");
  const [before = "", after = ""] = [page.split(BEGIN)[0], page.split(END)[1]];
  const written = `${before}${BEGIN}\n${table}\n${END}${after}`;
  if (process.env["LOVAGE_WRITE"] === "1") await writeFile(PAGE, written);
  expect(await readFile(PAGE, "utf8")).toBe(written);
});
