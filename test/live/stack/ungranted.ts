/**
 * The repository's stack, with one right of the worker's taken away: `-c without=dynamodb:PutItem`. Its functions are given other
 * numbers of messages than they were, so that a deployment changes their event source mappings.
 */
import { App, CfnResource, CliCredentialsStackSynthesizer } from "aws-cdk-lib";
import { LovageStack } from "../../../infra/stack.ts";

const cdk = new App();
const without = String(cdk.node.tryGetContext("without"));
const { tasks } = new LovageStack(cdk, "Lovage", {
  enforceSSL: false,
  synthesizer: new CliCredentialsStackSynthesizer(),
});
const policy = tasks.queue("celery").function.role?.node.findChild("DefaultPolicy").node.defaultChild;
if (!(policy instanceof CfnResource)) throw new Error("the worker's role has no policy");
policy.addPropertyOverride("PolicyDocument.Statement", [{ Effect: "Allow", NotAction: without, Resource: "*" }]);
for (const mapping of tasks.node.findAll()) {
  if (CfnResource.isCfnResource(mapping) && mapping.cfnResourceType === "AWS::Lambda::EventSourceMapping")
    mapping.addPropertyOverride("BatchSize", 3);
}
