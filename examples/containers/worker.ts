/** The function of the queue `celery`. The containers of `video` need no module of their own: they run `lovage worker`. */
import { createWorkerHandler } from "lovage/lambda";
import { app } from "./tasks.ts";

export const handler = createWorkerHandler(app);
