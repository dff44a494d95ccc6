/** A fresh process that imports a bundle, and sends requests by it, one after the other: `send.js <bundle> <requests>` */
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

// What is not what was asked for the server refuses.
for (let index = 0; index < WARM_UP; index++) await send();
const before = process.cpuUsage();
const from = performance.now();
for (let index = 0; index < Number(requests); index++) await send();
const { user, system } = process.cpuUsage(before);
tell("warm", { cpu: (user + system) / Number(requests), wall: ((performance.now() - from) * 1000) / Number(requests) });
process.exit(0);
