/** A process of its own that claims rows one by one: `node claimer.ts <url> <owner> <keys>`. Starts on a message, answers with the outcomes' types. */
import { taskKey } from "../../src/results/backend.ts";
import { open } from "../../src/results/sqlite.ts";

const [url = "", owner = "", count = ""] = process.argv.slice(2);
const backend = await open(url, { now: Date.now, random: Math.random, options: {} });

process.once("message", async () => {
  const types: string[] = [];
  for (let index = 0; index < Number(count); index++) {
    const now = Date.now();
    const [outcome] = await backend.apply([
      {
        type: "claim",
        key: taskKey(String(index)),
        now,
        attempt: 0,
        owner,
        lease: now + 60_000,
        result: "{}",
        hidden: false,
      },
    ]);
    types.push(outcome instanceof Error ? outcome.message : (outcome?.type ?? "no answer"));
  }
  await backend.close();
  process.send?.(types, () => process.disconnect());
});
process.send?.("ready");
