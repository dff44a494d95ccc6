/** Every place where a command shows text from a message, a row or a URL: none of it controls the terminal, or looks like ours. */
import { Lovage } from "lovage";
import type { Command } from "commander";
import { startWorker } from "lovage/worker";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { open as openMemory } from "../../src/brokers/memory.ts";
import { report } from "../../src/cli/exit.ts";
import { createProgram } from "../../src/cli/program.ts";
import { showUrl } from "../../src/cli/serve-worker.ts";
import { parseAwsUrl } from "../../src/aws/connection.ts";
import { ImproperlyConfigured } from "../../src/errors.ts";
import { open as openMemoryResults } from "../../src/results/memory.ts";
import { parseUrl } from "../../src/sqlite/url.ts";
import { taskKey } from "../../src/results/backend.ts";
import { envelope } from "../flow/envelopes.ts";
import { lovage, module, place } from "./run.ts";

const EVIL = "\u001b[2J\u009b1m\u202e\r\nforged: SUCCESS\u0007\u2028x";
/** What no text of anybody's may bring, and a line of its own. */
const HARM = /[^\t\n\P{Cc}]|[\u2028-\u202e\u2066-\u2069]|^forged/mu;

const meta = (id: string, status: string, result: unknown, traceback: string | null = null) =>
  JSON.stringify({ status, result, traceback, children: [], date_done: "2026-01-01T00:00:00+00:00", task_id: id });

async function withHarm() {
  const here = place();
  const [broker, backend] = [await here.app.engine.broker(), await here.app.engine.backend()];
  await broker.send([
    {
      queue: "celery-dlq",
      body: envelope({ task: EVIL, id: EVIL }).replace('"lang"', '"mine\u009b\u202e": 1, "lang"'),
      attributes: { id: EVIL, task: EVIL, reason: EVIL, error: EVIL, queue: "celery", deliveries: EVIL, deadAt: EVIL },
    },
  ]);
  const row = (id: string, result: string) => ({
    type: "store" as const,
    key: taskKey(id),
    now: Date.now(),
    ttl: undefined,
    result,
  });
  const error = { exc_type: EVIL, exc_message: [EVIL], exc_module: "lovage" };
  await backend.apply([
    row(EVIL, meta(EVIL, "FAILURE", error, `Traceback\n${EVIL}`)),
    row("odd", meta("odd", EVIL, { [EVIL]: EVIL })),
    row("fine", meta("fine", "SUCCESS", EVIL)),
  ]);
  return here;
}

describe("what a command shows of what anybody wrote is harmless", () => {
  test("in each of its forms", async () => {
    const here = await withHarm();
    const commands: readonly (readonly string[])[] = [
      ["dlq", "list"],
      ["dlq", "list", "--json"],
      ["dlq", "show", EVIL],
      ["dlq", "redrive", "--dry-run"],
      ["result", EVIL],
      ["result", "odd"],
      ["result", "fine"],
      ["result", `none${EVIL}`, "--raw"],
      ["call", "cli.add", "--queue", EVIL],
    ];
    for (const command of commands) {
      // One after the other: they hide from each other what they look at.
      const { stdout, stderr } = await here.start([...command, "-A", module]).exited;
      expect([command, stdout.replace(HARM, "HARM"), stderr.replace(HARM, "HARM")]).toEqual([command, stdout, stderr]);
    }
    const { stdout } = await here.start(["result", "fine", "-A", module]).exited;
    expect(JSON.parse(/^result: (.*)$/m.exec(stdout)?.[1] ?? "")).toBe(EVIL);
  });
});

/** What the command says of an error that ends it. */
function reported(error: unknown): string {
  const lines: string[] = [];
  const spy = vi.spyOn(console, "error").mockImplementation((line: string) => void lines.push(line));
  report(error, false);
  spy.mockRestore();
  return lines.join("\n");
}

/** Commands that show nothing of anybody's but by their logs, ask first, go on without end, or are shown in tests of their own. */
const ELSEWHERE = ["init", "dev", "worker", "dlq delete", "env", "events", "board", "mcp", "child"];

/** With what each command is asked for it. `EVIL` is a queue, a worker, an entry, a task and its id. */
const ASKED: readonly (readonly string[])[] = [
  ...[
    "active",
    "reserved",
    "waiting",
    "scheduled",
    "stats",
    "ping",
    "conf",
    "functions",
    "queues",
    "registered",
  ].flatMap((what) => [
    ["inspect", what],
    ["inspect", what, "--json"],
  ]),
  ...["status", "queues", "tasks", "failures", "beat list", "beat plan"].flatMap((what) => [
    what.split(" "),
    [...what.split(" "), "--json"],
  ]),
  ["workflow", EVIL],
  ["workflow", EVIL, "--json"],
  ["dlq", "list"],
  ["dlq", "show", EVIL],
  ["dlq", "redrive", "--dry-run"],
  ["result", EVIL],
  ["call", "cli.add", "--queue", EVIL],
  ["control", "rate-limit", EVIL, "1/s"],
  ["control", "rate-limit", "cli.add", EVIL],
  ["control", "pause", EVIL],
  ["control", "resume", EVIL],
  ["control", "shutdown", EVIL],
  ["retry", EVIL],
  ["retry", "--failed", "--task", EVIL, "--dry-run"],
  ["retry", "--failed", "--dry-run", "--json"],
  ["revoke", EVIL],
  ["forget", EVIL, "--yes"],
  ["purge", "-Q", EVIL, "--yes"],
  ["beat", "clear"],
];

