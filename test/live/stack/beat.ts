import { createBeatHandler } from "lovage/lambda";
import { app } from "./beat-tasks.ts";

export const handler = createBeatHandler(app);
