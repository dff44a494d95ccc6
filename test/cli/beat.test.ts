import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { module, place } from "./run.ts";

vi.setConfig({ testTimeout: 30_000 });

const sent = /tick: sent cli\.note \[(\S+)\] for (\S+)/g;

test("two beats send each slot once", async () => {
  const { start, app } = place();
  const beats = [start(["beat", "-A", module]), start(["beat", "-A", module])];
  // Each has sent three slots, so at least two of them both.
  await Promise.all(beats.map(({ says }) => says(/(tick: sent[\s\S]*){4}/)));
  for (const { process } of beats) process.kill("SIGTERM");
  const ended = await Promise.all(beats.map(({ exited }) => exited));
  expect(ended).toMatchObject([
    { code: 0, stderr: "" },
    { code: 0, stderr: "" },
  ]);

  const slots = ended.map(({ stdout }) => [...stdout.matchAll(sent)].map(([, id, slot]) => `${id} ${slot}`));
  const all = new Set(slots.flat());
  expect(slots.flat().length).toBeGreaterThan(all.size);
  expect(new Set([...all].map((both) => both.split(" ")[0])).size).toBe(all.size);
  expect(await (await app.engine.broker()).size("celery")).toEqual({ ready: all.size, delayed: 0, inFlight: 0 });
});

test("a beat that starts again goes on where the last one ended", async () => {
  const { start } = place();
  const slots: string[] = [];
  for (let life = 0; life < 2; life++) {
    const { says, process, exited } = start(["beat", "-A", module]);
    await says(/(tick: sent[\s\S]*){2}/);
    process.kill("SIGINT");
    slots.push(...[...(await exited).stdout.matchAll(sent)].map(([, , slot = ""]) => slot));
    // Two slots pass while nobody is there.
    const last = Date.parse(slots.at(-1) ?? "");
    await vi.waitUntil(() => Date.now() > last + 1100, { timeout: 5000 });
  }
  const times = slots.map((slot) => Date.parse(slot));
  expect(times).toEqual(times.map((_, index) => (times[0] as number) + index * 500));
});

test("a message of beat's is marked as Celery marks it", async () => {
  const { start, app } = place();
  const { says } = start(["beat", "-A", module]);
  await says(/tick: sent/);
  const [delivery] = await (await app.engine.broker()).receive("celery", { max: 1, wait: 0 });
  expect(JSON.parse(delivery?.body ?? "")).toMatchObject({ headers: { task: "cli.note", celery_beat_task: true } });
});

const schedule = (entry: string) => `
  import { Lovage } from "lovage";
  export const app = new Lovage("t", { beatSchedule: { tick: ${entry} } });
  app.task("t.known", () => {});
`;

test.each([
  ["beat", `{ task: "t.knwon", schedule: 1 }`, 'beatSchedule["tick"].task', "did you mean t.known?"],
  ["worker -B", `{ task: "t.knwon", schedule: 1 }`, 'beatSchedule["tick"].task', "did you mean t.known?"],
  ["beat", `{ task: "t.known", schedule: 0 }`, 'beatSchedule["tick"].schedule', "from 0.001"],
  ["beat", `{ task: "t.known", schedule: 1, options: { countdwon: 1 } }`, "countdwon", "did you mean countdown?"],
])("%s is refused at its start with the entry %s", async (command, entry, where, remedy) => {
  const { start, folder } = place();
  writeFileSync(join(folder, "tasks.ts"), schedule(entry));
  const { code, stdout, stderr } = await start([...command.split(" "), "-A", "tasks"]).exited;
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toMatch(/^lovage: .*\n$/);
  expect(stderr).toContain(where);
  expect(stderr).toContain(remedy);
});

test("an entry for a queue by name may name a task that others know", async () => {
  const { start, app, folder } = place();
  writeFileSync(join(folder, "tasks.ts"), schedule(`{ task: "py.job", schedule: 0.2, options: { queue: "py" } }`));
  await start(["beat", "-A", "tasks"]).says(/tick: sent py\.job/);
  expect((await (await app.engine.broker()).size("py")).ready).toBeGreaterThan(0);
});
