/** The evaluator itself, rule by rule of IAM's own description. */
import { expect, test } from "vitest";
import { type Asked, type Decision, decide, isLike, type Statement } from "./policy.ts";

const ME = "arn:aws:iam::111111111111:role/worker";
const queue = "arn:aws:sqs:eu-west-1:111111111111:celery";
const send: Asked = { action: "sqs:SendMessage", resource: queue, context: { "aws:SecureTransport": "true" } };
const allow = (more: Partial<Statement> = {}): Statement => ({
  Effect: "Allow",
  Action: "sqs:SendMessage",
  Resource: queue,
  ...more,
});
const deny = (more: Partial<Statement> = {}): Statement => ({ ...allow(more), Effect: "Deny" });
const { Action: _, ...withoutAction } = allow();
const { Resource: __, ...withoutResource } = allow();

test.each<[what: string, Decision, identity: readonly Statement[], resource?: readonly Statement[]]>([
  ["nothing allows it", "implicit", []],
  ["its own policy allows it", "allowed", [allow()]],
  ["the name of an action has no case", "allowed", [allow({ Action: "SQS:sendmessage" })]],
  ["a list of actions", "allowed", [allow({ Action: ["sqs:ReceiveMessage", "sqs:SendMessage"] })]],
  ["an action with a wildcard", "allowed", [allow({ Action: "sqs:Send*" })]],
  ["another action", "implicit", [allow({ Action: "sqs:ReceiveMessage" })]],
  ["a resource with a wildcard", "allowed", [allow({ Resource: "arn:aws:sqs:*:111111111111:cel?ry" })]],
  ["another resource", "implicit", [allow({ Resource: `${queue}-dlq` })]],
  ["a resource that only begins alike", "implicit", [allow({ Resource: queue.slice(0, -1) })]],
  ["all actions but others", "allowed", [{ ...withoutAction, NotAction: "sqs:Delete*" }]],
  ["all actions but this", "implicit", [{ ...withoutAction, NotAction: ["sqs:Send*"] }]],
  ["all resources but others", "allowed", [{ ...withoutResource, NotResource: `${queue}-dlq` }]],
  ["all resources but this", "implicit", [{ ...withoutResource, NotResource: "*" }]],
  ["what is denied stays so, whoever allows it", "denied", [allow(), deny({ Action: "sqs:*" })]],
  ["the resource's policy allows it", "allowed", [], [allow({ Principal: { AWS: ME } })]],
  ["the resource's policy speaks of everybody", "allowed", [], [allow({ Principal: "*" })]],
  ["the resource's policy speaks of the account", "allowed", [], [allow({ Principal: { AWS: "111111111111" } })]],
  [
    "the resource's policy speaks of somebody else",
    "implicit",
    [],
    [allow({ Principal: { AWS: "arn:aws:iam::111111111111:role/web" } })],
  ],
  [
    "the resource's policy speaks of a service",
    "implicit",
    [],
    [allow({ Principal: { Service: "events.amazonaws.com" } })],
  ],
  ["the resource's policy denies it", "denied", [allow()], [deny({ Principal: { AWS: "*" } })]],
])("%s: %s", (_, decision, identity, resource) => {
  expect(decide(send, ME, identity, resource)).toBe(decision);
});

test.each<[what: string, holds: boolean, Condition: NonNullable<Statement["Condition"]>, context: Asked["context"]]>([
  ["a text that is equal", true, { StringEquals: { a: "x" } }, { a: "x" }],
  ["one of several", true, { StringEquals: { a: ["w", "x"] } }, { a: "x" }],
  ["a text that is not", false, { StringEquals: { a: "x*" } }, { a: "xy" }],
  ["a key that the request has not", false, { StringEquals: { a: "x" } }, {}],
  ["that key, where it need not be there", true, { StringEqualsIfExists: { a: "x" } }, {}],
  ["two keys, one of them wrong", false, { StringEquals: { a: "x", b: "y" } }, { a: "x", b: "z" }],
  [
    "two operators, one of them wrong",
    false,
    { StringEquals: { a: "x" }, Bool: { c: "true" } },
    { a: "x", c: "false" },
  ],
  ["a text that is not to be", false, { StringNotEquals: { a: "x" } }, { a: "x" }],
  ["a text that is another", true, { StringNotEquals: { a: "x" } }, { a: "y" }],
  ["a pattern", true, { StringLike: { a: "celery-task-meta-*" } }, { a: "celery-task-meta-1" }],
  [
    "a pattern of an ARN",
    true,
    { ArnLike: { a: "arn:aws:events:*:1:rule/x-*" } },
    { a: "arn:aws:events:e:1:rule/x-1" },
  ],
  ["which reaches over no colon", false, { ArnLike: { a: "arn:aws:*:1:rule/x" } }, { a: "arn:aws:events:e:1:rule/x" }],
  ["all values", true, { "ForAllValues:StringLike": { a: ["x*", "y"] } }, { a: ["x1", "y"] }],
  ["all values but one", false, { "ForAllValues:StringLike": { a: ["x*"] } }, { a: ["x1", "y"] }],
  ["all of no values", true, { "ForAllValues:StringLike": { a: ["x*"] } }, {}],
  ["any of the values", true, { "ForAnyValue:StringLike": { a: ["x*"] } }, { a: ["x1", "y"] }],
  ["any of no values", false, { "ForAnyValue:StringLike": { a: ["x*"] } }, {}],
  ["without TLS", true, { Bool: { "aws:SecureTransport": "false" } }, { "aws:SecureTransport": "false" }],
])("a condition: %s (%s)", (_, holds, Condition, context) => {
  expect(decide({ ...send, context }, ME, [allow({ Condition })])).toBe(holds ? "allowed" : "implicit");
});

test("an operator that is not known here is no condition that holds", () => {
  expect(() => decide(send, ME, [allow({ Condition: { IpAddress: { "aws:SourceIp": "10.0.0.0/8" } } })])).toThrow(
    "IpAddress is not known here",
  );
});

test.each<[pattern: string, text: string, isIt: boolean]>([
  ["a*c", "abbc", true],
  ["a?c", "abbc", false],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: so IAM spells a sign that stands for itself
  ["a${*}b", "a*b", true],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the same
  ["a${*}b", "axb", false],
  ["a.c", "abc", false],
  ["b'celery-task-meta-*'", "b'celery-task-meta-\n'", true],
])("%s is %s: %s", (pattern, text, isIt) => {
  expect(isLike(pattern, text)).toBe(isIt);
});
