/** Stacks under test, without the bundling of their functions: a template is the same with and without. */
import { App, Stack } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { join } from "node:path";
import { Lovage, type ConfigInput } from "lovage";
import { TaskQueues, type TaskQueuesProps } from "lovage/cdk";
import { vi } from "vitest";

// A synthesis takes a second where the machine is free, and it seldom is while all tests run.
vi.setConfig({ testTimeout: 30_000 });

export const FUNCTIONS = join(import.meta.dirname, "../../functions");
export const unbundled = () => new App({ context: { "aws:cdk:bundling-stacks": [] } });

export interface Deployment {
  readonly stack: Stack;
  readonly tasks: TaskQueues;
  /** The template, as it is at the first call. */
  template(): Template;
}

export function deploy(
  app: Lovage,
  props: Partial<TaskQueuesProps> | ((stack: Stack) => Partial<TaskQueuesProps>) = {},
): Deployment {
  const stack = new Stack(unbundled(), "Test");
  const tasks = new TaskQueues(stack, "Tasks", {
    app,
    entry: join(FUNCTIONS, "worker.ts"),
    beatEntry: join(FUNCTIONS, "beat.ts"),
    // Tests speak of names as the app does; template.test.ts has one of the prefix that a stack gives.
    prefix: "",
    ...(typeof props === "function" ? props(stack) : props),
  });
  let template: Template | undefined;
  return { stack, tasks, template: () => (template ??= Template.fromStack(stack)) };
}

/** An app of two tasks, declared in this way. */
export function shop(config: ConfigInput = {}): Lovage {
  const app = new Lovage("shop", config, { env: {} });
  app.task("shop.add", (x: number, y: number) => x + y);
  app.task("shop.resize", { timeLimit: 30 }, (key: string) => key);
  return app;
}
