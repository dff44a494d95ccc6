import { Module } from "@nestjs/common";
import { LovageModule } from "./lovage.module.ts";
import { Printer } from "./printer.ts";
import { ReportsController } from "./reports.controller.ts";
import { app } from "./tasks.ts";

@Module({ imports: [LovageModule.forRoot(app)], controllers: [ReportsController], providers: [Printer] })
export class AppModule {}
