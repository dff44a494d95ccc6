/** The board in a real browser: what it shows, what it does, and that everybody can use it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBoard } from "lovage/board";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { browser, serveBoard, violations, visit } from "./chromium.ts";
import { playScene, type Scene } from "./scene.ts";

const started = await browser();

/** `LOVAGE_PICTURES=1` writes the pictures of the docs anew. */
const pictures =
  process.env["LOVAGE_PICTURES"] === undefined ? undefined : join(import.meta.dirname, "../../docs/pictures");

async function picture(page: Page, name: string): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: 80 });
  const bytes = Buffer.from(data, "base64");
  // Something is drawn: of an empty page of this size it is less.
  expect(bytes.length).toBeGreaterThan(4_000);
  if (pictures === undefined) return;
  mkdirSync(pictures, { recursive: true });
  writeFileSync(join(pictures, `${name}.webp`), bytes);
}

interface Stage extends Scene {
  readonly url: string;
}

/** A scene on a SQLite file with a board in front of it, for the tests around. */
function stage(options: Parameters<typeof playScene>[1] = {}): () => Stage {
  let made: Stage | undefined;
  const folder = mkdtempSync(join(tmpdir(), "lovage-board-"));
  let close: () => Promise<void> = async () => {};
  beforeAll(async () => {
    const scene = await playScene(`sqlite:///${join(folder, "lovage.db")}`, options);
    const served = await serveBoard(createBoard(scene.app).fetch);
    close = served.close;
    made = { ...scene, url: served.url };
  }, 60_000);
  afterAll(async () => {
    await close();
    await made?.t.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return () => {
    if (made === undefined) throw new Error("it is not staged yet");
    return made;
  };
}

describe.skipIf(!started)("every page", () => {
  const at = stage();
  const paths: readonly (readonly [name: string, path: (s: Stage) => string, title: string])[] = [
    ["overview", () => "/", "Overview"],
    ["tasks", () => "/tasks?state=FAILURE", "Tasks"],
    ["task", (s) => `/tasks/${s.ids.charge}`, "payments.charge"],
    ["workflow", (s) => `/workflows/${s.ids.album}`, "Workflow"],
    ["failures", () => "/failures", "Failures"],
    ["dead-letters", () => "/dead-letters", "Dead letters"],
    ["beat", () => "/beat", "Beat"],
    ["call", () => "/call?task=payments.charge", "Call"],
  ];

  test.each(paths)(
    "%s can be read by everybody, light, dark and narrow",
    { timeout: 30_000 },
    async (name, path, title) => {
      const page = await visit(started, at().url + path(at()), { viewport: { width: 1280, height: 800 } });
      expect(await page.locator("h1").textContent()).toBe(title);
      if (name === "overview") await page.locator(".plot canvas").first().waitFor();
      expect(await violations(page)).toEqual([]);
      await picture(page, name);
      await page.emulateMedia({ colorScheme: "dark" });
      expect(await violations(page, true)).toEqual([]);
      if (name === "overview") await picture(page, "overview-dark");
      await page.setViewportSize({ width: 400, height: 800 });
      expect(await violations(page, false)).toEqual([]);
      // Nobody has to scroll to the side.
      expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBeLessThanOrEqual(0);
    },
  );

  test("a path that is none is said to be none", async () => {
    const page = await visit(started, `${at().url}/nothing`, { allowed: /404/ });
    expect(await page.locator("h1").textContent()).toBe("Not found");
    expect(await violations(page)).toEqual([]);
  });
});
