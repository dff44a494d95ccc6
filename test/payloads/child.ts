/** One part of the way of a large text, in a process of its own: says how much memory the process took more at most, in bytes. */
import { Lovage } from "lovage";
import { startWorker } from "lovage/worker";

const [, , part = "", brokerUrl = "", given = ""] = process.argv;

const app = new Lovage("large", { brokerUrl, resultBackend: brokerUrl });
const measure = app.task("large.measure", (text: string) => text.length);
const echo = app.task("large.echo", (value: string | Uint8Array) => value);
const make = app.task("large.export", (length: number) => textOf(length));

/** Lines of an export, with signs that are escaped, and signs that mean something in JSON. */
const textOf = (length: number): string => Buffer.alloc(length, '17,"a name",[x]:{y}\n').toString("latin1");

const peak = (): number => process.resourceUsage().maxRSS * 1024;

const parts: Readonly<Record<string, () => Promise<object>>> = {
  /** Beside the text itself. */
  async send() {
    const text = textOf(Number(given));
    const before = peak();
    const { id } = await measure.delay(text);
    return { id, taken: peak() - before };
  },
  /** The same of bytes that are no text. */
  async sendBytes() {
    const bytes = new Uint8Array(Number(given)).fill(0xf0);
    const before = peak();
    const { id } = await echo.delay(bytes);
    return { id, taken: peak() - before };
  },
  async order() {
    return { id: (await make.delay(Number(given))).id };
  },
  async work() {
    const before = peak();
    const { promise, resolve } = Promise.withResolvers<string>();
    app.on("taskPostrun", ({ state }) => resolve(state));
    const worker = await startWorker(app, { concurrency: 1 });
    const state = await promise;
    await worker.stop();
    return { state, taken: peak() - before };
  },
  async read() {
    const before = peak();
    const value = await app.result(given).get();
    return {
      value: typeof value === "string" || value instanceof Uint8Array ? value.length : value,
      taken: peak() - before,
    };
  },
};

process.stdout.write(JSON.stringify(await parts[part]?.()));
await app.close();
