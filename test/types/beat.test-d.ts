import { beatEntry, Lovage } from "lovage";

const app = new Lovage("types");
const add = app.task("add", (x: number, y: number) => x + y);
const tick = app.task("tick", () => 1);

beatEntry(add, { schedule: 30, args: [1, 2] });
beatEntry(add, { schedule: 30, kwargs: { x: 1, y: 2 } });
beatEntry(tick, { schedule: 30 });
// What is wrong with an argument is said of that argument, and not of `kwargs`, which would stand in its place.
beatEntry(add, {
  schedule: 30,
  // @ts-expect-error: a text is no number.
  args: ["1", 2],
});
beatEntry(add, {
  schedule: 30,
  // @ts-expect-error: one is missing.
  args: [1],
});
beatEntry(add, { schedule: 30, args: [1], kwargs: { y: 2 } });
// @ts-expect-error: all are missing.
beatEntry(add, { schedule: 30 });
// @ts-expect-error: no such option of a call.
beatEntry(tick, { schedule: 30, options: { queu: "a" } });
