import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { service } from "./service.ts";
import { app } from "./tasks.ts";

const server = service.listen(Number(process.env["PORT"] ?? 3000));
await once(server, "listening");
console.log(`http://localhost:${(server.address() as AddressInfo).port}`);

await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
server.close();
server.closeAllConnections();
await app.close();
