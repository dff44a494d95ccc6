/** Every place where a command shows text from a message, a row or a URL: none of it controls the terminal, or looks like ours. */
import { Lovage } from "lovage";
import { describe, expect, test } from "vitest";
import { open as openMemory } from "../../src/brokers/memory.ts";
import { showUrl } from "../../src/cli/worker.ts";
import { parseAwsUrl } from "../../src/aws/connection.ts";
import { ImproperlyConfigured } from "../../src/errors.ts";
import { open as openMemoryResults } from "../../src/results/memory.ts";
import { parseUrl } from "../../src/sqlite/database.ts";
import { taskKey } from "../../src/results/backend.ts";
import { envelope } from "../flow/envelopes.ts";
import { module, place } from "./run.ts";

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

describe("what a command shows of what anybody wrote is harmless", { timeout: 60_000 }, () => {
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
