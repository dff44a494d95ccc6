import { beatEntry, Lovage } from "lovage";

const app = new Lovage("types");
const add = app.task("add", (x: number, y: number) => x + y);
const tick = app.task("tick", () => 1);

beatEntry(add, { schedule: 30, args: [1, 2] });
beatEntry(add, { schedule: 30, kwargs: { x: 1, y: 2 } });
beatEntry(tick, { schedule: 30 });
// @ts-expect-error: a text is no number.
beatEntry(add, { schedule: 30, args: ["1", 2] });
// @ts-expect-error: one is missing.
beatEntry(add, { schedule: 30, args: [1] });
// @ts-expect-error: all are missing.
beatEntry(add, { schedule: 30 });
// @ts-expect-error: no such option of a call.
beatEntry(tick, { schedule: 30, options: { queu: "a" } });
