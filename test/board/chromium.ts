/** A real browser for the tests of the board: headless Chromium, from a package. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { serve } from "@hono/node-server";
import sparticuz from "@sparticuz/chromium";
import type axe from "axe-core";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, expect, onTestFinished } from "vitest";
import { skipped } from "../skipped.ts";

/**
 * Those of its flags that a function of Lambda alone needs, those that switch off what the tests are about, and those by which a
 * graphics card is imitated: to draw without any is less work.
 */
const NOT_HERE =
  /^--(disable-web-security|allow-running-insecure-content|single-process|no-zygote|disable-site-isolation-trials|disable-features|ignore-gpu-blocklist|in-process-gpu|use-gl|use-angle|enable-unsafe-swiftshader)/;

/** The package unpacks the browser at its first use: another file's tests may be at that, and one that is being written cannot run. */
async function launch(): Promise<Browser> {
  const executablePath = await sparticuz.executablePath();
  const args = [...sparticuz.args.filter((flag) => !NOT_HERE.test(flag)), "--disable-gpu"];
  for (const until = Date.now() + 90_000; ; await sleep(200)) {
    try {
      return await chromium.launch({ executablePath, args, headless: true });
    } catch (error) {
      if (!String(error).includes("ETXTBSY") || Date.now() > until) throw error;
    }
  }
}

/**
 * Starts a browser for the file that calls this at its top level. Where it cannot start, the file's tests are to be
 * {@link skipped}.
 */
export async function browser(): Promise<Browser | undefined> {
  try {
    const started = await launch();
    afterAll(() => started.close());
    return started;
  } catch (error) {
    const why = error instanceof Error ? error.message.split("\n")[0] : String(error);
    return skipped(`the tests in a browser did not run. ${why}`, error);
  }
}

export type Fetch = (request: Request) => Response | Promise<Response>;

/** Serves a board on 127.0.0.1 until `close`. */
export async function serveBoard(
  fetch: Fetch,
  wanted = 0,
): Promise<{ readonly url: string; readonly close: () => Promise<void> }> {
  const server = serve({ fetch, hostname: "127.0.0.1", port: wanted });
  await new Promise<void>((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        if ("closeAllConnections" in server) server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

/** A page that is looked at for one test: at its end nothing may have been complained of. */
export async function visit(
  started: Browser | undefined,
  url: string,
  options: BrowserContextOptions & { readonly allowed?: RegExp; readonly own?: string } = {},
): Promise<Page> {
  if (started === undefined) throw new Error("there is no browser");
  const { allowed, own = url, ...given } = options;
  const context = await started.newContext({ locale: "en-US", reducedMotion: "reduce", ...given });
  const page = await context.newPage();
  const complaints: string[] = [];
  const complain = (text: string) => {
    if (allowed === undefined || !allowed.test(text)) complaints.push(text);
  };
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complain(message.text());
  });
  page.on("pageerror", (error) => complain(String(error)));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(own).origin && request.url() !== url)
      complain(`asked ${request.url()}`);
  });
  onTestFinished(async () => {
    await context.close();
    expect(complaints).toEqual([]);
  });
  await page.goto(url);
  return page;
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What a page does wrong by the rules of accessibility: a line each. `colours`: these alone, or all the rest. */
export async function violations(page: Page, colours?: boolean): Promise<readonly string[]> {
  await page.evaluate(axeSource);
  const { violations: found } = await page.evaluate((only) => {
    const { run } = (globalThis as unknown as { readonly axe: typeof axe }).axe;
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    return run(
      only === true
        ? { runOnly: { type: "rule", values: ["color-contrast"] } }
        : { runOnly: tags, ...(only === false && { rules: { "color-contrast": { enabled: false } } }) },
    );
  }, colours);
  return found.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}: ${failureSummary}`));
}
