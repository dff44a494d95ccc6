import { once } from "node:events";
import { serve } from "@hono/node-server";
import { service } from "./service.ts";
import { app } from "./tasks.ts";

const port = Number(process.env["PORT"] ?? 3000);
const server = serve({ fetch: service.fetch, port }, (info) => console.log(`http://localhost:${info.port}`));

await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
server.close();
await app.close();
