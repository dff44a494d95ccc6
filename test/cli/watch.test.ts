/** What `lovage dev` sees of the files of an app, whatever is done to their folders. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
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
    /** Has another file watched. */
    add: (other: string) => watch.add([other], Number.POSITIVE_INFINITY),
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
  const { folder, add, seen, save } = watched();
  const app = dirname(folder);
  // Nobody is told of a folder. That other files in them are seen says that they are watched by now.
  const others = [join(app, "app.ts"), join(folder, "other.ts")] as const;
  for (const other of others) add(other);
  await seen(() => rmSync(app, { recursive: true }));
  for (const other of others) {
    await seen(() => {
      mkdirSync(dirname(other));
      writeFileSync(other, "0");
    });
  }
  await seen(save);
  await seen(save);
});

test("a file that was written since it was loaded is changed, though its date is a tick of the system's clock before that", async () => {
  const folder = mkdtempSync(join(tmpdir(), "watched-"));
  const told: string[] = [];
  const watch = watchFiles((files) => void told.push(...files));
  onTestFinished(() => watch.close());
  const loaded = 1_700_000_000;
  const dated = (name: string, before: number) => {
    const file = join(folder, name);
    writeFileSync(file, "0");
    utimesSync(file, loaded - before, loaded - before);
    return file;
  };
  const [earlier, later] = [dated("earlier.ts", 0.1), dated("later.ts", 0.004)];
  watch.add([earlier, later], loaded * 1000);
  await vi.waitUntil(() => told.length > 0, until);
  expect(told).toEqual([later]);
});
