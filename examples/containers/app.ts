import { App } from "aws-cdk-lib";
import { loadApp } from "lovage/cdk";
import { StudioStack } from "./stack.ts";

new StudioStack(new App(), "Studio", { app: loadApp("tasks.ts") });
