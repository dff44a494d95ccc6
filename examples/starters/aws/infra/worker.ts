import { createWorkerHandler } from "lovage/lambda";
import { app } from "../tasks.ts";

export const handler = createWorkerHandler(app);
