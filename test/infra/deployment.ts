/** Stacks under test, without the bundling of their functions: a template is the same with and without. */
import { App, Stack } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import type * as iam from "aws-cdk-lib/aws-iam";
import type * as lambda from "aws-cdk-lib/aws-lambda";
import { join } from "node:path";
import { Lovage, type ConfigInput } from "lovage";
import { TaskQueues, type TaskQueuesProps } from "lovage/cdk";
import { expect } from "vitest";

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
  stack = new Stack(unbundled(), "Test"),
): Deployment {
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

export interface Resource {
  readonly Type: string;
  readonly Properties: Record<string, unknown>;
  readonly DeletionPolicy?: string;
}

export const resources = (template: Template, type: string): Record<string, Resource> =>
  template.findResources(type) as Record<string, Resource>;

type Condition = Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;

/** What the policies of one role allow, as `action resource keys`, by the logical ids of the resources. */
export function allowed({ stack, template }: Deployment, role: iam.IRole): readonly string[] {
  const id = stack.getLogicalId(role.node.defaultChild as iam.CfnRole);
  const found = Object.values(resources(template(), "AWS::IAM::Policy")).filter(
    ({ Properties }) => JSON.stringify(Properties["Roles"]) === JSON.stringify([{ Ref: id }]),
  );
  const statements = found.flatMap(
    ({ Properties }) =>
      (
        Properties["PolicyDocument"] as {
          Statement: { Action: string | string[]; Resource: unknown; Effect: string; Condition?: Condition }[];
        }
      ).Statement,
  );
  return statements
    .flatMap(({ Action, Resource, Effect, Condition }) => {
      expect(Effect).toBe("Allow");
      const keys = Condition?.["ForAllValues:StringLike"]?.["dynamodb:LeadingKeys"];
      const where = keys === undefined ? "" : ` ${[keys].flat().join(" ")}`;
      return [Action]
        .flat()
        .flatMap((action) => [Resource].flat().map((resource) => `${action} ${nameOf(resource)}${where}`));
    })
    .sort();
}

function nameOf(resource: unknown): string {
  const [id] = (resource as { "Fn::GetAtt"?: [string] })["Fn::GetAtt"] ?? [JSON.stringify(resource)];
  return id.replace(/^Tasks(Queue(?=[a-z]))?/, "").replace(/[0-9A-F]{8}$/, "");
}

export const roleOf = (fn: lambda.IFunction): iam.IRole => {
  if (fn.role === undefined) throw new Error("the function has no role");
  return fn.role;
};
