/** A fresh process that imports a bundle, and gives its handler batches of ten: `invoke.js <bundle> <kind> <batches, or import alone> <result's bytes>` */
import { pathToFileURL } from "node:url";

const [bundle, kind, batches, size] = process.argv.slice(2);
const BATCH = 10;
/** Before CPU is counted: code is compiled by then. */
const WARM_UP = 100;

const wire = process.env.BENCH_WIRE === "none" ? await import("./wire.js") : undefined;
const context = { awsRequestId: "bench", functionName: "bench", getRemainingTimeInMillis: () => 60_000 };
const tell = (name, more) => console.log(JSON.stringify({ event: name, ...more }));

const cpu = process.cpuUsage();
const began = performance.now();
const { handler } = await import(pathToFileURL(bundle).href);
const importMs = performance.now() - began;
const { user: importUser, system: importSystem } = process.cpuUsage(cpu);
tell("imported", { importMs, importCpuMs: (importUser + importSystem) / 1000 });
if (batches === "import") process.exit(0);

// Not before: what it loads is not the bundle's.
const { eventOf } = await import("./event.ts");
const invoke = async () => {
  const { batchItemFailures } = await handler(eventOf(kind, BATCH, Number(size)), context);
  if (batchItemFailures.length > 0) throw new Error(`${batchItemFailures.length} records failed`);
};
for (let index = 0; index < WARM_UP; index++) await invoke();
if (wire !== undefined) wire.requests.count = 0;
const before = process.cpuUsage();
const from = performance.now();
for (let index = 0; index < Number(batches); index++) await invoke();
const { user, system } = process.cpuUsage(before);
const records = Number(batches) * BATCH;
const requests = (wire?.requests.count ?? 0) / records;
tell("warm", { requests, cpu: (user + system) / records, batchMs: (performance.now() - from) / Number(batches) });
process.exit(0);
