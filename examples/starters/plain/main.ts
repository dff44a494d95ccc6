/** Sends a task, shows how far it comes, and waits for what it gives. */
import { app, build } from "./tasks.ts";

const result = await build.delay("Ada", 5);
for await (const progress of result.stream({ timeout: 60 })) console.log(progress);
console.log(await result.get({ timeout: 60 }));
await app.close();
