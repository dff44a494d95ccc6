/** Lovage on its embedded default, a file in the folder it is started in. */
import { chain, chord, Lovage } from "lovage";
import { startWorker } from "lovage/worker";
import { drive } from "./drive.ts";

const url = `sqlite:///bench.db?synchronous=${process.env["BENCH_SYNCHRONOUS"] ?? "normal"}`;
const app = new Lovage("bench", {
  brokerUrl: url,
  resultBackend: url,
  journal: process.env["BENCH_JOURNAL"] !== "off",
});
const add = app.task("bench.add", (x: number, y: number) => x + y);

const increment = app.task("bench.increment", (x: number) => x + 1);
const total = app.task("bench.total", (numbers: number[]) => numbers.reduce((sum, number) => sum + number, 0));

/** Calls that are made at once, as with the peers. */
const CHUNK = 1000;

await drive({
  async worker() {
    const worker = await startWorker(app, { concurrency: 100 });
    return async () => {
      await worker.stop();
      await app.close();
    };
  },
  async submit() {
    return {
      async bulk(count) {
        const results: Promise<number>[] = [];
        for (let from = 0; from < count; from += CHUNK) {
          const length = Math.min(CHUNK, count - from);
          const sent = await Promise.all(Array.from({ length }, (_, index) => add.delay(from + index, 1)));
          for (const result of sent) results.push(result.get());
        }
        return Promise.all(results);
      },
      async one(x, y) {
        const result = await add.delay(x, y);
        return result.get();
      },
      async chord(members) {
        const header = Array.from({ length: members }, (_, index) => add.s(index, 1));
        const result = await chord(header, total.s()).applyAsync();
        return result.get();
      },
      async chain(steps) {
        // Longer than a tuple of types can be written: each step takes what the one before gives.
        const links = Array.from({ length: steps - 1 }, () => increment.s());
        const result = await chain(increment.s(0), ...(links as [])).applyAsync();
        return result.get();
      },
      close: () => app.close(),
    };
  },
});
