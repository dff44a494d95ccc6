/** One kind of work at one size, in a process of its own: `growth.ts <kind> <size>`. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { every, group, Lovage } from "lovage";
import { startWorker } from "lovage/worker";
import { scheduleEntries } from "../../src/beat/schedule.ts";
import { beatState, tick } from "../../src/beat/tick.ts";

const [kind = "", given] = process.argv.slice(2);
const size = Number(given);
const app = new Lovage("growth", { brokerUrl: "sqlite:///growth.db", resultBackend: "sqlite:///growth.db" });
const add = app.task("growth.add", (x: number, y: number) => x + y);
/** Calls that are made at once, so that what grows is what is measured and not the caller's own list of promises. */
const CHUNK = 1000;

async function send(): Promise<string[]> {
  const ids: string[] = [];
  for (let from = 0; from < size; from += CHUNK) {
    const length = Math.min(CHUNK, size - from);
    const sent = await Promise.all(Array.from({ length }, (_, index) => add.delay(from + index, 1)));
    for (const { id } of sent) ids.push(id);
  }
  return ids;
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
/** What is held in the midst of it, looked at so many times, beside what was held before: in bytes. */
const LOOKS = 5;
let most: number | undefined;
let lookedMs = 0;
let lookedCpuMs = 0;
const cpuSince = (before?: NodeJS.CpuUsage): number => {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
};
function held(): number {
  const from = performance.now();
  const cpu = process.cpuUsage();
  collect();
  lookedMs += performance.now() - from;
  lookedCpuMs += cpuSince(cpu);
  return process.memoryUsage().heapUsed;
}

/** Calls as they are asked for. */
function* calls() {
  const before = held();
  for (let index = 0; index < size; index++) {
    if (size >= CHUNK && index % (size / LOOKS) === 0) most = Math.max(most ?? 0, held() - before);
    yield add.s(index, 1);
  }
}

/** Each gives what is to be timed, and whether what it came to is right. */
const KINDS: Readonly<Record<string, () => Promise<() => Promise<boolean>>>> = {
  /** A worker comes to so many messages that wait. */
  async backlog() {
    const ids = await send();
    return async () => {
      const worker = await startWorker(app, { concurrency: 100 });
      const last = await app.result<number>(ids.at(-1) as string).get();
      for (const id of ids.slice(-CHUNK)) await app.result(id).get();
      await worker.stop();
      return last === size;
    };
  },
  /** A group of so many is sent. */
  async group() {
    await add.delay(0, 0);
    return async () => {
      const result = await group(calls()).applyAsync();
      return result.length === size;
    };
  },
  /** So many calls are sent that nobody gathers. */
  async calls() {
    await add.delay(0, 0);
    return async () => (await app.sendMany(calls())).sent === size;
  },
  /** So many results are waited for at once, and come. */
  async results() {
    const ids = await send();
    const worker = await startWorker(app, { concurrency: 100 });
    return async () => {
      const values = await Promise.all(ids.map((id) => app.result<number>(id).get()));
      await worker.stop();
      return values.every((value, index) => value === index + 1);
    };
  },
  /** So many wait behind a blocked group of a FIFO queue, and others come and go beside them, a tenth as many. */
  async fifo() {
    const broker = await app.engine.broker();
    const queue = "growth.fifo";
    const long = Array.from({ length: CHUNK }, () => ({ queue, body: "waits", groupId: "long" }));
    return async () => {
      for (let sent = 0; sent < size; sent += CHUNK) await broker.send(long.slice(0, size - sent));
      const [blocking] = await broker.receive(queue, { max: 1, wait: 0 });
      let right = blocking?.body === "waits";
      for (let index = 0; index < size / 10; index++) {
        await broker.send([{ queue, body: `${index}`, groupId: `${index}` }]);
        const found = await broker.receive(queue, { max: 10, wait: 0 });
        right &&= found.length === 1 && found[0]?.body === `${index}`;
        await broker.delete(found);
      }
      return right;
    };
  },
  /** Beat looks once at so many entries. */
  async schedule() {
    const now = 1_767_225_600_000;
    const beatSchedule = Object.fromEntries(
      Array.from({ length: size }, (_, index) => [
        `entry-${index}`,
        { task: "growth.add", schedule: every({ minutes: 1 + (index % 59) }) },
      ]),
    );
    const entries = scheduleEntries(beatSchedule);
    const state = beatState(entries, "UTC", { covered: now });
    return async () => tick(entries, "UTC", state, now + 60_000).due.length > 0;
  },
};

const prepare = KINDS[kind];
if (prepare === undefined) throw new Error(`there is no ${kind}`);
const work = await prepare();
const before = process.memoryUsage().rss;
const from = performance.now();
const cpu = process.cpuUsage();
const right = await work();
const ms = performance.now() - from - lookedMs;
const cpuMs = cpuSince(cpu) - lookedCpuMs;
const bytes = most ?? process.memoryUsage().rss - before;
console.log(JSON.stringify({ event: "grown", ms, cpuMs, right, megabytes: bytes / 2 ** 20 }));
await app.close();
process.exit(0);
