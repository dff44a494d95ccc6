/** Every command that prints data prints it as JSON too, in the shape that its help names, and nothing else beside it. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { startWorker } from "lovage/worker";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { createProgram } from "../../src/cli/program.ts";
import { writeWorker } from "../../src/control/rows.ts";
import { envelope } from "../flow/envelopes.ts";
import { asItWas, lovage, place } from "./run.ts";

/** What serves, asks, or prints one value: nothing that a program would have to take apart. */
const WITHOUT: readonly string[] = [
  ...["init", "dev", "worker", "beat", "board", "mcp"],
  // Its id, or its result, which is JSON.
  "call",
  ...["beat clear", "control rate-limit", "control pause", "control resume", "control shutdown"],
];

/** What is printed of each: a type of the API, whose fields its page names, or the fields themselves. */
type Of = string | readonly string[];
interface Shape {
  readonly is: "one" | "list" | "byName" | "listsByName" | "lines";
  readonly of: Of;
  /** There is none of it in this scene. */
  readonly none?: boolean;
}
/** A value that has no fields. */
const PLAIN: Of = [];

const SHAPES: Readonly<Record<string, readonly [args: string | undefined, shape: Shape]>> = {
  result: ["fails", { is: "one", of: ["id", "state", "result", "error", "traceback", "dateDone"] }],
  queues: ["", { is: "list", of: ["queue", "ready", "delayed", "inFlight", "deadLetters", "paused"] }],
  "dlq list": ["", { is: "list", of: "ShownLetter" }],
  "dlq show": ["letter", { is: "list", of: "ShownLetter" }],
  "dlq redrive": ["--yes --id none,letter", { is: "one", of: ["count", "failed"] }],
  "dlq delete": ["--id none", { is: "one", of: ["count", "failed"] }],
  "inspect active": ["", { is: "listsByName", of: "TaskInHand" }],
  "inspect reserved": ["", { is: "listsByName", of: "TaskInHand" }],
  "inspect waiting": ["", { is: "list", of: "WaitingTask", none: true }],
  "inspect scheduled": ["", { is: "byName", of: PLAIN }],
  "inspect stats": ["", { is: "byName", of: "WorkerInfo" }],
  "inspect ping": ["", { is: "byName", of: ["ok", "seen"] }],
  "inspect conf": ["", { is: "one", of: "Config" }],
  "inspect functions": ["", { is: "list", of: "FunctionState", none: true }],
  "inspect queues": ["", { is: "list", of: "QueueState" }],
  "inspect registered": ["", { is: "byName", of: PLAIN }],
  status: ["", { is: "one", of: ["workers", "functions", "queues", "lastHour"] }],
  tasks: ["", { is: "list", of: "JournalEntry" }],
  failures: ["", { is: "list", of: "FailureGroup" }],
  workflow: ["fails", { is: "one", of: "Workflow" }],
  "beat plan": [
    "",
    {
      is: "list",
      of: ["name", "task", "enabled", "schedule", "zone", "runs", "rule", "change", "warnings"],
    },
  ],
  "beat list": ["", { is: "list", of: "RuntimeEntry" }],
  // It has no app: `env.test.ts` runs it.
  env: [undefined, { is: "byName", of: PLAIN }],
  revoke: ["fails later", { is: "one", of: "ChangedTasks" }],
  retry: ["fails none", { is: "list", of: ["id", "sent", "reason"] }],
  forget: ["--dry-run fails", { is: "one", of: "ChangedTasks" }],
  purge: ["-y", { is: "byName", of: PLAIN }],
  // All that was done until here.
  events: ["--from 1h --limit 5", { is: "lines", of: "JournalEntry" }],
};

const visible = (command: Command, path: string): readonly (readonly [string, Command])[] => {
  const below = command.commands.filter((one) => one.name() !== "help" && one.name() !== "child");
  const own = below.length === 0 || command.name() === "beat" ? [[path, command] as const] : [];
  return [...own, ...below.flatMap((one) => visible(one, `${path} ${one.name()}`.trim()))];
};

