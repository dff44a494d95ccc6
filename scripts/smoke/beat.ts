import { createBeatHandler } from "lovage/lambda";
import { app } from "./tasks.ts";
import { told } from "./told.ts";

export const handler = told(createBeatHandler(app));
