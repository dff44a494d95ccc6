import { App } from "aws-cdk-lib";
import { loadApp } from "lovage/cdk";
import { ShopStack } from "./stack.ts";

new ShopStack(new App(), "Shop", { app: loadApp("tasks.ts") });
