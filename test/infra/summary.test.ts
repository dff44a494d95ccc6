import { Template } from "aws-cdk-lib/assertions";
import { expect, test } from "vitest";
import { LovageStack } from "../../infra/stack.ts";
import { unbundled } from "./deployment.ts";

/** Hashes of ids and code say nothing about what is deployed, and change with everything. */
const withoutHashes = (text: string) =>
  text.replace(/\b([A-Za-z0-9]+?)[0-9A-F]{8}\b/g, "$1").replace(/[0-9a-f]{64}/g, "<hash>");

/** A line for each property of each resource, sorted: what a change of a default changes is seen in a diff. */
function summary(template: Template): string {
  const { Resources } = template.toJSON() as {
    Resources: Record<string, { Type: string; DeletionPolicy?: string; Properties?: Record<string, unknown> }>;
  };
  const blocks = Object.entries(Resources).map(([id, { Type, DeletionPolicy, Properties = {} }]) => {
    const lines = Object.entries(Properties)
      .filter(([name]) => name !== "Code" && name !== "DashboardBody")
      .map(([name, value]) => `  ${name}: ${JSON.stringify(value)}`);
    return [`${id} ${Type}${DeletionPolicy === undefined ? "" : ` (${DeletionPolicy})`}`, ...lines.sort()].join("\n");
  });
  return `${withoutHashes(blocks.sort().join("\n\n"))}\n`;
}

test("the template is the one that was looked at last; `npx vitest run test/infra -u` writes it anew", async () => {
  await expect(summary(Template.fromStack(new LovageStack(unbundled(), "Lovage")))).toMatchFileSnapshot(
    "template-summary.txt",
  );
});
