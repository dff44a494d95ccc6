/** What both sides must agree on: a caller that does not load the tasks still finds their queue. */
import type { ConfigInput } from "lovage";

export const settings: ConfigInput = {
  taskQueues: { celery: {}, reports: { timeLimit: 120 } },
  taskRoutes: { "reports.*": { queue: "reports" } },
  taskTrackStarted: true,
};
