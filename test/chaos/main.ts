/**
 * `npm run test:chaos [-- tasks kills seed]`: workers under `kill -9`, then damaged messages. Prints its figures and its
 * seed, and fails when a figure is off.
 */
import { fuzz } from "./fuzz.ts";
import { chaos, faults } from "./kill.ts";

const [tasks = 10_000, kills = 200, seed = Date.now() % 1_000_000] = process.argv.slice(2).map(Number);
console.error(`chaos: ${tasks} tasks, ${kills} kills, seed ${seed}`);
const killing = await chaos(tasks, kills, seed);
console.error(JSON.stringify({ ...killing, unexplained: killing.unexplained.length }, null, 2));
const fuzzing = await fuzz(tasks * 10, seed);
console.error(JSON.stringify({ ...fuzzing, faults: fuzzing.faults.slice(0, 10) }, null, 2));

const wrong = [...faults(killing, kills), ...fuzzing.faults.slice(0, 10)];
for (const fault of wrong) console.error(`FAILED: ${fault}`);
process.exitCode = wrong.length === 0 ? 0 : 1;
