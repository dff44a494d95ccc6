/** The page's table of failing chords, held to an unmodified Celery 5.7 and to Lovage. `LOVAGE_WRITE=1` writes it anew. */
import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { celeryPython } from "../../python/python.ts";
import { emulator } from "../emulators.ts";
import { failing, idle, SHAPES } from "./failing.ts";
import { startFleet } from "./fleet.ts";
import type { Side } from "./matrix.ts";

const PAGE = join(import.meta.dirname, "../../../docs/reference/canvases.md");
const BEGIN = "<!-- a test writes what follows -->\n";
const END = "<!-- up to here -->";

const [aws, python] = await Promise.all([emulator("ministack"), celeryPython("5.7")]);
const COLUMNS: readonly (readonly [Side, Side])[] = [
  ["py", "py"],
  ["ts", "py"],
  ["py", "ts"],
  ["ts", "ts"],
];

test.skipIf(aws === undefined || python === undefined)(
  "failing chords end as the page says",
  { timeout: 120_000 },
  async () => {
    if (aws === undefined || python === undefined) return;
    const fleet = await startFleet(aws, python, "python");
    afterAll(() => fleet.stop());
    const ends = SHAPES.map((shape) =>
      Promise.all(COLUMNS.map(([submits, run]) => failing(fleet, shape, submits, run, randomUUID()))),
    );
    const ended = await Promise.all(ends);
    await idle(fleet);
    const cells = await Promise.all(ended.map((ends) => Promise.all(ends.map((end) => end()))));
    const rows = SHAPES.map(({ body, errback }, at) => `| ${[body, errback, ...(cells[at] ?? [])].join(" | ")} |\n`);
    fleet.alive();
    const table = `| the body | errback of | Celery sends, Celery runs | Lovage sends, Celery runs | Celery sends, Lovage runs | Lovage sends and runs |\n|---|---|---|---|---|---|\n${rows.join("")}`;
    const page = await readFile(PAGE, "utf8");
    const [before = "", after = ""] = [page.split(BEGIN)[0], page.split(END)[1]];
    const written = `${before}${BEGIN}\n${table}\n${END}${after}`;
    if (process.env["LOVAGE_WRITE"] === "1") await writeFile(PAGE, written);
    expect(await readFile(PAGE, "utf8")).toBe(written);
  },
);
