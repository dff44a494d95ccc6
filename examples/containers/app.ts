import { App } from "aws-cdk-lib";
import { StudioStack } from "./stack.ts";

new StudioStack(new App(), "Studio");
