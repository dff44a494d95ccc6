/** What cdk-nag would find and that is meant, each with its reason. */
import { Stack, Validations } from "aws-cdk-lib";
import type { IConstruct } from "constructs";

/** Says that a finding of AWS's Solutions pack is meant. */
export function acknowledge(scope: IConstruct, finding: string, reason: string): void {
  Validations.of(scope).acknowledge({ id: `AwsSolutions::AwsSolutions-${finding}`, reason });
}

/** The finding of a resource with a `*` in a policy. */
export const wildcard = (scope: IConstruct, arn: string): string =>
  `IAM5[Resource::${shown(Stack.of(scope).resolve(arn))}]`;

type Arn =
  | string
  | { readonly Ref: string }
  | { readonly "Fn::GetAtt": readonly string[] }
  | { readonly "Fn::Join": readonly [string, readonly Arn[]] };

/** An ARN as cdk-nag shows it. */
function shown(arn: Arn): string {
  if (typeof arn === "string") return arn;
  if ("Ref" in arn) return `<${arn.Ref}>`;
  if ("Fn::GetAtt" in arn) return `<${arn["Fn::GetAtt"].join(".")}>`;
  return arn["Fn::Join"][1].map(shown).join(arn["Fn::Join"][0]);
}
