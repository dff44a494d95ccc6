import { once } from "node:events";
import { service } from "./service.ts";

console.log(await service.listen({ port: Number(process.env["PORT"] ?? 3000) }));

await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
await service.close();
