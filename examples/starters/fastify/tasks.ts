/** The tasks. A worker runs them; whoever imports this module sends them. */
import { setTimeout } from "node:timers/promises";
import { Lovage } from "lovage";

export const app = new Lovage("shop", {
  beatSchedule: { "clean-up": { task: "reports.cleanUp", schedule: 3600 } },
});

/** Writes a report page by page, and says how far it has come to whoever looks. */
export const build = app.task("reports.build", { bind: true }, async (self, customer: string, pages: number) => {
  for (let page = 1; page <= pages; page++) {
    await setTimeout(200); // stands for the work
    await self.write({ page, pages });
  }
  return { customer, pages };
});

export const cleanUp = app.task("reports.cleanUp", () => "nothing to clean up");
