import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { StudioStack } from "../../examples/containers/stack.ts";
import { app } from "../../examples/containers/tasks.ts";

const example = join(import.meta.dirname, "../../examples/containers");

test("the studio's stack has a function for mails and containers for videos", () => {
  const stacks = new App({ context: { "aws:cdk:bundling-stacks": [] } });
  const template = Template.fromStack(new StudioStack(stacks, "Studio", { app }));
  template.resourceCountIs("AWS::Lambda::EventSourceMapping", 1);
  template.resourceCountIs("AWS::ECS::Service", 1);
  const [task] = Object.values(template.findResources("AWS::ECS::TaskDefinition"));
  expect(task?.["Properties"].ContainerDefinitions[0]).toMatchObject({
    Command: ["--queues", "video", "--concurrency", "1", "--grace", "110", "--cloudwatch-metrics"],
    LinuxParameters: { InitProcessEnabled: true },
    StopTimeout: 120,
  });
});

/** A unit's values by their names. */
const unit = Object.fromEntries(
  readFileSync(join(example, "lovage-worker.service"), "utf8")
    .split("\n")
    .flatMap((line) => {
      const found = /^(\w+)=(.*)$/.exec(line);
      return found === null ? [] : [[found[1], found[2]]];
    }),
) as Record<string, string>;

test("systemd gives the worker longer than its grace, and signals it alone", () => {
  const [, grace] = /--grace (\d+)/.exec(unit["ExecStart"] ?? "") ?? [];
  expect(Number(unit["TimeoutStopSec"])).toBeGreaterThan(Number(grace) + 5);
  expect(unit["KillMode"]).toBe("mixed");
  expect(unit["User"]).not.toBe("root");
});
