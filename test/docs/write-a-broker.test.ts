/** The broker of docs/how-to/write-a-broker.md, as it stands there, keeps the contract, and tasks run on it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Lovage, type OpenBroker, registerBroker } from "lovage";
import { testApp } from "lovage/testing";
import { afterAll, expect, test } from "vitest";
import { folderInCheckout } from "../temporary.ts";

const root = resolve(import.meta.dirname, "../..");
const page = readFileSync(join(root, "docs/how-to/write-a-broker.md"), "utf8");
const folder = folderInCheckout("broker-");
afterAll(() => rmSync(folder, { recursive: true }));
const write = (title: string) => {
  const code = new RegExp(`\`\`\`ts title="${title}"\\n([\\s\\S]*?)\`\`\``).exec(page)?.[1] ?? "";
  writeFileSync(join(folder, title), code);
  return join(folder, title);
};
const broker = write("folder-broker.ts");
await import(write("folder-broker.test.ts"));

test("a task runs on it, from a URL of its scheme", async () => {
  registerBroker("folder", () => import(broker) as Promise<{ open: OpenBroker }>);
  const app = new Lovage("tasks");
  const add = app.task("tasks.add", (x: number, y: number) => x + y);
  await using t = testApp(app, { config: { brokerUrl: `folder://${mkdtempSync(join(folder, "spool-"))}` } });
  const result = await add.applyAsync([1, 2], { countdown: 60 });
  await t.advance({ minutes: 2 });
  expect(await result.get()).toBe(3);
});

test("a scheme is registered once, and one that no URL could have is refused", () => {
  const load = async () => ({});
  expect(() => registerBroker("sqs", load)).toThrow("sqs:// is taken");
  expect(() => registerBroker("No scheme", load)).toThrow("cannot begin a URL");
});
