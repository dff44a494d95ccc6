/** Sends tasks and reads what becomes of them. Needs a worker: `lovage worker -A ./tasks.ts -l info`. */
import { TaskError } from "lovage";
import { add, app, div, multiply, unsteady } from "./tasks.ts";

const sum = await add.delay(4, 4);
console.log("id      ", sum.id);
console.log("ready   ", await sum.ready());
console.log("get     ", await sum.get({ timeout: 10 }));
console.log("ready   ", await sum.ready());
console.log("status  ", await sum.status());
console.log("result  ", await sum.result());

const later = await add.applyAsync([1, 2], { countdown: 2 });
console.log("in 2 s  ", await later.get({ timeout: 10 }));

const routed = await multiply.delay(3, 7);
console.log("routed  ", await routed.get({ timeout: 10 }));

// Must have begun within a second and is not due before three: it ends without having run.
const expired = await add.applyAsync([1, 2], { countdown: 3, expires: 1 });
const error = await expired.get({ timeout: 10, propagate: false });
console.log("expired ", await expired.status(), String(error));

try {
  await (await div.delay(4, 0)).get({ timeout: 10 });
} catch (thrown) {
  if (!(thrown instanceof TaskError)) throw thrown;
  console.log("failed  ", thrown.name, thrown.message);
}

console.log("retried ", await (await unsteady.delay(2)).get({ timeout: 15 }));

await app.close();
