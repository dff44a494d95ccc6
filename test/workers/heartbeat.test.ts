/** The thread that keeps what a worker has in hand: it is there before the worker is, and what becomes of it is noticed. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { promisify } from "node:util";
import { build } from "esbuild";
import { Lovage } from "lovage";
import { startWorker } from "lovage/worker";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { startAhead } from "../../src/cli/heartbeat-ahead.ts";
import { anchorUrl } from "../../src/file-url.ts";
import { taskKey } from "../../src/results/backend.ts";
import { open } from "../../src/results/memory.ts";
import { openDatabase } from "../../src/sqlite/database.ts";
import { prepareHeartbeat } from "../../src/workers/heartbeat.ts";
import { asBeat, beatMemory, beatOnce, betweenBeats, hadOrder, type Holding } from "../../src/workers/holding.ts";

const run = promisify(execFile);

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "lovage-heartbeat-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const PROGRAM = `
  import { Lovage } from "lovage";
  import { startWorker } from "lovage/worker";
  console.log("the app's own code");
  const app = new Lovage("bundled", { brokerUrl: process.env.BROKER, brokerTransportOptions: { visibilityTimeout: 1 } });
  const block = app.task("block", { timeLimit: 0.5 }, () => {
    for (const end = performance.now() + 2500; performance.now() < end; );
    return "late";
  });
  async function main() {
    const worker = await startWorker(app, { log: (level, line) => level === "error" && console.log(line.split("\\n")[0]) });
    console.log("ready");
    const result = await block.delay();
    console.log("outcome", await result.get({ timeout: 60, propagate: false }).then(String));
    await worker.stop();
    await app.close();
  }
  void main();
`;

describe.each([
  ["ECMAScript", "esm", "mjs"],
  ["CommonJS", "cjs", "cjs"],
] as const)("in a bundle of one file, %s,", (_, format, ending) => {
  test("it comes up, runs none of the app's code, and lets a process live that is not the worker's own", async () => {
    const place = folder();
    const src = join(import.meta.dirname, "../../src");
    writeFileSync(join(place, "main.ts"), PROGRAM);
    const outfile = join(place, `main.${ending}`);
    await build({
      entryPoints: [join(place, "main.ts")],
      outfile,
      bundle: true,
      platform: "node",
      format,
      logLevel: "error",
      alias: { "lovage/worker": join(src, "workers/index.ts"), lovage: join(src, "index.ts") },
      banner:
        format === "esm"
          ? { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' }
          : {},
    });
    // What a start script has loaded before all else, and what no thread may do.
    writeFileSync(join(place, "before.cjs"), "process.umask(0o027);");
    const { stdout } = await run(process.execPath, [outfile], {
      cwd: place,
      env: { ...process.env, BROKER: "sqlite:///jobs.db", NODE_OPTIONS: `--require ${join(place, "before.cjs")}` },
    });
    // What is told of a run, and who waits for it, go their own ways.
    expect(stdout.trim().split("\n").sort()).toEqual([
      expect.stringMatching(/^Task block\[.*\] raised unexpected: TimeLimitExceeded/),
      expect.stringMatching(/^block\[.*\] blocks this process beyond its time limit, and cannot be stopped$/),
      "outcome TimeLimitExceeded: the time limit of 0.5 s passed",
      "ready",
      "the app's own code",
    ]);
  });
});

test.each(["jobs.db", "jobs.db-wal", "jobs.db-shm"])(
  "the file %s that is removed under a worker is noticed, and the worker stops",
  async (file) => {
    const place = folder();
    const app = new Lovage("tasks", {
      brokerUrl: `sqlite:///${join(place, "jobs.db")}`,
      brokerTransportOptions: { visibilityTimeout: 0.6 },
    });
    onTestFinished(() => app.close());
    const lines: string[] = [];
    const worker = await startWorker(app, { concurrency: 1, log: (_, line) => void lines.push(line) });
    rmSync(join(place, file));
    expect(await worker.ended).toBe("stopped");
    expect(lines.join("\n")).toMatch(new RegExp(`the worker stops, .*the file .*/${file} was removed or replaced`));
  },
);

test("it brings into the file what was committed, so that no task waits for the disk", async () => {
  const file = join(folder(), "jobs.db");
  const app = new Lovage("logged", { brokerUrl: `sqlite:///${file}` });
  const echo = app.task("echo", (text: string) => text);
  const worker = await startWorker(app, { log: () => {} });
  onTestFinished(async () => {
    await worker.stop();
    await app.close();
  });
  const text = "x".repeat(100_000);
  expect(await (await echo.delay(text)).get()).toBe(text);
  // Until then the log alone has the result, which is far from long enough to be brought in by who commits.
  await vi.waitFor(() => expect(statSync(file).size).toBeGreaterThan(text.length), 60_000);
});

