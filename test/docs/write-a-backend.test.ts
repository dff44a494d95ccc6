/** The backend of docs/how-to/write-a-backend.md, as it stands there, keeps the contract, and tasks have their results in it. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { chord, Lovage, type OpenBackend, registerBackend } from "lovage";
import { hostileBroker, testApp } from "lovage/testing";
import { afterAll, expect, test } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const page = readFileSync(join(root, "docs/how-to/write-a-backend.md"), "utf8");
mkdirSync(join(root, ".cache"), { recursive: true });
const folder = mkdtempSync(join(root, ".cache/backend-"));
afterAll(() => rmSync(folder, { recursive: true }));
const write = (title: string) => {
  const code = new RegExp(`\`\`\`ts title="${title}"\\n([\\s\\S]*?)\`\`\``).exec(page)?.[1] ?? "";
  writeFileSync(join(folder, title), code);
  return join(folder, title);
};
const backend = write("folder-backend.ts");
await import(write("folder-backend.test.ts"));

test("tasks and a chord have their results in it, from a URL of its scheme, on a hostile queue", async () => {
  registerBackend("folder", () => import(backend) as Promise<{ open: OpenBackend }>);
  const app = new Lovage("tasks");
  const add = app.task("tasks.add", (x: number, y: number) => x + y);
  const sum = app.task("tasks.sum", (values: number[]) => values.reduce((a, b) => a + b, 0));
  const config = { resultBackend: `folder://${mkdtempSync(join(folder, "rows-"))}` };
  await using t = testApp(app, { config, broker: (broker) => hostileBroker(broker, 1, { throttle: 0, loseReply: 0 }) });
  const result = await chord([add.s(1, 2), add.s(3, 4)], sum.s()).delay();
  await t.advance({ hours: 1 });
  expect(await result.get()).toBe(10);
});
