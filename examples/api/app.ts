import { App } from "aws-cdk-lib";
import { loadApp } from "lovage/cdk";
import { ReportsStack } from "./stack.ts";

new ReportsStack(new App(), "Reports", { app: loadApp("tasks.ts") });
