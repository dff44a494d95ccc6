/**
 * What `cdk deploy` deploys. `-c prefix=shop-` puts a name before all others; `-c removeData=true` lets `cdk destroy` take
 * the table and the dead letters along; `-c enforceSSL=false` is for an endpoint without TLS;
 * `-c cliCredentials=true` deploys with the caller's own rights, where the bootstrap's roles must not or cannot be taken.
 */
import { App, CliCredentialsStackSynthesizer } from "aws-cdk-lib";
import { LovageStack } from "./stack.ts";

const cdk = new App();
const context = (name: string): string | undefined => {
  const value: unknown = cdk.node.tryGetContext(name);
  return value === undefined ? undefined : String(value);
};
const prefix = context("prefix");

new LovageStack(cdk, ["Lovage", ...(prefix?.match(/[A-Za-z0-9]+/g) ?? [])].join("-"), {
  description: "Lovage: the tasks of functions/tasks.ts on SQS, Lambda, DynamoDB and EventBridge",
  prefix,
  removeData: context("removeData") === "true",
  enforceSSL: context("enforceSSL") !== "false",
  ...(context("cliCredentials") === "true" ? { synthesizer: new CliCredentialsStackSynthesizer() } : {}),
});
