import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { module, place, type Place } from "./run.ts";

/** Runs a command to its end. */
const run = (args: readonly string[], env?: Record<string, string>) => place().start(args, env).exited;

test.each([["worker"], ["beat"], ["call"], ["result"], ["purge"], ["queues"], ["inspect", "registered"]])(
  "%s %s --help shows examples and exit codes",
  async (...command) => {
    const { code, stdout, stderr } = await run([...command, "--help"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain(`Usage: lovage ${command.join(" ")}`);
    expect(stdout).toContain("-A, --app <module[:export]>");
    expect(stdout).toContain("Exit codes: 0 ");
    expect(stdout).toMatch(new RegExp(`Examples:\n( {2}\\$ lovage ${command.join(" ")}.*\n)+$`));
  },
);

test("the command by itself shows what there is, and not what it starts for itself", async () => {
  const { stdout } = await run(["--help"]);
  expect(stdout).toContain("worker [options]");
  expect(stdout).not.toContain("child");
});

const app = (name: string) => `new Lovage(${JSON.stringify(name)})`;
const head = `import { Lovage } from "lovage";\n`;

test.each([
  ["app", `export const app = ${app("it")}; export default ${app("no")};`, "m.ts"],
  ["the default export", `export default ${app("it")}; export const other = ${app("no")};`, "m.ts"],
  ["the only one", `export const other = ${app("it")}; export const x = 1;`, "m.ts"],
  ["the one that is named", `export const app = ${app("no")}; export const other = ${app("it")};`, "m.ts:other"],
  ["one without its ending", `export const app = ${app("it")};`, "m"],
])("-A finds %s", async (_, source, given) => {
  const { folder, start } = place();
  const register = `\nfor (const a of [${/other/.test(source) ? "other" : "app"}]) a.task("t.it", () => {});`;
  writeFileSync(join(folder, "m.ts"), head + source + (/default/.test(source) ? "" : register));
  const { code, stderr } = await start(["inspect", "registered", "-A", given]).exited;
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
});

const tasks = `${head}export const app = ${app("a")}; app.task("t.it", () => {});`;
const manifest = (fields: Record<string, unknown>) =>
  JSON.stringify({ name: "@shop/tasks", type: "module", ...fields });

test.each([
  ["a folder by its index", "./jobs", { "jobs/index.ts": tasks }],
  ["one by its main", "jobs", { "jobs/package.json": manifest({ main: "src/m.ts" }), "jobs/src/m.ts": tasks }],
  ["one by its exports", "./jobs", { "jobs/package.json": manifest({ exports: "./m.ts" }), "jobs/m.ts": tasks }],
  ["the one that it is called in", ".:app", { "index.ts": tasks }],
  ["a package by its main", "@shop/tasks", { "jobs/package.json": manifest({ main: "m.ts" }), "jobs/m.ts": tasks }],
  [
    "a package by what an import gets",
    "@shop/tasks",
    { "jobs/package.json": manifest({ exports: { ".": { import: "./m.ts" } } }), "jobs/m.ts": tasks },
  ],
  [
    "a module of a package, and an export of it",
    "@shop/tasks/all:app",
    { "jobs/package.json": manifest({ exports: { "./*": { import: "./src/*.ts" } } }), "jobs/src/all.ts": tasks },
  ],
])("-A finds %s", async (_, given, files) => {
  const { code, stdout, stderr } = await workspace(files).start(["inspect", "registered", "-A", given]).exited;
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: expect.stringContaining("t.it"), stderr: "" });
});

test("the setting include finds them too", async () => {
  const { start } = workspace({
    "app.ts": `${head}export const app = new Lovage("a", { include: ["./mails", "@shop/tasks"] });`,
    "mails/index.ts": `import { app } from "../app.ts"; app.task("mails.it", () => {});`,
    "jobs/package.json": manifest({ exports: { import: "./m.ts" } }),
    "jobs/m.ts": `import { app } from "../app.ts"; app.task("jobs.it", () => {});`,
  });
  const { code, stdout, stderr } = await start(["inspect", "registered", "-A", "app"]).exited;
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/jobs\.it[\s\S]*mails\.it/);
});

test.each([
  ["./jobs", /there is no module \.\/jobs \(looked for \/\S+\/jobs\)/],
  ["@shop/tasks", /there is no module @shop\/tasks \(looked for \/\S+\/@shop\/tasks\/dist\/m\.js\)/],
  ["@shop/tasks/none", /there is no module @shop\/tasks\/none \(looked for \/\S+\/@shop\/tasks\/none\)/],
])("-A %s says where it looked when nothing has been built", async (given, words) => {
  const { start } = workspace({ "jobs/package.json": manifest({ exports: "./dist/m.js" }), "jobs/m.ts": tasks });
  const { code, stderr } = await start(["inspect", "registered", "-A", given]).exited;
  expect([code, stderr]).toEqual([2, expect.stringMatching(words)]);
});

