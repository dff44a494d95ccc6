import { createBeatHandler } from "lovage/lambda";
import { app } from "../tasks.ts";

export const handler = createBeatHandler(app);
