import { createBoardHandler } from "lovage/lambda";
import { app } from "./tasks.ts";

export const handler = createBoardHandler(app);