/** The fields that the pages of the API give a type. */
const PAGES = join(import.meta.dirname, "../../docs/reference/api");
const SECTIONS: ReadonlyMap<string, string> = new Map(
  readdirSync(PAGES).flatMap((page) =>
    readFileSync(join(PAGES, page), "utf8")
      .split(/^## /m)
      .map((section) => [section.slice(0, section.indexOf("\n")), section] as const),
  ),
);
function fieldsOf(of: Of): readonly string[] {
  if (typeof of !== "string") return of;
  const section = SECTIONS.get(of);
  if (section === undefined) throw new Error(`no page of the API has ${of}`);
  const bases = [...(/extends (.*?)\. /.exec(section)?.[1] ?? "").matchAll(/\[`(\w+)`\]/g)].map(
    ([, base = ""]) => base,
  );
  return [...[...section.matchAll(/^\| `(\w+)\??` /gm)].map(([, name = ""]) => name), ...bases.flatMap(fieldsOf)];
}

/** The values that have the fields. */
function valuesOf(printed: string, { is }: Shape): readonly unknown[] {
  if (is === "lines") return printed.split("\n").map((line) => JSON.parse(line) as unknown);
  const value = JSON.parse(printed) as object;
  if (is === "one") return [value];
  if (is === "list") return value as unknown[];
  return Object.values(value).flat(is === "listsByName" ? 1 : 0);
}

beforeEach(asItWas);

test("each command has --json, and its help says of what shape, or it prints no data", async () => {
  const commands = visible(await createProgram(), "");
  const names = commands.map(([path]) => path);
  expect([...names].sort()).toEqual([...WITHOUT, ...Object.keys(SHAPES)].sort());
  for (const [path, command] of commands) {
    const json = command.options.find(({ long }) => long === "--json");
    expect([path, json !== undefined]).toEqual([path, path in SHAPES]);
    if (json === undefined) continue;
    const [, { of }] = SHAPES[path] as (typeof SHAPES)[string];
    expect(json.description).toMatch(/^as JSON: \S/);
    for (const word of typeof of === "string" ? [] : of)
      expect([path, json.description]).toEqual([path, expect.stringContaining(word)]);
  }
});

test("what is printed has the shape", async () => {
  const { app } = place();
  vi.stubEnv("LOVAGE_BROKER_URL", app.config.brokerUrl);
  vi.stubEnv("RUNS", "/dev/null");
  const fails = app.task("cli.fail", () => {
    throw new RangeError("too far");
  });
  await fails.applyAsync([], { taskId: "fails" });
  await app.beat.put("hourly", { task: "cli.fail", schedule: 3600 });
  await (await app.engine.broker()).send([
    {
      queue: "celery-dlq",
      body: envelope({ task: "cli.add", id: "letter", args: [1, 2] }),
      attributes: {
        id: "letter",
        task: "cli.add",
        reason: "no room",
        error: "Reject",
        queue: "celery",
        deliveries: "1",
      },
    },
  ]);
  const worker = await startWorker(app, { hostname: "one@here" });
  onTestFinished(() => worker.stop());
  await app.result("fails").get({ propagate: false, timeout: 60 });
  // As another reports that has tasks in hand.
  const one = await vi.waitUntil(async () => (await app.control.inspect().stats())["one@here"], { timeout: 60_000 });
  const inHand = { id: "runs", task: "cli.nap", queue: "celery" };
  const two = { ...one, name: "two@here", active: [{ ...inHand, started: 0 }], reserved: [inHand] };
  await writeWorker(await app.engine.backend(), two, false);
  for (const [path, [args, shape]] of Object.entries(SHAPES)) {
    if (args === undefined) continue;
    const printed = await lovage(...path.split(" "), ...args.split(" ").filter(Boolean), "--json");
    const values = valuesOf(printed, shape);
    if (shape.none !== true) expect([path, values.length > 0]).toEqual([path, true]);
    const fields = fieldsOf(shape.of);
    for (const value of fields.length === 0 ? [] : values)
      expect([path, Object.keys(value as object).filter((key) => !fields.includes(key))]).toEqual([path, []]);
  }
});
