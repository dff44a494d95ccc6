/** Takes the place of `@aws-sdk/client-eventbridge` in a function's bundle: what `beat/eventbridge.ts` uses of it. */
import { clientOf, command } from "./client.ts";

export const EventBridgeClient = clientOf({
  name: "EVENTBRIDGE",
  service: "events",
  target: "AWSEvents",
  contentType: "application/x-amz-json-1.1",
});

export const DeleteRuleCommand = command("DeleteRule");
export const DisableRuleCommand = command("DisableRule");
export const EnableRuleCommand = command("EnableRule");
export const ListRulesCommand = command("ListRules");
export const ListTargetsByRuleCommand = command("ListTargetsByRule");
export const PutRuleCommand = command("PutRule");
export const PutTargetsCommand = command("PutTargets");
export const RemoveTargetsCommand = command("RemoveTargets");
