/** A fresh process that imports a bundle, and sends batches of ten messages by it, one after the other: `send.js <bundle> <requests, or import alone>` */
import { pathToFileURL } from "node:url";

const [bundle, requests] = process.argv.slice(2);
/** Before CPU is counted: code is compiled by then. */
const WARM_UP = 500;
const tell = (name, more) => console.log(JSON.stringify({ event: name, ...more }));

const cpu = process.cpuUsage();
const began = performance.now();
const { send } = await import(pathToFileURL(bundle).href);
const importMs = performance.now() - began;
const { user: importUser, system: importSystem } = process.cpuUsage(cpu);
tell("imported", { importMs, importCpuMs: (importUser + importSystem) / 1000 });
if (requests === "import") process.exit(0);

const batch = {
  QueueUrl: "https://sqs.us-east-1.amazonaws.com/000000000000/bench",
  Entries: Array.from({ length: 10 }, (_, index) => ({ Id: String(index), MessageBody: "x".repeat(500) })),
};
const once = async () => {
  const { Successful } = await send(batch);
  if (Successful?.length !== 10) throw new Error(`of 10 messages ${Successful?.length} were sent`);
};
for (let index = 0; index < WARM_UP; index++) await once();
const before = process.cpuUsage();
const from = performance.now();
for (let index = 0; index < Number(requests); index++) await once();
const { user, system } = process.cpuUsage(before);
tell("warm", { cpu: (user + system) / Number(requests), wall: ((performance.now() - from) * 1000) / Number(requests) });
process.exit(0);
