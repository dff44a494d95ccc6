/**
 * The tutorial in half a minute: a worker with beat in a process of its own, tasks sent from this one, on the embedded
 * default in a temporary folder. Ends with 1, and says why, when anything is not as it should be.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const lovage = fileURLToPath(new URL("bin/lovage.js", import.meta.resolve("lovage/package.json")));
const module = join(import.meta.dirname, "tasks.ts");
const folder = mkdtempSync(join(tmpdir(), "lovage-demo-"));
for (const variable of ["LOVAGE_BROKER_URL", "LOVAGE_RESULT_BACKEND"]) delete process.env[variable];
// Without a broker URL, messages and results are in .lovage/lovage.db of the current folder.
process.chdir(folder);
const { add, app, div, greet, multiply, unsteady } = await import("./tasks.ts");

const timeout = 20;
const say = (text: string) => console.log(`\n== ${text}`);
const show = (what: string, value: unknown) => console.log(`   ${what.padEnd(28)}${String(value)}`);

/** The lines of the worker, and who waits for one. */
const lines: string[] = [];
const waiting = new Set<() => void>();

function startWorker(): ChildProcess {
  const worker = spawn(process.execPath, [lovage, "worker", "-A", module, "-B", "-l", "info", "-n", "demo"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  createInterface({ input: worker.stdout }).on("line", (line) => {
    console.log(`worker | ${line}`);
    lines.push(line);
    for (const look of waiting) look();
  });
  return worker;
}

/** Waits for a line of the worker's. */
function line(pattern: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => settle(() => reject(new Error(`the worker did not say ${pattern}`))), timeout * 1000);
    const settle = (how: () => void) => {
      clearTimeout(late);
      waiting.delete(look);
      how();
    };
    const look = () => {
      for (const text of lines) {
        const found = pattern.exec(text);
        if (found !== null) return settle(() => resolve(found));
      }
    };
    waiting.add(look);
    look();
  });
}

async function demo(): Promise<void> {
  say("A worker with beat starts in a process of its own: lovage worker -A ./tasks.ts -B -l info -n demo");
  const worker = startWorker();
  try {
    await line(/demo@\S+ ready\./);
    await tour();
    say("The worker is asked to stop: it finishes what runs and ends with 0.");
    worker.kill("SIGTERM");
    const [code] = (await once(worker, "exit", { signal: AbortSignal.timeout(timeout * 1000) })) as [number | null];
    show("its exit code", code);
    assert.equal(code, 0);
  } finally {
    worker.kill("SIGQUIT");
  }
}

async function tour(): Promise<void> {
  say("A task that is due in 3 seconds is sent first: add.applyAsync([1, 2], { countdown: 3 })");
  const sent = Date.now();
  const delayed = await add.applyAsync([1, 2], { countdown: 3 });
  show("ready() now", await delayed.ready());
  assert.equal(await delayed.ready(), false);

  say("A task: add.delay(4, 4)");
  const sum = await add.delay(4, 4);
  show("get()", await sum.get({ timeout }));
  show("status()", await sum.status());
  assert.equal(await sum.result(), 8);
  assert.equal(await sum.status(), "SUCCESS");

  say("A bound task, which looks at its own message: greet.delay('you')");
  const greeting = await (await greet.delay("you")).get({ timeout });
  show("get()", greeting);
  assert.match(greeting, /^Hello you, says demo@.*; my arguments were \["you"\]$/);

  say("A task that fails: div.delay(4, 0). The worker logs the stack, get() throws the error.");
  const failed = await div.delay(4, 0);
  await assert.rejects(failed.get({ timeout }), (error: Error) => {
    show("get() threw", `${error.name}: ${error.message}`);
    return error.name === "RangeError" && error.message === "division by zero";
  });
  show("status()", await failed.status());
  assert.equal(await failed.status(), "FAILURE");

  say("A task that fails twice and is run again each time, a second later: unsteady.delay(2)");
  const retried = await (await unsteady.delay(2)).get({ timeout });
  show("get()", retried);
  assert.equal(retried, "done by attempt 3");

  say("The task that was to wait 3 seconds");
  show("get()", await delayed.get({ timeout }));
  const waited = ((await delayed.dateDone())?.getTime() ?? 0) - sent;
  show("seconds after its sending", (waited / 1000).toFixed(1));
  assert.equal(await delayed.result(), 3);
  assert.ok(waited >= 2_900, "it ran too soon");

  say("A task that the settings route to a queue of its own, and its row as it is stored: multiply.delay(3, 7)");
  const product = await multiply.delay(3, 7);
  show("get()", await product.get({ timeout }));
  console.log(`   lovage result ${product.id} --raw`);
  const raw = execFileSync(process.execPath, [lovage, "result", "-A", module, product.id, "--raw"], {
    encoding: "utf8",
  });
  show(`celery-task-meta-${product.id}`, `\n   ${raw}`);
  const { status, result, task_id, queue, children, traceback } = JSON.parse(raw) as Record<string, unknown>;
  assert.deepEqual(
    { status, result, task_id, queue, children, traceback },
    { status: "SUCCESS", result: 21, task_id: product.id, queue: "task_multiply_queue", children: [], traceback: null },
  );

  say("A slot of beat's schedule: greet-every-5-seconds");
  const [, id = "", slot] = await line(/greet-every-5-seconds: sent tasks\.greet \[(\S+)\] for (\S+)/);
  const greeted = await app.result<string>(id).get({ timeout });
  show("the slot", slot);
  show("get()", greeted);
  assert.match(greeted, /^Hello beat, /);
}

try {
  await demo();
  say("That was the tutorial. All of it is in examples/tutorial.");
} catch (error) {
  console.error(`\nThe demo went wrong: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await app.close();
  process.chdir(tmpdir());
  rmSync(folder, { recursive: true, force: true });
}
