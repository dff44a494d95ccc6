/** What a report is ordered with. The service checks it before it sends, the worker before it runs. */
import { z } from "zod";

export const Order = z.strictObject({
  customer: z.string().min(1).max(100),
  lines: z.array(z.object({ item: z.string(), price: z.number().nonnegative(), count: z.int().positive() })).min(1),
});
