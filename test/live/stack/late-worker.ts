import { createWorkerHandler } from "lovage/lambda";
import { app } from "./late-tasks.ts";

export const handler = createWorkerHandler(app);
