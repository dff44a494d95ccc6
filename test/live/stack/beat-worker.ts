import { createWorkerHandler, registerRuntimeSchedule } from "lovage/lambda";
import { app } from "./beat-tasks.ts";

registerRuntimeSchedule();
export const handler = createWorkerHandler(app);
