import { App } from "aws-cdk-lib";
import { ShopStack } from "./stack.ts";

new ShopStack(new App(), "Shop");
