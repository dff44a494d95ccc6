/** How long `lovage dev` takes from a saved file to the worker that runs it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { CACHE } from "./cache.ts";

const SAVES = 12;
/** Between two saves: beat and board are started anew after the worker, and the next worker is prepared. In milliseconds. */
const REST_MS = 5000;

export async function reload(): Promise<void> {
  mkdirSync(CACHE, { recursive: true });
  const folder = mkdtempSync(join(CACHE, "reload-"));
  const tasks = join(folder, "tasks.ts");
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  writeFileSync(
    tasks,
    `import { Lovage } from "lovage";
export const app = new Lovage("reload");
export const add = app.task("reload.add", (x: number, y: number) => x + y);
`,
  );
  const launcher = join(import.meta.dirname, "../bin/lovage.js");
  const child = spawn(process.execPath, [launcher, "dev", "-A", tasks, "--port", "0"], {
    cwd: folder,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const says = async (words: string) => {
    while (!said.includes(words)) await Promise.race([once(child.stdout, "data"), setTimeout(1000)]);
    said = "";
  };
  const took: number[] = [];
  try {
    await says(" ready.");
    for (let save = 0; save < SAVES; save++) {
      await setTimeout(REST_MS);
      said = "";
      const began = performance.now();
      appendFileSync(tasks, `// ${save}\n`);
      await says("took over");
      took.push(performance.now() - began);
    }
  } finally {
    child.kill("SIGTERM");
    await once(child, "exit");
    rmSync(folder, { recursive: true });
  }
  took.sort((a, b) => a - b);
  const at = (share: number) => Math.round(took[Math.floor(took.length * share)] ?? 0);
  console.log(
    `reload: from a save to the worker that runs it, ${SAVES} saves: ${at(0)} ms at best, median ${at(0.5)} ms, 9 of 10 in ${at(0.9)} ms (load of the machine ${loadavg()[0]?.toFixed(1)})`,
  );
}
