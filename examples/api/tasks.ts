/** The workers' side: `lovage worker -A ./tasks.ts -Q celery,reports`. */
import { Lovage } from "lovage";
import { Order } from "./order.ts";
import { layOut } from "./pages.ts";
import { settings } from "./settings.ts";

export const app = new Lovage("reports", settings);

export const build = app.task("reports.build", { schema: Order, maxRetries: 5, bind: true }, async (self, order) => {
  if (order.customer === "nobody") throw new RangeError("nobody has no address to print on a report");
  const total = order.lines.reduce((sum, { price, count }) => sum + price * count, 0);
  const pages = layOut(order.customer, order.lines);
  for (const page of pages.keys()) await self.write({ page: page + 1, pages: pages.length });
  return { pages, total };
});
