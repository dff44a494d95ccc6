/** The board in a real browser: what it shows, what it does, and that everybody can use it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBoard } from "lovage/board";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { browser, serveBoard, violations, visit } from "./chromium.ts";
import { playScene, type Scene } from "./scene.ts";

// Two browsers and a build beside them make a page slow.
vi.setConfig({ testTimeout: 40_000 });
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

describe.skipIf(!started)("every action", () => {
  const at = stage({ failing: 12, photos: 40 });
  const open = (path: string) => visit(started, at().url + path);
  const state = (id: string) => at().app.result(id).state();
  const queue = async (name: string) => {
    const found = (await at().app.control.inspect().queues()).find((one) => one.queue === name);
    if (found === undefined) throw new Error(`there is no queue ${name}`);
    return found;
  };
  const row = async (id: string) => {
    const [found] = await (await at().app.engine.backend()).read([`celery-task-meta-${id}`], { consistent: true });
    return found;
  };
  /** Presses a button, and where it asks, the one that does it. Returns the question. */
  async function ask(page: Page, button: string, confirm?: string): Promise<string> {
    await page.getByRole("button", { name: button, exact: true }).first().click();
    if (confirm === undefined) return "";
    const dialog = page.getByRole("dialog");
    const asked = (await dialog.getByRole("heading").textContent()) ?? "";
    await dialog.getByRole("button", { name: confirm, exact: true }).click();
    return asked;
  }
  /** The same, and what is said afterwards. */
  async function press(page: Page, button: string, confirm?: string): Promise<{ asked: string; said: string }> {
    const before = await page.locator(".toast").count();
    const asked = await ask(page, button, confirm);
    const said = page.locator(".toast span").nth(before);
    return { asked, said: (await said.textContent()) ?? "" };
  }
  const idIn = (page: Page) => decodeURIComponent(new URL(page.url()).pathname.split("/").at(-1) ?? "");

  test("a queue is paused and resumed, by the keyboard alone", async () => {
    const page = await open("/");
    await page.getByRole("button", { name: "Pause mail" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Enter");
    await page.getByText("mail is paused.").waitFor();
    expect((await queue("mail")).paused).toBeDefined();
    await page.getByRole("button", { name: "Resume mail" }).focus();
    await page.keyboard.press("Space");
    await page.getByText("mail goes on.").waitFor();
    expect((await queue("mail")).paused).toBeUndefined();
  });

  test("all failures of a kind run again, after a question with their number", async () => {
    const page = await open("/failures");
    const { asked, said } = await press(page, "Retry 12 failures of payments.charge", "Retry 12 tasks");
    expect(asked).toBe("Retry 12 tasks of payments.charge?");
    expect(said).toBe("12 tasks are sent again.");
    expect((await queue("payments")).ready).toBe(12);
    // Who does not want it after all has done nothing.
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await ask(page, "Retry 12 failures of payments.charge", "Cancel");
    expect((await queue("payments")).ready).toBe(12);
    await at().t.advance({ minutes: 1 });
    expect(await state(at().ids.charge)).toBe("FAILURE");
  });

  test("tasks that are chosen in the list run again; the bar counts them", async () => {
    const page = await open("/tasks?state=FAILURE&task=payments.*&from=2m");
    const boxes = page.getByRole("checkbox", { name: /^Choose payments/ });
    expect(await boxes.count()).toBe(12);
    await boxes.nth(0).check();
    await boxes.nth(1).check();
    await page.getByText("2 chosen").waitFor();
    const ids = [await boxes.nth(0).inputValue(), await boxes.nth(1).inputValue()];
    const { asked } = await press(page, "Retry 2 tasks", "Retry 2 tasks");
    expect(asked).toBe("Retry 2 tasks?");
    await page.getByText("2 tasks are sent again.").waitFor();
    expect((await queue("payments")).ready).toBe(2);
    at().mend();
    await at().t.advance({ minutes: 1 });
    expect(await Promise.all(ids.map(state))).toEqual(["SUCCESS", "SUCCESS"]);
  });

  test("all that match a filter are revoked or forgotten, after they were counted", async () => {
    const page = await open("/tasks?task=mail.send&state=FAILURE");
    const { asked } = await press(page, "Forget all", "Forget 2 tasks");
    expect(asked).toBe("Forget 2 tasks?");
    await page.getByText("2 tasks are forgotten.").waitFor();
    const box = page.getByRole("checkbox", { name: /^Choose mail/ }).first();
    expect((await row(await box.inputValue()))?.hidden).toBe(true);
  });

  test("one task runs again from its page, and its result is forgotten", async () => {
    const page = await open(`/tasks?state=FAILURE&task=media.thumbnail`);
    await page.locator("tbody a.mono").first().click();
    await page.waitForURL(/\/tasks\/[0-9a-f]/);
    const id = idIn(page);
    expect(await state(id)).toBe("FAILURE");
    await press(page, "Retry this task", "Retry this task");
    expect((await queue("media")).ready).toBe(1);
    await at().t.advance({ minutes: 1 });
    expect((await row(id))?.redrive).toBe(1);
    await page.reload();
    await press(page, "Forget its result", "Forget its result");
    expect(await state(id)).toBe("PENDING");
  });

  async function failedCharges(): Promise<readonly string[]> {
    const all = new Set<string>();
    for await (const { id } of at().app.journal.find({ task: "payments.charge", state: "FAILURE" })) all.add(id ?? "");
    const states = await Promise.all([...all].map(async (id) => [id, await state(id)] as const));
    return states.filter(([, one]) => one === "FAILURE").map(([id]) => id);
  }

  test("a failed task is sent with other arguments, as a new one", async () => {
    const [failed = ""] = await failedCharges();
    const page = await open(`/tasks/${failed}`);
    await page.getByLabel("Positional arguments").fill('[{"order": 1, "cents": 5, "card": "amex"}]');
    await ask(page, "Send it with these arguments", "Send it with these arguments");
    await page.waitForURL((url) => !url.pathname.endsWith(failed));
    const id = idIn(page);
    await at().t.advance({ minutes: 1 });
    expect(await at().app.result(id).get()).toEqual({ order: 1, charged: 5 });
    expect(await state(failed)).toBe("FAILURE");
  });

  test("what of a workflow has not ended is revoked, and one task of it terminated", async () => {
    const page = await open(`/workflows/${at().ids.album}`);
    const waiting = page.locator("tbody tr", { hasText: "PENDING" }).locator("a.mono").first();
    await waiting.click();
    await page.waitForURL(/\/tasks\//);
    const id = idIn(page);
    await press(page, "Terminate this task", "Terminate this task");
    expect((await row(id))?.revoked).toBe("terminate");
    await page.goBack();
    const button = page.getByRole("button", { name: /^Revoke \d+ tasks$/ });
    const label = (await button.textContent()) ?? "";
    const { said } = await press(page, label, label);
    expect(said).toMatch(/^\d+ tasks are revoked\.$/);
    expect((await row(id))?.revoked).toBe("terminate");
    const { tasks } = await at().app.workflow(at().ids.album);
    const rest = tasks.filter((one) => one.state !== "SUCCESS" && one.state !== "FAILURE" && one.id !== id);
    expect(rest.length).toBeGreaterThan(20);
    expect(await Promise.all(rest.map(async (one) => (await row(one.id))?.revoked ?? one.state))).not.toContain(
      "PENDING",
    );
  });

  test("what failed of a workflow runs again", async () => {
    const failed = await at().app.sendTask("media.thumbnail", [13, 320]);
    await at().t.advance({ minutes: 1 });
    const page = await open(`/workflows/${failed.id}`);
    const { said } = await press(page, "Retry 1 task", "Retry 1 task");
    expect(said).toBe("1 task is sent again.");
    expect((await queue("media")).ready).toBe(1);
  });

  test("dead letters are sent back, also with other arguments, and deleted", async () => {
    const page = await open("/dead-letters");
    expect((await queue("mail")).deadLetters).toBe(3);
    await press(page, "Delete cannot be read", "Delete 1 letter");
    expect((await queue("mail")).deadLetters).toBe(2);
    await page.locator("details summary").first().click();
    await page.getByLabel("Positional arguments").first().fill('["ann@shop.example", "Your order"]');
    await press(page, "Redrive with these", "Redrive 1 letter");
    expect((await queue("mail")).deadLetters).toBe(1);
    await page.getByRole("checkbox", { name: /^Choose all letters/ }).check();
    await press(page, "Redrive 1 letter", "Redrive 1 letter");
    expect((await queue("mail")).deadLetters).toBe(0);
    await at().t.advance({ minutes: 1 });
    // One has an address now, the other is rejected again.
    expect((await queue("mail")).deadLetters).toBe(1);
  });

  test("entries of beat are put, paused, resumed, run at once, and removed", async () => {
    const page = await open("/beat");
    await page.getByLabel("Name").fill("every-minute");
    await page.locator("select[name=task]").selectOption("shop.sweep_carts");
    await page.getByLabel("Schedule").fill("*/1 * * * *");
    await press(page, "Put the entry");
    expect((await at().app.beat.list()).map(({ name, enabled }) => [name, enabled])).toEqual([["every-minute", true]]);
    await press(page, "Pause every-minute");
    expect((await at().app.beat.list())[0]?.enabled).toBe(false);
    await page.getByRole("button", { name: "Resume every-minute" }).waitFor();
    await press(page, "Resume every-minute");
    expect((await at().app.beat.list())[0]?.enabled).toBe(true);
    const before = (await queue("celery")).ready;
    await press(page, "Run now: every-minute", "Run now");
    expect((await queue("celery")).ready).toBe(before + 1);
    await press(page, "Remove every-minute", "Remove every-minute");
    expect(await at().app.beat.list()).toEqual([]);
  });

  test("a task is sent by a form of its schema, which says what it does not take", async () => {
    const page = await open("/call?task=payments.charge");
    await page.getByLabel("order").fill("0");
    await page.getByLabel("cents").fill("700");
    await page.getByLabel("card").fill("visa");
    await page.getByRole("button", { name: "Send payments.charge" }).click();
    // The browser itself knows that 0 is too little.
    expect(await page.locator("input:invalid").getAttribute("name")).toBe("args/0/order");
    await page.getByLabel("order").fill("77");
    await page.getByRole("button", { name: "Send payments.charge" }).click();
    await page.waitForURL(/\/tasks\/[0-9a-f-]{36}$/);
    const id = idIn(page);
    await at().t.advance({ minutes: 1 });
    expect(await at().app.result(id).get()).toEqual({ order: 77, charged: 700 });
  });
});
