import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crontab } from "lovage";
import { expect, test, vi } from "vitest";
import { module, place } from "./run.ts";

const sent = /tick: sent cli\.note \[(\S+)\] for (\S+)/g;

test("two beats send each slot once", async () => {
  const { start, app } = place();
  const beats = [start(["beat", "-A", module]), start(["beat", "-A", module])];
  // Each has sent three slots, so at least two of them both.
  await Promise.all(beats.map(({ says }) => says(/(tick: sent[\s\S]*){4}/)));
  for (const [at, { process }] of beats.entries()) process.kill(at === 0 ? "SIGTERM" : "SIGHUP");
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

test("a beat whose file was removed ends with the reason, so that who keeps it starts it again", async () => {
  const { start, folder } = place();
  const { says, exited } = start(["beat", "-A", module]);
  // By then it has looked which file it has.
  await says(/(tick: sent[\s\S]*){12}/);
  for (const name of readdirSync(folder)) if (name.startsWith("lovage.db")) rmSync(join(folder, name));
  const { code, stderr } = await exited;
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/lovage: beat stops: the file .*lovage\.db was removed or replaced/),
  });
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
    await vi.waitUntil(() => Date.now() > last + 1100, { timeout: 60_000 });
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

/** An app of entries that stand out, and one task. */
const planned = `
  import { crontab, Lovage } from "lovage";
  export const app = new Lovage("cli", {
    timezone: "Europe/Berlin",
    taskTimeLimit: 90,
    beatSchedule: {
      night: { task: "t.known", schedule: crontab({ hour: 2, minute: 30 }) },
      slip: { task: "t.known", schedule: crontab({ hour: "*/120" }) },
      off: { task: "t.known", schedule: 60, enabled: false },
    },
  });
  app.task("t.known", () => {});
`;

interface Plan {
  readonly name: string;
  readonly zone: string;
  readonly runs: readonly { readonly local: string; readonly utc: string }[];
  readonly rule: string | null;
  readonly change: { readonly at: { readonly utc: string }; readonly minutes: number } | null;
  readonly warnings: readonly string[];
}

function planning() {
  const { start, folder, app } = place();
  writeFileSync(join(folder, "tasks.ts"), planned);
  const beat = (...args: string[]) => start(["beat", ...args, "-A", "tasks"]).exited;
  return {
    app,
    beat,
    async plan(...args: string[]): Promise<readonly Plan[]> {
      const { code, stdout, stderr } = await beat("plan", "--json", ...args);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      return JSON.parse(stdout) as readonly Plan[];
    },
  };
}

test("beat plan says when each entry runs, by which rule, and what looks like a slip", async () => {
  const { beat } = planning();
  const { code, stdout, stderr } = await beat("plan");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const [night = "", slip = "", off = "", ...more] = stdout.split("\n\n");
  expect(more).toEqual([]);
  expect(night).toMatch(
    /^night: t\.known, Europe\/Berlin\n( {2}\d{4}-\d\d-\d\d 0[23]:30:00 \+0[12]:00 {2}\S+T0[01]:30:00Z\n){5}/,
  );
  expect(night).toContain("rule    cron(30 0,1 * * ? *)");
  expect(night).toMatch(/clock {3}\S+T01:00:00Z, 60 min (forward|back): .*02:30/);
  expect(slip).toMatch(/warning .*\*\/120 is 0 alone/);
  expect(slip).toMatch(/warning it runs every minute of its hours/);
  expect(slip).toMatch(/warning it runs again after 60 s and a run may take 90 s/);
  expect(off).toMatch(/^off: .*\n( {2}clock.*\n)? {2}warning it is not enabled: nothing is sent\n/);
});

test("beat plan --json has the same as data; --days bounds it and --around-dst shows the next change", async () => {
  const { plan } = planning();
  const [[whole], [short], [around]] = await Promise.all([plan(), plan("--days", "2"), plan("--around-dst")]);
  expect(whole).toMatchObject({ name: "night", zone: "Europe/Berlin", rule: "cron(30 0,1 * * ? *)", warnings: [] });
  expect(whole?.runs).toHaveLength(5);
  // Two of them, or one or three where a change of the clock is near.
  const shown = short?.runs.length ?? 0;
  expect([1, 2, 3]).toContain(shown);
  expect(short?.runs).toEqual(whole?.runs.slice(0, shown));
  const at = Date.parse(around?.change?.at.utc ?? "");
  const runs = around?.runs.map(({ utc }) => Date.parse(utc)) ?? [];
  expect(runs.filter((run) => run < at)).toHaveLength(5);
  expect(runs.filter((run) => run >= at)).toHaveLength(5);
});

test.each(["0", "367", "many"])("beat plan --days %s is refused", async (days) => {
  const { code, stdout, stderr } = await planning().beat("plan", "--days", days);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain("--days");
});

test("beat list and plan show what was put at run time, and beat clear removes it and nothing else", async () => {
  const { app, beat, plan } = planning();
  app.task("t.known", () => {});
  app.configFromObject({ timezone: "Asia/Tokyo" });
  await app.beat.put("launch", { task: "t.known", schedule: 60, args: [1] });
  await app.beat.put("paused", { task: "t.known", schedule: crontab({ hour: 9, minute: 0 }) });
  await app.beat.pause("paused");

  const [text, json, plans] = await Promise.all([beat("list"), beat("list", "--json"), plan()]);
  expect(text.stdout).toMatch(
    /name +task +state +since\nlaunch +t\.known +runs +\d{4}-\S+ \S+ \(\d+ s ago\)\npaused +t\.known +paused +\S+ \S+ \(\d+ s ago\)\n$/,
  );
  expect(JSON.parse(json.stdout)).toMatchObject([
    { name: "launch", args: [1], enabled: true },
    { name: "paused", enabled: false },
  ]);
  expect(plans.map(({ name, zone }) => `${name} ${zone}`)).toEqual([
    "night Europe/Berlin",
    "slip Europe/Berlin",
    "off Europe/Berlin",
    "put:launch Asia/Tokyo",
    "put:paused Asia/Tokyo",
  ]);

  expect(await beat("clear")).toMatchObject({ code: 0, stdout: "Removed launch.\nRemoved paused.\n", stderr: "" });
  expect(await app.beat.list()).toEqual([]);
  expect(await plan()).toHaveLength(3);
  const none = { code: 0, stdout: "No entry was put at run time.\n" };
  expect(await beat("clear")).toMatchObject(none);
  expect(await beat("list")).toMatchObject(none);
});
