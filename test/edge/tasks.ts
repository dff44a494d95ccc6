/** What workers run for the caller beside it, which imports only the type of it. */
import type { Lovage } from "lovage";

export const declareTasks = (app: Lovage) => ({
  add: app.task("tasks.add", (x: number, y: number) => x + y),
  fail: app.task("tasks.fail", () => {
    throw new RangeError("no luck");
  }),
});

export type Tasks = ReturnType<typeof declareTasks>;
