/** The shop's tasks. Whoever imports this module can send them. */
import { every, Lovage } from "lovage";

export const app = new Lovage("shop", {
  taskQueues: { celery: {}, "orders.fifo": {} },
  taskRoutes: { "orders.*": { queue: "orders.fifo" } },
  beatSchedule: { "tidy-up": { task: "shop.tidyUp", schedule: every({ hours: 1 }) } },
});

export const ship = app.task("orders.ship", async (order: string) => `shipped ${order}`);
export const tidyUp = app.task("shop.tidyUp", async () => process.env["CARTS"] ?? "no table");