/** A folder with these files, in which the folder `jobs` is linked as a workspace of npm's is. */
function workspace(files: Readonly<Record<string, string>>): Place {
  const here = place();
  mkdirSync(join(here.folder, "node_modules/@shop"), { recursive: true });
  symlinkSync("../../jobs", join(here.folder, "node_modules/@shop/tasks"));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(here.folder, name, ".."), { recursive: true });
    writeFileSync(join(here.folder, name), text);
  }
  return here;
}

test.each([
  ["./tsaks.ts", "./tasks.ts"],
  ["tsaks", "./tasks"],
  ["./tasks.js", "./tasks.ts"],
  ["./scr/tasks.ts", "./src/tasks.ts"],
  ["./scr/tsaks.ts:app", "./src/tasks.ts"],
  ["./src/../tsaks.ts", "./tasks.ts"],
])("-A %s, which is not there, is answered with %s", async (given, near) => {
  const { folder, start } = place();
  mkdirSync(join(folder, "src"));
  for (const file of ["tasks.ts", "src/tasks.ts"])
    writeFileSync(join(folder, file), `${head}export const a = ${app("a")};`);
  const { code, stderr } = await start(["inspect", "registered", "-A", given]).exited;
  expect([code, stderr.trim().replace(/^.*; /, "")]).toEqual([2, `did you mean ${near}?`]);
});

test("a module of the setting include that is not there is answered with the one of the nearest name", async () => {
  const { folder, start } = place();
  writeFileSync(join(folder, "m.ts"), `${head}export const a = new Lovage("a", { include: ["./emial.ts"] });`);
  writeFileSync(join(folder, "email.ts"), "export {};");
  const { code, stderr } = await start(["inspect", "registered", "-A", "m.ts"]).exited;
  expect([code, stderr]).toEqual([
    2,
    expect.stringMatching(/no module \.\/emial\.ts .*; did you mean \.\/email\.ts\?$/m),
  ]);
});

test.each([
  [["beat"], "await new Promise(() => {});"],
  [["call", "t.it"], "await new Promise(() => {});"],
])("%j does not end as if it were done where its module does not load: %s", async (command, source) => {
  const { folder, start } = place();
  writeFileSync(join(folder, "m.ts"), `${head}export const app = ${app("a")}; app.task("t.it", () => 1); ${source}`);
  const { code, stdout, stderr } = await start([...command, "-A", "m.ts"]).exited;
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toMatch(/^lovage: --app: m\.ts could not be loaded: its code ended the process, or awaits .*\n$/);
});

test.each(
  [["call", "t.it"], ["worker"], ["worker", "-P", "processes"], ["beat"], ["board", "--port", "0"], ["mcp"]].flatMap(
    (command) => ["process.exit(0)", "process.exit(3)"].map((source) => [command, source] as const),
  ),
)("%j says which module ended it, and where, by %s", async (command, source) => {
  const { folder, start } = place();
  writeFileSync(join(folder, "config.ts"), `export const check = () => {\n  ${source};\n};`);
  writeFileSync(join(folder, "m.ts"), `import { check } from "./config.ts"; check();`);
  const { code, stdout, stderr } = await start([...command, "-A", "m.ts"]).exited;
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr.replace(/at file:\S*\//, "at ")).toBe(
    `lovage: --app: m.ts could not be loaded: its code ended the process by ${source}, at config.ts:2:11\n`,
  );
});

test("dev says which module ended its worker, and waits for it to be mended", async () => {
  const { folder, start } = place();
  writeFileSync(join(folder, "m.ts"), "process.exit(3);");
  const dev = start(["dev", "-A", "m.ts", "--no-board", "--no-beat"]);
  await dev.says(/m\.ts could not be loaded: its code ended the process by process\.exit\(3\), at .*m\.ts:1:9/);
  await dev.says(/m\.ts could not be loaded\. It is tried again when a file is saved\./);
});

test("an error that a module's own code threw later is told of as Node does, and once", async () => {
  const { folder, start } = place();
  writeFileSync(join(folder, "m.ts"), `setTimeout(() => { throw new Error("late"); }); await new Promise(() => {});`);
  const { code, stderr } = await start(["call", "t.it", "-A", "m.ts"]).exited;
  expect([code, stderr]).toEqual([1, expect.stringContaining("Error: late")]);
  expect(stderr).not.toContain("could not be loaded");
});

