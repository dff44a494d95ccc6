/** One of several processes at one file. Started with a role and a URL, it says "ready", and begins at the word "go". */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { DatabaseSync } from "node:sqlite";
import { open } from "../../src/brokers/sqlite.ts";

/** So many texts has each write of one that writes in a loop. */
const HOG = 50;
const [role, url = ""] = process.argv.slice(2);
const context = { now: Date.now, random: Math.random, options: {} };
const say = (message: unknown) => new Promise<void>((resolve) => process.send?.(message, () => resolve()));
const go = () => once(process, "message");

switch (role) {
  case "create": {
    await say("ready");
    await go();
    const broker = await open(url, context);
    await say(await broker.send([{ queue: "created", body: String(process.pid) }]));
    await broker.close();
    break;
  }
  case "hog": {
    const broker = await open(url, context);
    const entries = Array.from({ length: HOG }, () => ({ queue: "hog", body: "x".repeat(200) }));
    await say("ready");
    await go();
    let sends = 0;
    for (const until = performance.now() + 600; performance.now() < until; sends++) await broker.send(entries);
    await say(sends);
    // Until its parent has heard enough.
    for (;;) await broker.send(entries);
  }
  case "paced": {
    const broker = await open(url, context);
    const db = new DatabaseSync(fileURLToPath(url.replace("sqlite:///", "file://")), { readOnly: true });
    const last = db.prepare("SELECT max(id) AS id FROM message");
    // Its own text is one beside their many.
    const hogs = () => Number(last.get()?.["id"] ?? 0) / HOG;
    await say("ready");
    await go();
    // They write already.
    while (hogs() < 10) await sleep(5);
    const passed: number[] = [];
    for (let n = 0; n < 40; n++) {
      await sleep(5);
      const before = hogs();
      await broker.send([{ queue: "paced", body: "x" }]);
      passed.push(Math.floor(hogs() - before));
    }
    db.close();
    await say(passed);
    await broker.close();
    break;
  }
  case "receive": {
    const broker = await open(url, context);
    // Each takes part: it has its first before the race begins.
    let deliveries = await broker.receive("race", { max: 7, wait: 0 });
    await say("ready");
    await go();
    const found: string[] = [];
    while (deliveries.length > 0) {
      found.push(...deliveries.map((delivery) => delivery.body));
      if (found.length % 2 === 0) await broker.delete(deliveries);
      deliveries = await broker.receive("race", { max: 7, wait: 0 });
    }
    await say(found);
    await broker.close();
    break;
  }
  case "echo": {
    const broker = await open(url, context);
    await say("ready");
    await go();
    for (let body = ""; body !== "last"; ) {
      for (const delivery of await broker.receive("ping", { max: 1, wait: 5000 })) {
        body = delivery.body;
        await broker.send([{ queue: "pong", body }]);
      }
    }
    await broker.close();
    break;
  }
  case "doomed": {
    const broker = await open(url, context);
    await say("ready");
    await go();
    for (let n = 0; ; n++) {
      const [refused] = await broker.send([{ queue: "doomed", body: `${n}` }]);
      if (!refused) await say(n);
    }
  }
  case "unique": {
    const { Lovage } = await import("../../src/app.ts");
    const [callers, keys] = process.argv.slice(4);
    const app = new Lovage("race", { brokerUrl: url, resultBackend: url }, { env: {} });
    const sync = app.task("race.sync", { unique: { key: (key: string) => key, for: "running" } }, (key: string) => key);
    // All that a call needs is loaded, and the file is there.
    await sync.delay(`warm-${process.pid}`);
    await say("ready");
    await go();
    const ids: string[][] = [];
    for (let key = 0; key < Number(keys); key++) {
      const results = await Promise.all(Array.from({ length: Number(callers) }, () => sync.delay(`${key}`)));
      ids.push(results.map(({ id }) => id));
    }
    await say(ids);
    await app.close();
    break;
  }
  case "lock": {
    const db = new DatabaseSync(url);
    db.exec("BEGIN IMMEDIATE");
    await say("ready");
    await go();
    db.exec("COMMIT");
    db.close();
    break;
  }
  case "user": {
    // As a user of the system who may read the file and nothing else.
    if (process.getuid?.() === 0) process.setuid?.(Number(process.argv[4]));
    const error = await open(url, context).then(
      async (broker) => (await broker.send([{ queue: "q", body: "x" }]))[0],
      (reason: Error) => reason,
    );
    await say({ ...error, message: error?.message });
    break;
  }
  default:
    throw new Error(`no such role: ${role}`);
}
process.disconnect();
