/** The service on Cloudflare Workers: where the queue is, and with which key, are the worker's variables and secrets. */
import { Lovage } from "lovage";
import { createService } from "./service.ts";
import { settings } from "./settings.ts";
import type { build } from "./tasks.ts";

interface Env {
  /** `sqs://KEY:SECRET@eu-west-1?queue_name_prefix=shop-` */
  readonly BROKER_URL: string;
  /** `dynamodb://KEY:SECRET@eu-west-1/shop-results` */
  readonly RESULT_BACKEND: string;
}

export default {
  /** An app for each request: making one opens nothing, and what one request opens is not to be used by another. */
  fetch(request: Request, env: Env): Response | Promise<Response> {
    const app = new Lovage("reports", { ...settings, brokerUrl: env.BROKER_URL, resultBackend: env.RESULT_BACKEND });
    return createService(app, { build: app.taskRef<typeof build>("reports.build") }).fetch(request);
  },
};