test("what any command shows of workers, runs, failures, entries and queues is harmless", async () => {
  const leaves = (command: Command, above: readonly string[] = []): string[] =>
    command.commands.flatMap((one) => {
      const name = [...above, one.name()];
      return one.commands.length > 0 ? leaves(one, name) : [name.join(" ")];
    });
  const begins = (words: readonly string[], leaf: string) => `${words.join(" ")} `.startsWith(`${leaf} `);
  expect(leaves(await createProgram()).filter((leaf) => !ASKED.some((words) => begins(words, leaf)))).toEqual(
    ELSEWHERE,
  );

  const { app, start: command, worker: start } = await withHarm();
  const following = [[], ["--json"]].map((form) => command(["events", "--from", "1h", ...form, "-A", module]));
  vi.stubEnv("LOVAGE_BROKER_URL", app.config.brokerUrl);
  onTestFinished(() => {
    vi.unstubAllEnvs();
    process.exitCode = 0;
  });
  const hang = app.task(
    "shown.hang",
    { bind: true, queue: "media" },
    (self) =>
      new Promise<void>((_, reject) => {
        self.signal.addEventListener("abort", () => reject(self.signal.reason));
      }),
  );
  class Evil extends Error {
    override readonly name = EVIL;
  }
  const fail = app.task("shown.fail", { queue: "media" }, () => {
    throw new Evil(EVIL);
  });
  const worker = await startWorker(app, { queues: ["media"], hostname: EVIL, concurrency: 2 });
  onTestFinished(() => worker.abort());
  await hang.applyAsync([], { taskId: `runs ${EVIL}` });
  const failed = await fail.applyAsync([], { taskId: `fails ${EVIL}`, argsrepr: EVIL } as object);
  await app.beat.put(EVIL, { task: "shown.fail", schedule: 60, args: [EVIL] });
  await expect(failed.get({ timeout: 60 })).rejects.toThrow();

  const broker = await app.engine.broker();
  await broker.send([
    { queue: "celery", body: envelope({ task: EVIL, id: "unknown" }) },
    { queue: "celery", body: envelope({ task: "cli.fail", id: EVIL + EVIL }) },
    { queue: "celery", body: envelope({ task: "cli.add", id: `bad${EVIL}`, body: EVIL }) },
  ]);
  for (const args of [[], ["--log-format", "json"]]) {
    const { stdout, stderr, says } = await start(["-l", "debug", "-Q", "celery", ...args]);
    if (args.length === 0) await says(/is now a dead letter/);
    expect([stdout().replace(HARM, "HARM"), stderr().replace(HARM, "HARM")]).toEqual([stdout(), stderr()]);
  }

  for (const { says, stdout } of following) {
    await says(/shown\.fail[\s\S]*forged/);
    expect(stdout().replace(HARM, "HARM")).toBe(stdout());
  }
  for (const command of ASKED) {
    const shown = await lovage(...command).catch(reported);
    expect([command, shown.replace(HARM, "HARM")]).toEqual([command, shown]);
  }
});

test.each<[string, () => unknown]>([
  ["a broker in memory", () => openMemory("memory://me:secret@here?a=1", { now: Date.now } as never)],
  ["results in memory", () => openMemoryResults("memory://me:secret@here?a=1", {} as never)],
  ["a file with a host", () => parseUrl("sqlite://me:secret@host/jobs.db")],
  ["a file with a parameter", () => parseUrl("sqlite:///jobs.db?password=secret")],
  ["a file with a bad percent sign", () => parseUrl("sqlite:///%zz?password=secret")],
  ["a queue service with a bad percent sign", () => parseAwsUrl("brokerUrl", "sqs://key:secret%zz@eu-west-1", {}, [])],
  ["a table with a bad percent sign", () => parseAwsUrl("resultBackend", "dynamodb://eu-west-1/secret%zz", {}, [])],
])("the error about the URL of %s says what is wrong, and no password", (_, open) => {
  expect(open).toThrow(ImproperlyConfigured);
  expect(open).toThrow(/^(?!.*secret)/s);
});

test("a worker says where it works without the password", () => {
  const app = new Lovage("shown", { brokerUrl: "memory://me:secret@here" });
  expect(showUrl(app.config.brokerUrl)).toBe("memory://me:**@here");
});
