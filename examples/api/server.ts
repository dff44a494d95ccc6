/** The service as a process. It imports the tasks, so they are what it sends; it runs none of them. */
import { once } from "node:events";
import { serve } from "@hono/node-server";
import { createService } from "./service.ts";
import { app, build } from "./tasks.ts";

const server = serve(
  { fetch: createService(app, { build }).fetch, port: Number(process.env["PORT"] ?? 3000) },
  (info) => console.log(`listening on http://localhost:${info.port}`),
);

await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
server.close();
await app.close();
