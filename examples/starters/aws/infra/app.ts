import { App } from "aws-cdk-lib";
import { TasksStack } from "./stack.ts";

const app = new App();
new TasksStack(app, "Shop", { isLocal: app.node.tryGetContext("local") === "true" });
