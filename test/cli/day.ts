/**
 * A day of mixed work, and then, from the command line alone: what fails most, what ran for longest, who waits; pause, mend,
 * retry what failed, resume. The counts are exact.
 */
import { chord, group, type JournalEntry } from "lovage";
import { expect, onTestFinished, vi } from "vitest";
import { lovage, module, type Place } from "./run.ts";

/** Tasks of the day, by their kinds; 10,000 with `LOVAGE_DAY=10000`. */
export const DAY = Number(process.env["LOVAGE_DAY"] ?? 1000);
const FAILED_OF_A_KIND = DAY / 100;
const FLAKY = DAY / 50;
const REJECTED = DAY / 200;
const CHORDS = DAY / 200;
const MEMBERS = 10;
const PLAIN = DAY - 5 * FAILED_OF_A_KIND - FLAKY - REJECTED - CHORDS * (MEMBERS + 1);

/**
 * @param isKilled Whether the worker is killed in the middle: on SQLite an entry is in the transaction of its outcome, so that
 * none is lost; elsewhere the journal is a log, and the worker that does the day's work ends in peace.
 */
export async function aDay({ app, start }: Place, isKilled: boolean): Promise<void> {
  vi.stubEnv("LOVAGE_BROKER_URL", app.config.brokerUrl);
  vi.stubEnv("LOVAGE_RESULT_BACKEND", app.config.resultBackend);
  vi.stubEnv("RUNS", "/dev/null");
  onTestFinished(() => void vi.unstubAllEnvs());
  const worker = async (args: readonly string[], env?: Readonly<Record<string, string>>) => {
    const running = start(["worker", "-A", module, "-l", "error", ...args], { RUNS: "/dev/null", ...env });
    await vi.waitUntil(async () => Object.keys(await app.control.inspect().ping()).length > 0, { timeout: 90_000 });
    return running;
  };
  const json = async (...args: string[]) => JSON.parse(await lovage(...args, "--json"));

  const day = (n: number, kind?: number) =>
    app.signature("cli.day", kind === undefined ? [n] : [n, kind], { queue: "media" });
  const calls = [
    ...Array.from({ length: PLAIN }, (_, n) => day(n)),
    ...Array.from({ length: 5 * FAILED_OF_A_KIND }, (_, n) => day(n, n % 5)),
    ...Array.from({ length: FLAKY }, (_, n) => app.signature("cli.flaky", [n])),
    ...Array.from({ length: REJECTED }, () => app.signature("cli.reject")),
  ];
  // In an order in which each kind comes all day.
  calls.sort((a, b) => hash(a) - hash(b));
  const first = await worker(["-c", "8", "-B"]);
  const sent = await group(calls).applyAsync();
  const joined = [];
  for (let n = 0; n < CHORDS; n++)
    joined.push(
      await chord(
        Array.from({ length: MEMBERS }, (_, m) => day(m)),
        app.signature("cli.sum"),
      ).applyAsync(),
    );
  const slow = await app.sendTask("cli.nap", [1.5]);

  const ended = async () => {
    const [step] = await app.journal.summary({ step: 86_400, from: Date.now() - 3_600_000, to: Date.now() + 1 });
    return step?.ended ?? 0;
  };
  if (isKilled) {
    // In the middle of it.
    await vi.waitUntil(async () => (await ended()) > DAY / 4, { timeout: 120_000, interval: 50 });
    const [before] = Object.values(await app.control.inspect().stats());
    process.kill(before?.pid ?? 0, "SIGKILL");
  }
  const isIdle = async () => {
    // An emulator that is busy with the work itself may take too long to say.
    const queues = await app.control
      .inspect()
      .queues()
      .catch(() => []);
    return queues.length > 0 && queues.every(({ ready, delayed, inFlight }) => ready + delayed + inFlight === 0);
  };
  await vi.waitUntil(isIdle, { timeout: 200_000 + DAY * 60, interval: isKilled ? 200 : 2000 });
  for (const body of joined) expect(await body.get({ timeout: 60 })).toBe(45);

  // Each outcome has one entry: of each task, and of each retry.
  const counts = new Map<string, number>();
  const idsOf = new Map<string, Set<string | undefined>>();
  for await (const { task = "", state = "", error, id } of app.journal.find({ kind: "task" })) {
    const what = [task, state, error?.type].filter(Boolean).join(" ");
    counts.set(what, (counts.get(what) ?? 0) + 1);
    idsOf.set(what, (idsOf.get(what) ?? new Set()).add(id));
  }
  const kinds = ["Down", "RangeError", "TypeError", "SyntaxError", "URIError"];
  const expected: Record<string, number> = {
    "cli.day SUCCESS": PLAIN + CHORDS * MEMBERS,
    ...Object.fromEntries(kinds.map((kind) => [`cli.day FAILURE ${kind}`, FAILED_OF_A_KIND])),
    "cli.flaky SUCCESS": FLAKY,
    "cli.reject FAILURE Reject": REJECTED,
    "cli.sum SUCCESS": CHORDS,
    "cli.nap SUCCESS": 1,
  };
  for (const [what, count] of Object.entries(expected)) {
    expect(idsOf.get(what)?.size, what).toBe(count);
    expect(counts.get(what), what).toBe(count);
  }
  expect([...counts].filter(([what]) => what.startsWith("cli.flaky RETRY")).map(([, count]) => count)).toEqual([FLAKY]);
  expect(await sent.completedCount()).toBe(PLAIN + FLAKY);

  // What fails most, and since when.
  const failures: readonly { readonly task: string; readonly error: JournalEntry["error"]; readonly count: number }[] =
    await json("failures", "--from", "1h", "--task", "cli.day");
  expect(failures.map(({ error, count }) => [error?.type, count]).sort()).toEqual(
    kinds.map((kind) => [kind, FAILED_OF_A_KIND]).sort(),
  );
  // What ran for longest, and who waits.
  expect((await json("tasks", "--sort", "runtime", "--limit", "1"))[0]).toMatchObject({ id: slow.id, task: "cli.nap" });
  const [waited] = await json("tasks", "--sort", "waited", "--limit", "1", "--task", "cli.day");
  expect(waited.waited).toBeGreaterThan(0);
  expect(await json("inspect", "queues")).toContainEqual(
    expect.objectContaining({ queue: "media", ready: 0, deadLetters: 0 }),
  );
  const letters: readonly { readonly id: string; readonly deliveries: number; readonly deadAt: string }[] = await json(
    "dlq",
    "list",
    "--queue",
    "celery",
  );
  expect(new Set(letters.map(({ id }) => id)).size).toBe(REJECTED);
  // A queue of SQS has one twice where its message came twice, or where SQS's answer was lost and the SDK sent the same again:
  // of one delivery all copies are alike.
  const inWords = (of: (letter: (typeof letters)[number]) => unknown) => new Set(letters.map(of)).size;
  expect(inWords((letter) => `${letter.id} ${letter.deadAt}`)).toBe(
    inWords(({ id, deliveries }) => `${id} ${deliveries}`),
  );
  // Beat has been at it all day.
  expect(await json("tasks", "--task", "cli.note", "--limit", "1")).toHaveLength(1);

  // Pause, mend, retry, resume.
  await lovage("control", "pause", "media", "--by", "anna");
  first.process.kill("SIGTERM");
  await first.exited;
  await worker(["-c", "8"], { MENDED: "1" });
  const again = await json("retry", "--failed", "--task", "cli.day", "--error", "Down", "--yes", "--by", "anna");
  expect(again).toEqual({ count: FAILED_OF_A_KIND, tasks: { "cli.day": FAILED_OF_A_KIND }, skipped: {} });
  expect(await json("inspect", "queues")).toContainEqual(
    expect.objectContaining({
      queue: "media",
      ready: FAILED_OF_A_KIND,
      paused: expect.objectContaining({ by: "anna" }),
    }),
  );
  await lovage("control", "resume", "media", "--by", "anna");
  await vi.waitUntil(async () => (await sent.completedCount()) === PLAIN + FLAKY + FAILED_OF_A_KIND, {
    timeout: 60_000,
    interval: 200,
  });
  const actions = [];
  for await (const { action, by } of app.journal.find({ kind: "control" })) actions.push(`${action} by ${by}`);
  expect(actions.filter((action) => action === "retry by anna")).toHaveLength(FAILED_OF_A_KIND);
  expect(actions.filter((action) => !action.startsWith("retry"))).toEqual(["resume by anna", "pause by anna"]);
  // What was not mended cannot be run by mistake: it has ended otherwise since, or is asked for by another name.
  expect(await json("retry", "--failed", "--error", "Down", "--dry-run")).toMatchObject({ count: 0 });
}

/** Any order, the same each time. */
function hash(call: object): number {
  let sum = 7;
  for (const sign of JSON.stringify(call)) sum = (sum * 31 + sign.charCodeAt(0)) % 1_000_003;
  return sum;
}
