/** Tasks by beat's hand: each run is a line of a file, which `RUNS` names. */
import { appendFileSync } from "node:fs";
import { Lovage } from "lovage";

const { RUNS = "" } = process.env;

export const app = new Lovage("ticks", {
  beatSchedule: { tick: { task: "ticks.note", schedule: 10, args: ["tick"] } },
});

export const note = app.task("ticks.note", { bind: true }, (self, word: string) => {
  appendFileSync(RUNS, `${word} ${self.request.id} ${Date.now()}\n`);
});

/** Puts an entry, as a task on AWS does. */
app.task("ticks.schedule", (name: string) => app.beat.put(name, { task: "ticks.note", schedule: 10, args: [name] }));