test.skipIf(process.platform === "win32")(
  "where that fails, it is said once, and tasks go on",
  async () => {
    const file = join(folder(), "jobs.db");
    const database = await openDatabase(`sqlite:///${file}`, { random: Math.random });
    await database.write((db) =>
      db.exec("CREATE TABLE filler (x); INSERT INTO filler VALUES (zeroblob(5000000)), (zeroblob(5000000))"),
    );
    await database.close();
    const program = `
      import { Lovage } from "lovage";
      import { startWorker } from "lovage/worker";
      const app = new Lovage("logged", { brokerUrl: ${JSON.stringify(`sqlite:///${file}`)} });
      const echo = app.task("echo", (text) => text);
      const worker = await startWorker(app, { log: (level, line) => level !== "info" && console.log(line) });
      for (let n = 0; n < 3; n++) {
        console.log(await (await echo.delay("done")).get({ timeout: 60 }));
        await new Promise((resolve) => setTimeout(resolve, 700));
      }
      await worker.stop();
      await app.close();`;
    // The process may write the first 2 MB of a file at most: its log, but not the end of the file that was there before.
    const source = new URL("../../scripts/source.ts", import.meta.url).href;
    const { stdout } = await run("sh", [
      "-c",
      'ulimit -f 4000; exec "$@"',
      "sh",
      process.execPath,
      ...["--import", source, "--input-type=module", "--eval", program],
    ]);
    const lines = stdout.trim().split("\n").sort();
    expect(lines).toEqual([expect.stringMatching(/^Changes stay in the log .*jobs\.db/), "done", "done", "done"]);
  },
  60_000,
);

test("what a run has settled or handed back itself was taken over by nobody", async () => {
  const backend = open("memory://beats", { now: Date.now, random: Math.random, options: {} });
  const now = Date.now();
  const claim = { type: "claim", now, attempt: 0, lease: now + 1000, result: "{}", hidden: false } as const;
  await backend.apply([
    { ...claim, key: "settled", owner: "a" },
    { type: "final", key: "settled", now, attempt: 0, owner: "a", result: "{}", done: true, hidden: false },
    { ...claim, key: "released", owner: "a" },
    { type: "release", key: "released", now, owner: "a" },
    { ...claim, key: "taken", owner: "b" },
  ]);
  const holdings = ["settled", "released", "taken"].map(
    (key, id): Holding => ({
      id,
      delivery: { queue: "celery", receipt: "", messageId: "" },
      claim: { key, owner: "a" },
      deadline: Number.POSITIVE_INFINITY,
    }),
  );
  const broker = { changeVisibility: async () => [] } as never;
  expect(await beatOnce(broker, backend, holdings, now, 1000)).toEqual([{ id: 2, finding: "lost" }]);
  await backend.close();
});

test.each([
  ["sqlite://", "/srv/app", "sqlite:////srv/app/.lovage/lovage.db"],
  ["sqlite:///jobs.db?synchronous=full", "/srv/app", "sqlite:////srv/app/jobs.db?synchronous=full"],
  ["sqlite:///jobs.db", "/", "sqlite:////jobs.db"],
  ["sqlite:///jobs.db", "/srv/50%?#", "sqlite:////srv/50%25%3F%23/jobs.db"],
  ["sqlite:////var/jobs.db", "/srv/app", "sqlite:////var/jobs.db"],
  ["sqlite:///C:/jobs.db", "C:\\srv", "sqlite:///C:/jobs.db"],
  ["sqlite:///jobs.db", undefined, "sqlite:///jobs.db"],
  ["sqlite://jobs.db", "/srv/app", "sqlite://jobs.db"],
  ["memory://jobs", "/srv/app", "memory://jobs"],
  ["sqs://eu-west-1", "/srv/app", "sqs://eu-west-1"],
])("%s made in %s is %s from then on", (url, from, expected) => {
  expect(anchorUrl(url, from)).toBe(expected);
});

describe("a thread that is prepared", () => {
  const start = () => {
    const file = join(mkdtempSync(join(tmpdir(), "lovage-ahead-")), "lovage.db");
    const app = new Lovage("ahead", { brokerUrl: `sqlite:///${file}` });
    onTestFinished(async () => {
      await app.close();
      rmSync(join(file, ".."), { recursive: true });
    });
    return { app, worker: startWorker(app, { log: () => {} }) };
  };

  test("becomes the next heartbeat", async () => {
    const thread = startAhead();
    prepareHeartbeat(thread);
    const told = vi.fn();
    thread.on("message", told);
    const worker = await start().worker;
    expect(told).toHaveBeenCalledWith({ ready: true });
    await worker.stop();
  });

  test("is not missed where it has ended", async () => {
    const thread = startAhead();
    prepareHeartbeat(thread);
    await thread.terminate();
    const worker = await start().worker;
    await worker.stop();
  });
});

