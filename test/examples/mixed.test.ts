/** The mixed example as its README runs it: Celery's worker, ours, and a caller in each language. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createQueues } from "../../src/brokers/sqs.ts";
import { createTable } from "../../src/results/dynamodb.ts";
import { ROOT, run, terminal } from "../live/commands.ts";
import { emulator, emulatorUrl } from "../live/emulators.ts";
import { celeryPython } from "../python/python.ts";

const [aws, python] = await Promise.all([emulator("ministack"), celeryPython("5.7")]);

describe.skipIf(aws === undefined || python === undefined)("the mixed example", () => {
  const children: ChildProcess[] = [];
  const folder = mkdtempSync(join(tmpdir(), "lovage-mixed-"));
  afterAll(async () => {
    await Promise.all(
      children.map((child) => {
        const gone = once(child, "close");
        child.kill("SIGKILL");
        return gone;
      }),
    );
    rmSync(folder, { recursive: true });
  });

  test("runs: Python's chord has its body here, and an order's total comes from Python", async () => {
    if (aws === undefined || python === undefined) return;
    const endpoint = aws.endpoint.replace("127.0.0.1", "localhost");
    await createQueues(emulatorUrl("sqs", aws, "?queue_name_prefix=shop-"), ["reports", "celery"]);
    await createTable(emulatorUrl("dynamodb", aws, "/shop-results"));
    // Python leaves its compiled files beside the module.
    copyFileSync(join(ROOT, "examples/mixed/shop.py"), join(folder, "shop.py"));
    const env = terminal({ ...aws.env, AWS_ENDPOINT_URL: endpoint });
    const node = ["--import", join(ROOT, "scripts/source.ts"), join(ROOT, "examples/mixed/worker.ts")];
    const start = (command: string, args: readonly string[]) =>
      children.push(spawn(command, args, { cwd: folder, env, stdio: "ignore" }));
    start(python, ["-m", "celery", "-A", "shop", "worker", "-P", "solo", "-Q", "celery", "-l", "INFO"]);
    start(process.execPath, node);
    const [fromPython, fromOurs] = await Promise.all([
      run(python, ["shop.py"], { cwd: folder, env }),
      run(process.execPath, [...node, "order", "7"], { cwd: folder, env }),
    ]);
    expect(fromPython).toMatchObject({
      code: 0,
      output: expect.stringContaining("order 7: 2 copies, 59.8 in total\n"),
    });
    expect(fromOurs).toMatchObject({ code: 0, output: "order 7: 59.8\n" });
  });
});