test("a worker says that its module still loads", async () => {
  const { folder, start } = place();
  writeFileSync(join(folder, "m.ts"), `${head}export const app = ${app("a")}; await new Promise(() => {});`);
  const waits = start(["worker", "-A", "m.ts"]);
  await waits.says(/^lovage: m\.ts still loads, after 10 s; perhaps it awaits/m);
});

test.each(
  (["worker", "beat", "board", "dev"] as const).flatMap((command) =>
    (["SIGTERM", "SIGINT", "SIGHUP"] as const).map((signal) => [command, signal] as const),
  ),
)("%s ends well by %s while its module loads, whatever that awaits", async (command, signal) => {
  const { folder, start } = place();
  writeFileSync(
    join(folder, "m.ts"),
    `console.log("loads"); setInterval(() => {}, 1000); await new Promise(() => {});`,
  );
  const waits = start([command, "-A", "m.ts", ...(command === "board" || command === "dev" ? ["--port", "0"] : [])]);
  await waits.says(/loads/);
  waits.process.kill(signal);
  expect(await waits.exited).toMatchObject({ code: 0, stderr: "" });
});

test.each(["SIGTERM", "SIGINT", "end of its input"] as const)(
  "mcp ends well by %s while its module loads",
  async (how) => {
    const { folder, start } = place();
    writeFileSync(
      join(folder, "m.ts"),
      `console.log("loads"); setInterval(() => {}, 1000); await new Promise(() => {});`,
    );
    const waits = start(["mcp", "-A", "m.ts"], {}, "pipe");
    await waits.says(/loads/);
    waits.process.stdin?.write(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n`);
    if (how === "SIGTERM" || how === "SIGINT") waits.process.kill(how);
    else waits.process.stdin?.end();
    expect(await waits.exited).toMatchObject({ code: 0, stdout: "" });
  },
);

test.each([
  [["bogus", "--help"], ""],
  [["help", "bogus"], ""],
  [["wroker", "--help"], "worker"],
  [["help", "wroker"], "worker"],
  [["beat", "plann", "--help"], "plan"],
  [["beat", "plann", "-A", "m.ts"], "plan"],
  [["help", "beat", "plann"], "plan"],
  [["dlq", "shw", "-h"], "show"],
  [["inspect", "-A", "m.ts", "quues", "--help"], "queues"],
])("%j is answered with what was meant", async (command, near) => {
  const { code, stdout, stderr } = await run(command);
  expect([code, stdout]).toEqual([2, ""]);
  const name = command.find((one) => !["help", "beat", "dlq", "inspect", "-A", "m.ts"].includes(one));
  expect(stderr.split("\n")[0]).toBe(
    `error: unknown command '${name}'${near === "" ? "" : `; did you mean "${near}"?`}`,
  );
});

test("help shows what is asked for, also below a command", async () => {
  const [one, below] = await Promise.all([run(["help", "queues"]), run(["help", "dlq", "show"])]);
  expect([one.code, one.stdout]).toEqual([0, expect.stringMatching(/^Usage: lovage queues /)]);
  expect([below.code, below.stdout]).toEqual([0, expect.stringMatching(/^Usage: lovage dlq show /)]);
});

test("LOVAGE_APP stands in for -A", async () => {
  expect(await run(["inspect", "registered"], { LOVAGE_APP: module })).toMatchObject({ code: 0, stderr: "" });
});

test.each([
  ["is missing", undefined, "mod.ts", /there is no module mod\.ts \(looked for .*\/mod\.ts\)$/m],
  ["throws", "null.x;", "m.ts", /m\.ts could not be loaded: TypeError: .* \(.*\/m\.ts:2:6\)/],
  ["has an import that is missing", `import "./none.ts";`, "m.ts", /could not be loaded: .*none\.ts/],
  [
    "is imported by what it imports",
    `import "./n.ts"; export const app = ${app("a")};`,
    "m.ts",
    /Cannot access 'app' before initialization \(.*\/n\.ts:\d+:\d+\)\. Where two modules .* setting include$/m,
  ],
  [
    "ends the process",
    "process.exit();",
    "m.ts",
    /its code ended the process by process\.exit\(0\), at .*\/m\.ts:2:9$/m,
  ],
  ["has wrong syntax", "const = 1;", "m.ts", /m\.ts could not be loaded: SyntaxError: .*\/m\.ts:2/],
  ["has a wrong setting", `new Lovage("a", { timezon: "UTC" });`, "m.ts", /timezon: .*did you mean "timezone"\?/],
  ["exports no app", "export const a = 1;", "m.ts", /m\.ts exports no Lovage app; it needs one/],
  ["exports two apps", `export const a = ${app("a")}, b = ${app("b")};`, "m.ts", /several apps, a, b: .*as in m\.ts:a/],
  ["lacks the export", `export const celery = ${app("a")};`, "m.ts:celry", /no export celry; did you mean "celery"\?/],
  ["exports something else by the name", "export const x = 1;", "m.ts:x", /the export x of m\.ts is no Lovage app/],
  [
    "has the app of another copy of the package",
    "class L { static { Object.defineProperty(this, 'name', { value: 'Lovage' }); } } export const app = new L();",
    "m.ts",
    /m\.ts exports no Lovage app of this copy of the package: run the lovage command .*, and not within tsx .* needed$/m,
  ],
  [
    "does not know the queue of -Q",
    `export const app = new Lovage("a", { taskCreateMissingQueues: false });`,
    "m.ts",
    /there is no queue "cellery"/,
  ],
  [
    "is for one process alone",
    `export const app = new Lovage("a", { brokerUrl: "memory://" });`,
    "m.ts",
    /brokerUrl: memory:/,
  ],
])("a worker whose module %s is refused in one line", async (_, source, given, wanted) => {
  const { folder, start } = place();
  if (source !== undefined) writeFileSync(join(folder, "m.ts"), head + source);
  writeFileSync(join(folder, "n.ts"), `import { app } from "./m.ts";\napp.task("n.task", () => 1);`);
  // Empty, it does not stand over the module's own.
  const { code, stdout, stderr } = await start(["worker", "-A", given, "-Q", "cellery"], { LOVAGE_BROKER_URL: "" })
    .exited;
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toMatch(/^lovage: .*\n$/);
  expect(stderr).toMatch(wanted);
});

test.each([
  [["worker"], /required option '-A, --app/],
  [["wroker"], /unknown command 'wroker'[\s\S]*worker/],
  [["beat", "plann", "-A", module], /unknown command 'plann'; did you mean "plan"\?/],
  [["worker", "-A", module, "-l", "loud"], /Allowed choices are debug, info, warning, error/],
  [["worker", "-A", module, "-c", "two"], /It must be a whole number/],
  [["worker", "-A", module, "-c", "0"], /concurrency: must be a whole number from 1 to 10000; given: 0/],
  [["tasks", "-A", module, "--limit", "-1"], /'--limit <n>' argument '-1' is invalid\. .*0 or more/],
  [["call", "-A", module, "cli.ad"], /no task is registered as "cli\.ad"; did you mean cli\.add\?/],
  [["call", "-A", module, "cli.add", "--args", "[1,"], /must be a list in JSON/],
  [["call", "-A", module, "cli.add", "--kwargs", "[]"], /must be an object in JSON/],
  [["call", "-A", module, "cli.add", "--countdown", "-1"], /0 or more/],
  [["call", "-A", module, "cli.add", "--countdown", "1", "--eta", "2030-01-01T00:00:00Z"], /not both/],
  [["purge", "-A", module], /--yes: is needed, because nobody can be asked/],
  [["purge", "-A", module, "-f", "-Q", "meda"], /there is no queue "meda"/],
])("%j ends with 2", async (args, wanted) => {
  const { code, stdout, stderr } = await run(args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toMatch(wanted);
  expect(stderr).not.toMatch(/^ +at /m);
});

test("LOVAGE_DEBUG shows the stack", async () => {
  const { stderr } = await run(["call", "-A", module, "cli.ad"], { LOVAGE_DEBUG: "1" });
  expect(stderr).toMatch(/^ +at /m);
});

test("modules of imports and include are found beside the app's", async () => {
  const { folder, start } = place();
  const lists = `{ imports: ["./more.ts"], include: "again" }`;
  writeFileSync(join(folder, "m.ts"), `${head}export const app = new Lovage("m", ${lists});`);
  writeFileSync(join(folder, "more.ts"), `import { app } from "./m.ts"; app.task("m.more", () => {});`);
  writeFileSync(join(folder, "again.ts"), `import { app } from "./m.ts"; app.task("m.again", () => {});`);
  const { stdout } = await start(["inspect", "registered", "-A", "m.ts"]).exited;
  expect(stdout).toBe("* m.again\n* m.more\n");
});

test("inspect registered shows options, as text and as JSON", async () => {
  const text = await run(["inspect", "registered", "-A", module]);
  expect(text.stdout).toContain("* cli.fail\n");
  expect(text.stdout).toContain("* cli.media [maxRetries=5 priority=3]\n");
  const { stdout } = await run(["inspect", "registered", "-A", module, "--json"]);
  expect(JSON.parse(stdout)).toMatchObject({ "cli.add": { params: ["x", "y"] }, "cli.fail": {} });
});

test("call, result, queues and purge, from the queue to the row", async () => {
  const { start, worker, app } = place();
  const done = async (...args: string[]) => start([args[0] as string, "-A", module, ...args.slice(1)]).exited;
  const words = (text: string, queue: string) =>
    text
      .split("\n")
      .find((line) => line.startsWith(queue))
      ?.split(/\s+/);

  const sent = await done("call", "cli.add", "--args", "[1]", "--kwargs", '{"y": 2}');
  expect(sent).toMatchObject({ code: 0, stderr: "", stdout: expect.stringMatching(/^[\da-f-]{36}\n$/) });
  const id = sent.stdout.trim();
  await done("call", "cli.add", "--args", "[1, 2]", "--countdown", "60");
  await done("call", "elsewhere", "--queue", "py", "--id", "my-id", "--expires", "60");
  await (await app.engine.broker()).send([{ queue: "media-dlq", body: "dead" }]);

  const before = await done("queues");
  expect(before.stdout.split("\n")[0]).toMatch(/^queue +ready +delayed +in flight +dead letters$/);
  expect(words(before.stdout, "celery")).toEqual(["celery", "1", "1", "0", "0"]);
  expect(words(before.stdout, "media")).toEqual(["media", "0", "0", "0", "1"]);
  expect(words(before.stdout, "py")).toEqual(["py", "1", "0", "0", "0"]);
  expect(before.stdout).not.toContain("media-dlq");
  expect(JSON.parse((await done("queues", "--json")).stdout)).toContainEqual({
    queue: "media",
    ready: 0,
    delayed: 0,
    inFlight: 0,
    deadLetters: 1,
  });

  expect(await done("result", id)).toMatchObject({ code: 0, stdout: `id:     ${id}\nstate:  PENDING\nresult: null\n` });
  expect(await done("result", id, "--raw")).toMatchObject({ code: 1, stdout: "" });
  const none = { result: null, error: null, traceback: null, dateDone: null };
  const pending = await done("result", id, "--json");
  expect([pending.code, JSON.parse(pending.stdout)]).toEqual([0, { id, state: "PENDING", ...none }]);
  expect(await done("result", id, "--raw", "--json")).toMatchObject({ code: 2, stdout: "" });
  expect(await done("result", id, "--wait", "0.1")).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^lovage: task .* had no result after 0\.1 s .*\n$/),
  });

  const purged = await done("purge", "-f", "-Q", "py,media-dlq");
  expect(purged).toMatchObject({ code: 0, stderr: "" });
  expect(purged.stdout).toBe("Purged 1 message from py.\nPurged 1 message from media-dlq.\n");

  await worker();
  expect((await done("result", id, "--wait", "10")).stdout).toMatch(
    /^id: {5}\S+\nstate: {2}SUCCESS\nresult: 3\ndone: {3}\S+Z\n$/,
  );
  const raw = JSON.parse((await done("result", id, "--raw")).stdout);
  expect(raw).toMatchObject({ status: "SUCCESS", result: 3, task_id: id, children: [], traceback: null });
  expect(await done("call", "cli.add", "--args", "[20, 3]", "--wait", "10")).toMatchObject({ code: 0, stdout: "23\n" });
  const failed = await done("call", "cli.fail", "--id", "bad", "--wait");
  expect(failed).toMatchObject({ code: 1, stdout: "" });
  expect(failed.stderr).toBe("lovage: task bad ended as FAILURE: RangeError: too far\n");
  const read = await done("result", "bad");
  expect(read.code).toBe(1);
  // The code is the outcome's, however it is printed.
  expect(await done("result", "bad", "--raw")).toMatchObject({ code: 1, stdout: expect.stringContaining("too far") });
  const json = await done("result", "bad", "--json");
  expect([json.code, JSON.parse(json.stdout)]).toEqual([
    1,
    {
      ...{ id: "bad", state: "FAILURE", result: null, error: { type: "RangeError", message: "too far" } },
      ...{ traceback: expect.stringContaining("RangeError"), dateDone: expect.stringMatching(/Z$/) },
    },
  ]);
  expect(read.stdout).toMatch(/state: {2}FAILURE\nerror: {2}RangeError: too far\ndone: .*\n +RangeError.*\n +at /);

  expect((await done("purge", "-f")).stdout).toBe("Purged 1 message from celery.\nPurged 0 messages from media.\n");
});
