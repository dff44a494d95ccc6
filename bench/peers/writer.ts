/** A process of the bench `writers`: `loop` sends without a pause, `paced` one text every few milliseconds. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Lovage } from "lovage";

const SECONDS = 2;
const EVERY_MS = 5;

const [role] = process.argv.slice(2);
const app = new Lovage("writers", { brokerUrl: "sqlite:///writers.db", resultBackend: "sqlite:///writers.db" });
const broker = await app.engine.broker();
const entries = Array.from({ length: role === "loop" ? 50 : 1 }, () => ({ queue: "writers", body: "x".repeat(500) }));
await broker.send(entries);
console.log(JSON.stringify({ event: "ready" }));
await once(process.stdin, "data");

const from = performance.now();
const due = (SECONDS * 1000) / EVERY_MS;
let writes = 0;
for (let turn = 1; performance.now() - from < SECONDS * 1000; turn++) {
  const [refused] = await broker.send(entries);
  if (refused) throw refused;
  writes++;
  if (role !== "paced") continue;
  // What could not be written in time is not made up for.
  turn = Math.max(turn, Math.ceil((performance.now() - from) / EVERY_MS));
  await sleep(Math.max(0, from + turn * EVERY_MS - performance.now()));
}
console.log(JSON.stringify({ event: "wrote", writes, due, seconds: (performance.now() - from) / 1000 }));
await app.close();
process.exit(0);
