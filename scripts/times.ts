/**
 * No text that is a time goes through `Date`, which reads one without an offset in the zone of the process: `parseTime` of
 * `src/protocol/time.ts` does, in UTC. Run by `npm run lint`; `test/ground/times.test.ts` sees it fail.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** What may stand in `new Date(…)`: numbers of milliseconds, by how they begin. Add to it what is one by its type. */
const MILLISECONDS =
  /^(\d|Date\.UTC\(|parseTime\(|date\.getTime\(\)|now\b|ms\)|day\)|wall\)|slot\)|at\)|since\)|time\b|(?:schedule\.|value\.)?instant\)|delivery\.sentAt\)|eta === null \? engine\.clock\.now\(\) : parseTime\()/;

/** A sentence for each place of a module that may read a text. */
export function textTimes(file: string, source: string): readonly string[] {
  return source.split("\n").flatMap((line, index) => {
    const code = line.replace(/^\s*(\/\/|\*|\/\*).*/, "");
    const dates = [...code.matchAll(/\bnew Date\((?!\))\s*(.*)/g)].filter(
      ([, given = ""]) => !MILLISECONDS.test(given),
    );
    const found = [...dates, ...code.matchAll(/\bDate\.parse\b/g)];
    return found.map(() => `${file}:${index + 1} may read a text by Date: use parseTime of src/protocol/time.ts`);
  });
}

if (import.meta.main) {
  const root = join(import.meta.dirname, "..");
  // What browsers are sent is not ours alone: uPlot's code stands in it.
  const files = globSync("src/**/*.ts", { cwd: root }).filter((file) => !file.endsWith("board/assets/texts.ts"));
  const wrong = files.flatMap((file) => textTimes(file, readFileSync(join(root, file), "utf8")));
  for (const sentence of wrong) console.error(sentence);
  if (wrong.length > 0) process.exitCode = 1;
}
