import { App } from "aws-cdk-lib";
import { ReportsStack } from "./stack.ts";

new ReportsStack(new App(), "Reports");
