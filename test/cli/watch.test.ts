/** What `lovage dev` sees of the files of an app, whatever is done to their folders. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { onTestFinished, test, vi } from "vitest";
import { watchFiles } from "../../src/cli/watch.ts";

const until = { timeout: 10_000, interval: 5 };

/** Watches a file two folders deep, and counts how often it was told of it. */
function watched() {
  const file = join(mkdtempSync(join(tmpdir(), "watched-")), "app/jobs/mail.ts");
  let told = 0;
  const watch = watchFiles(() => void told++);
  onTestFinished(() => watch.close());
  const folder = dirname(file);
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, "0");
  watch.add([file], Number.POSITIVE_INFINITY);
  let saves = 0;
  return {
    folder,
    /** Does something with it, and waits until that is told. */
    async seen(what: () => void) {
      const before = told;
      what();
      await vi.waitUntil(() => told > before, until);
    },
    save: () => writeFileSync(file, String(++saves).repeat(saves)),
  };
}

test("what is saved in a folder that was moved away, and made anew, is seen each time", async () => {
  const { folder, seen, save } = watched();
  await seen(() => renameSync(folder, `${folder}-before`));
  await seen(() => {
    mkdirSync(folder);
    save();
  });
  await seen(save);
  await seen(save);
});

test("so is what is saved in one that another took the place of at once", async () => {
  const { folder, seen, save } = watched();
  mkdirSync(`${folder}-next`);
  await seen(() => {
    renameSync(folder, `${folder}-before`);
    renameSync(`${folder}-next`, folder);
  });
  await seen(save);
  await seen(save);
});

test("a file that comes long after its folders is seen", async () => {
  const { folder, seen, save } = watched();
  const app = dirname(folder);
  await seen(() => rmSync(app, { recursive: true }));
  // Nobody is told of a folder, so there is nothing to wait for but time.
  mkdirSync(app);
  await sleep(100);
  mkdirSync(folder);
  await sleep(100);
  await seen(save);
  await seen(save);
});
