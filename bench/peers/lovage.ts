/** Lovage on its embedded default, a file in the folder it is started in. */
import { chain, chord, Lovage } from "lovage";
import { startWorker } from "lovage/worker";
import { drive } from "./drive.ts";

const app = new Lovage("bench", { brokerUrl: "sqlite:///bench.db", resultBackend: "sqlite:///bench.db" });
const add = app.task("bench.add", (x: number, y: number) => x + y);

const increment = app.task("bench.increment", (x: number) => x + 1);
const total = app.task("bench.total", (numbers: number[]) => numbers.reduce((sum, number) => sum + number, 0));

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
        const sent = await Promise.all(Array.from({ length: count }, (_, index) => add.delay(index, 1)));
        return Promise.all(sent.map((result) => result.get()));
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