/** As much of SQS as a worker needs that has one message and answers no beat before it may. Every change of a visibility is kept. */
async function sqsThatHolds(body: string) {
  const hides: number[] = [];
  const { promise: beaten, resolve: isBeaten } = Promise.withResolvers<void>();
  const { promise: mayAnswer, resolve: answer } = Promise.withResolvers<void>();
  let isOut = false;
  const server = createServer(async (request, response) => {
    const asked = (await json(request)) as { readonly Entries?: readonly { readonly VisibilityTimeout: number }[] };
    const say = (value: unknown) =>
      response.writeHead(200, { "content-type": "application/x-amz-json-1.0" }).end(JSON.stringify(value));
    switch (String(request.headers["x-amz-target"]).split(".")[1]) {
      case "GetQueueUrl":
        return say({ QueueUrl: `http://${request.headers.host}/000000000000/celery` });
      case "ReceiveMessage": {
        if (isOut) return void setTimeout(() => say({}), 50);
        isOut = true;
        const MD5OfBody = createHash("md5").update(body).digest("hex");
        const Attributes = { ApproximateReceiveCount: "1", SentTimestamp: String(Date.now()) };
        return say({ Messages: [{ MessageId: "m", ReceiptHandle: "r", Body: body, MD5OfBody, Attributes }] });
      }
      case "ChangeMessageVisibilityBatch": {
        const [visibility = 0] = (asked.Entries ?? []).map(({ VisibilityTimeout }) => VisibilityTimeout);
        if (visibility > 0) {
          isBeaten();
          await mayAnswer;
        }
        hides.push(visibility);
        return say({ Successful: [], Failed: [] });
      }
      default:
        return say({});
    }
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  onTestFinished(() => void server.close().closeAllConnections());
  const { port } = server.address() as AddressInfo;
  return { brokerUrl: `sqs://key:secret@127.0.0.1:${port}`, hides, beaten, answer };
}

test.each([
  ["a short message", ""],
  ["one that the board has no room for", "x".repeat(5_000)],
])(
  "%s that is handed back while a beat is under way is handed back after it, and is in no beat any more",
  async (_, text) => {
    const resultBackend = `sqlite:///${join(folder(), "results.db")}`;
    const sender = new Lovage("sender", { brokerUrl: `memory://held-${crypto.randomUUID()}` });
    const { id } = await sender.sendTask("wait", [text], { timeLimit: 60 });
    const [sent] = await (await sender.engine.broker()).receive("celery", { max: 1, wait: 0 });
    await sender.close();
    const { brokerUrl, hides, beaten, answer } = await sqsThatHolds(sent?.body ?? "");
    const app = new Lovage("held", { brokerUrl, resultBackend, brokerTransportOptions: { visibilityTimeout: 1 } });
    onTestFinished(() => app.close());
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    app.task("wait", () => {
      begin();
      return new Promise(() => {});
    });
    const worker = await startWorker(app, { concurrency: 1 });
    await begun;
    await beaten;
    const lease = async () => (await (await app.engine.backend()).read([taskKey(id)]))[0]?.lease;
    expect(await lease()).toBeDefined();
    const stopped = worker.abort();
    // A task that is given up has no lease any more: then its message is to be handed back.
    await expect.poll(lease).toBeUndefined();
    expect(hides).toEqual([]);
    answer();
    await stopped;
    expect(hides.at(-1)).toBe(0);
    expect(hides.filter((visibility) => visibility === 0)).toHaveLength(1);
  },
);

test("what was dropped by an order is taken to be in a beat until the heartbeat has had the order", async () => {
  const beats = beatMemory();
  let isOut = false;
  const waiting = betweenBeats(beats, 1).then(() => {
    isOut = true;
  });
  // No beat is under way, and the next may begin before the order comes.
  await asBeat(beats, async () => {});
  expect(isOut).toBe(false);
  hadOrder(beats);
  await waiting;
  await betweenBeats(beats, 1);
});
