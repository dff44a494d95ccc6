/** The board without a mouse, without sight, enlarged, and left open: what WCAG 2.2 AA asks of it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBoard } from "lovage/board";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { browser, serveBoard, violations, visit } from "./chromium.ts";
import { playScene, type Scene } from "./scene.ts";

const started = await browser();

describe.skipIf(!started)("the board", () => {
  const folder = mkdtempSync(join(tmpdir(), "lovage-board-"));
  let at: Scene;
  let url = "";
  let close = async () => {};
  beforeAll(async () => {
    at = await playScene(`sqlite:///${join(folder, "lovage.db")}`, { failing: 6, photos: 20 });
    const served = await serveBoard(createBoard(at.app, { refresh: 0.2 }).fetch);
    ({ url, close } = served);
  });
  afterAll(async () => {
    await close();
    await at?.t.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const open = async (path: string, options: Parameters<typeof visit>[2] = {}) => {
    const page = await visit(started, url + path, options);
    return page;
  };
  const paths: readonly (readonly [name: string, path: () => string])[] = [
    ["overview", () => "/"],
    ["tasks", () => "/tasks?state=FAILURE"],
    ["task", () => `/tasks/${at.ids.charge}`],
    ["workflow", () => `/workflows/${at.ids.album}`],
    ["failures", () => "/failures"],
    ["dead-letters", () => "/dead-letters"],
    ["beat", () => "/beat"],
    ["call", () => "/call?task=payments.charge"],
    ["nothing", () => "/nothing"],
  ];
  /** The next of what was told when something has been updated. */
  const updated = async (page: Page) => {
    for (let many = 0; many < 2; many++)
      await page.waitForResponse((answer) => answer.request().headers()["x-board"] === "live");
  };
  /** What has the focus. */
  const focused = (page: Page) =>
    page.evaluate(
      `(() => { const { tagName, textContent } = document.activeElement; return tagName + " " + textContent.trim().replace(/\\s+/g, " ").slice(0, 60); })()`,
    );
  /** A step of the keyboard: what has the focus, and what is wrong with it. */
  const walk = (page: Page) =>
    page.evaluate(`(() => {
      const at = document.activeElement;
      if (at === document.body) return undefined;
      window.walked ??= new Set();
      if (window.walked.has(at)) return undefined;
      window.walked.add(at);
      const shown = at.closest("label.chip") ?? at;
      const { outlineStyle, outlineWidth } = getComputedStyle(shown);
      const { left, top, right, bottom, width, height } = shown.getBoundingClientRect();
      const wrong = [];
      if (outlineStyle === "none" || parseFloat(outlineWidth) < 1) wrong.push("no outline");
      if (width === 0 || height === 0 || right <= 0 || bottom <= 0 || left >= innerWidth || top >= innerHeight) wrong.push("out of sight");
      else {
        const inside = (x, y) => { const found = document.elementFromPoint(x, y); return found === null || at.contains(found) || found.contains(at) || shown.contains(found); };
        const xs = [left + 2, (left + right) / 2, right - 2], ys = [top + 2, (top + bottom) / 2, bottom - 2];
        if (!xs.some((x) => ys.some((y) => inside(x, y)))) wrong.push("covered");
      }
      return wrong.map((one) => one + ": " + at.outerHTML.slice(0, 160));
    })()`) as Promise<readonly string[] | undefined>;

  test.each(paths)("%s is reached by the keyboard alone at 320 pixels", async (_, path) => {
    const page = await open(path(), { viewport: { width: 320, height: 256 }, allowed: /404/ });
    const wide = `[...document.querySelectorAll("html, .nav, .top, .card > header")].filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.className || one.tagName)`;
    expect(await page.evaluate(wide)).toEqual([]);
    const boxes = page.locator("input[data-pick]");
    if ((await boxes.count()) > 0) await boxes.first().check();
    const wrong: string[] = [];
    let steps = 0;
    await page.evaluate(
      "document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex')",
    );
    for (; steps < 400; steps++) {
      await page.keyboard.press("Tab");
      const found = await walk(page);
      if (found === undefined) break;
      wrong.push(...found);
    }
    expect(wrong).toEqual([]);
    // All that can be reached was, and the last was left.
    expect(steps).toBeGreaterThan(6);
    expect(steps).toBeLessThan(400);
  });

  test("a form that was refused can be sent when it is mended, and once alone", async () => {
    const page = await open("/call?task=reports.daily");
    const sent: string[] = [];
    page.on("request", (request) => {
      if (request.method() === "POST") sent.push(request.url());
    });
    await page.getByLabel("Positional arguments").fill("[1");
    const send = page.getByRole("button", { name: "Send reports.daily" });
    await send.click();
    expect(sent).toEqual([]);
    await page.getByLabel("Positional arguments").fill("[1]");
    await send.dblclick();
    await page.waitForURL(/\/tasks\/[0-9a-f-]{36}$/);
    expect(sent.length).toBe(1);
  });

  test("a button that is pressed twice asks once", async () => {
    const page = await open("/failures");
    await page.getByRole("button", { name: /^Retry all of payments/ }).dblclick();
    await page.getByRole("dialog").first().waitFor();
    await updated(page);
    expect(await page.getByRole("dialog").count()).toBe(1);
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    expect(await focused(page)).toBe("BUTTON Retry all");
  });

  test("what came of a question is said when it is closed, where a screen reader hears it, and the focus stays near", async () => {
    const page = await open("/dead-letters");
    await page.evaluate(
      `new MutationObserver(() => { window.open_ ??= document.querySelectorAll("dialog[open]").length; }).observe(document.querySelector(".toasts"), { childList: true })`,
    );
    await page.getByRole("button", { name: "Delete cannot be read" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").getByRole("button", { name: "Delete 1 letter" }).focus();
    await page.keyboard.press("Enter");
    await page.getByText("1 letter is deleted.").waitFor();
    expect(await page.evaluate("window.open_")).toBe(0);
    await page.getByRole("button", { name: "Delete cannot be read" }).waitFor({ state: "detached" });
    expect(await focused(page)).toMatch(/^TR .*mail\.send/);
    // This page is updated seldom; always when it is seen again.
    await Promise.all([
      page.waitForResponse((answer) => answer.request().headers()["x-board"] === "live"),
      page.evaluate(`document.dispatchEvent(new Event("visibilitychange"))`),
    ]);
    await page.getByText("Live", { exact: true }).waitFor();
    expect(await focused(page)).toMatch(/^TR .*mail\.send/);
  });

  test("what is said of an action stays for as long as somebody points at it, or has the focus in it", async () => {
    const page = await open("/");
    await page.clock.install();
    await page.reload();
    await page.getByRole("button", { name: "Pause updates" }).click();
    await page.getByRole("button", { name: "Resume archive" }).click();
    const said = page.locator(".toast");
    await said.hover();
    await page.clock.runFor(60_000);
    expect(await said.count()).toBe(1);
    await said.getByRole("button").focus();
    await page.mouse.move(0, 0);
    await page.clock.runFor(60_000);
    expect(await said.count()).toBe(1);
    await page.getByRole("button", { name: "Go on with updates" }).focus();
    await page.clock.runFor(10_000);
    expect(await said.count()).toBe(0);
  });

  test("updates can be paused, and are not announced", async () => {
    const page = await open("/");
    await page.clock.install();
    await page.reload();
    await updated(page);
    await page.evaluate(
      `new MutationObserver((all) => { window.said = (window.said ?? 0) + all.length; }).observe(document.querySelector("[role=status]"), { childList: true, characterData: true, subtree: true })`,
    );
    await updated(page);
    expect(await page.evaluate("window.said ?? 0")).toBe(0);
    await page.getByRole("button", { name: "Pause updates" }).focus();
    await page.keyboard.press("Enter");
    let asked = 0;
    page.on("request", () => asked++);
    await page.getByText("Paused", { exact: true }).waitFor();
    await page.clock.runFor(60_000);
    expect(asked).toBe(0);
    // On the next page, too.
    await page.goto(`${url}/tasks`);
    await page.getByRole("button", { name: "Go on with updates" }).click();
    await page.getByText("Live", { exact: true }).waitFor();
    await updated(page);
    // A browser may keep nothing for pages.
    await page.addInitScript(
      `Object.defineProperty(window, "sessionStorage", { get() { throw new DOMException("denied", "SecurityError"); } })`,
    );
    await page.reload();
    await updated(page);
    await page.getByRole("button", { name: "Pause updates" }).click();
    await page.getByText("Paused", { exact: true }).waitFor();
  });

  test("a page that stays open does not grow, and what it asks anew is no loss", async () => {
    const page = await open("/");
    await page.locator(".plot canvas").first().waitFor();
    await page.evaluate(
      `for (const place of document.querySelectorAll("[data-plot]")) { place.dataset.plot = place.dataset.plot.replace('"unit"', ' "unit"'); } dispatchEvent(new Event("resize"))`,
    );
    await updated(page);
    expect(await page.locator(".tip").count()).toBe(3);
    await page.evaluate(
      `new MutationObserver(() => { window.said = [...(window.said ?? []), document.querySelector(".live").textContent]; }).observe(document.querySelector(".live"), { childList: true, characterData: true, subtree: true })`,
    );
    await page.evaluate(`for (let many = 0; many < 20; many++) document.dispatchEvent(new Event("visibilitychange"))`);
    await updated(page);
    expect(await page.evaluate("window.said ?? []")).toEqual([]);
  });

  test("what is chosen in a filter waits for the button, and going back shows the filter of then", async () => {
    const page = await open("/tasks");
    const failed = page.getByRole("checkbox", { name: "FAILURE", exact: true });
    await failed.focus();
    await page.keyboard.press("Space");
    await page.getByLabel("Queue").focus();
    await page.keyboard.press("ArrowDown");
    await page.getByLabel("Queue").selectOption("payments");
    expect(new URL(page.url()).search).toBe("");
    await page.keyboard.press("Tab");
    await page.getByRole("button", { name: "Show" }).press("Enter");
    await page.waitForURL(/state=FAILURE&queue=payments$/);
    await page.goBack();
    await page.waitForURL(/tasks$/);
    await updated(page);
    expect(await failed.isChecked()).toBe(false);
    expect(await page.getByLabel("Queue").inputValue()).toBe("");
  });

  test("the drawing of a workflow says what comes after what", async () => {
    const page = await open(`/workflows/${at.ids.order}`);
    await page.getByRole("link", { name: /^payments\.charge .*: \w+, after shop\.checkout$/ }).waitFor();
  });

  test("the plots can be read as a table", async () => {
    const page = await open("/");
    await page.locator(".plot canvas").first().waitFor();
    await page.getByText("Tasks a minute as a table").press("Enter");
    const table = page.getByRole("table", { name: "Tasks a minute" });
    expect(await table.getByRole("columnheader").allTextContents()).toEqual(["Time", "succeeded", "failed", "retried"]);
    expect(await table.getByRole("row").count()).toBeGreaterThan(30);
    await updated(page);
    expect(await table.getByRole("row").count()).toBeGreaterThan(30);
  });

  test("what is chosen is seen where colours are the reader's own, and is not told by a colour alone", async () => {
    const page = await open("/tasks?state=FAILURE");
    const look = (of: string, property: string) =>
      page.evaluate(`getComputedStyle(document.querySelector(${JSON.stringify(of)})).${property}`);
    expect(await look(".chip input:checked", "opacity")).toBe("1");
    await page.goto(`${url}/failures`);
    expect(await look(".tabs a[aria-current]", "textDecorationLine")).toBe("underline");
    await page.emulateMedia({ forcedColors: "active" });
    expect(await violations(page)).toEqual([]);
    await page.goto(`${url}/workflows/${at.ids.album}`);
    // Texts and the boxes that they stand in are of the same reader's colours.
    expect(await look(".graph .node rect", "fill")).toBe(await look("body", "backgroundColor"));
  });

  test("on paper there is all that is to be read, and no button", async () => {
    const page = await open(`/tasks/${at.ids.charge}`);
    await page.emulateMedia({ media: "print" });
    expect(await page.locator("button:visible, .side:visible, form:visible").count()).toBe(0);
    expect(await page.evaluate(`getComputedStyle(document.querySelector("pre")).maxHeight`)).toBe("none");
  });
});
