import "reflect-metadata";
import { NestFactory } from "@nestjs/core";
import { AppModule } from "./app.module.ts";

const server = await NestFactory.create(AppModule, { logger: ["error", "warn"] });
server.enableShutdownHooks();
await server.listen(Number(process.env["PORT"] ?? 3000));
console.log((await server.getUrl()).replace("[::1]", "localhost"));
