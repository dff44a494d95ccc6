/** Members that come from a generator leave nothing behind in who sends them. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { chord, group, Lovage } from "../../src/index.ts";
import { testApp } from "../../src/testing/index.ts";

const MEMBERS = 100_000;
/** What the sender may hold more at the end than after its first tenth, in bytes: some 45 a member. */
const MOST = 4 * 2 ** 20;

const app = new Lovage("memory");
const add = app.task("add", (x: number, y: number) => x + y);
const sum = app.task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));

const member = (i: number) => add.s(i, 0);
type Members = Generator<ReturnType<typeof member>>;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const held = () => {
  collect();
  return process.memoryUsage().heapUsed;
};

test.each([
  ["a group", (members: Members) => group(members).delay()],
  ["a chord's header", (members: Members) => chord(members, sum.s()).delay()],
  ["many calls", (members: Members) => app.sendMany(members)],
])(`${MEMBERS} members of %s need no more memory than the first of them`, async (_, send) => {
  const folder = await mkdtemp(join(tmpdir(), "lovage-members-"));
  let sent = 0;
  {
    await using _t = testApp(app, {
      config: { resultBackend: `sqlite:///${join(folder, "results.db")}` },
      // The queue is not what is measured.
      broker: (broker) => ({
        ...broker,
        async send(entries) {
          sent += entries.length;
          return entries.map(() => undefined);
        },
      }),
    });
    const heap: number[] = [];
    const members = function* (): Members {
      for (let i = 0; i < MEMBERS; i++) {
        if (i % (MEMBERS / 10) === 0) heap.push(held());
        yield member(i);
      }
      heap.push(held());
    };
    await send(members());
    expect(sent).toBe(MEMBERS);
    const [, first = 0, ...later] = heap;
    expect(Math.max(...later) - first).toBeLessThan(MOST);
  }
  await rm(folder, { recursive: true, force: true });
});
