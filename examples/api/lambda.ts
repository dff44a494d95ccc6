/** The service as a Lambda function behind a function URL. Its bundle knows the tasks by their types and names alone. */
import { handle } from "hono/aws-lambda";
import { Lovage } from "lovage";
import { createService } from "./service.ts";
import { settings } from "./settings.ts";
import type { build } from "./tasks.ts";

const app = new Lovage("reports", settings);

export const handler = handle(createService(app, { build: app.taskRef<typeof build>("reports.build") }));
