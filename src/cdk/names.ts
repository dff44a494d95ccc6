/** Names of what is deployed: known when the app is synthesized, and each taken once in an account and region. */
import { Annotations, Duration, Size, Stack, Token } from "aws-cdk-lib";
import type { Construct, IConstruct } from "constructs";
import { ImproperlyConfigured } from "../errors.ts";
import { isPlain } from "../parse.ts";
import { NOT_KNOWN_AT_SYNTH } from "../placeholder.ts";

/**
 * Refuses what is known at deployment only, and what has such a value in it. A name that is cut, translated or put into a URL
 * would be made of the placeholder's own text, which changes with the rest of the app: everything named so would then be
 * replaced, with what is in it. And what a function knows by its code has no values of the deployment.
 */
export function checkLiteral(setting: string, value: unknown): void {
  const seen = new Set<unknown>();
  // Not by calls of itself: a value may contain itself, or be nested deeper than the stack is.
  const open: (readonly [setting: string, value: unknown])[] = [[setting, value]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [at, one] = next;
    const isMeasure = one instanceof Duration || one instanceof Size;
    if (isMeasure ? one.isUnresolved() : Token.isUnresolved(one))
      throw new ImproperlyConfigured(at, NOT_KNOWN_AT_SYNTH);
    if (seen.has(one)) continue;
    seen.add(one);
    if (Array.isArray(one)) for (const [i, each] of one.entries()) open.push([`${at}[${i}]`, each]);
    else if (isPlain(one))
      for (const [name, each] of Object.entries(one)) open.push([`${at}.${name}`, each], [at, name]);
  }
}

/** The stack that is deployed: a nested one is part of that. */
export function deployedStack(scope: Construct): Stack {
  let stack = Stack.of(scope);
  while (stack.nestedStackParent !== undefined) stack = stack.nestedStackParent;
  return stack;
}

/** `Shop-`, after the stack that is deployed. */
export function defaultPrefix(scope: Construct): string {
  const stack = deployedStack(scope);
  checkLiteral("stackName", stack.stackName);
  return `${stack.stackName}-`;
}

const taken = new WeakMap<IConstruct, Map<string, string>>();

/**
 * Takes names for what a construct makes. Throws `ImproperlyConfigured` where another of the same CDK app makes one of
 * that name in the same account and region. Stacks that name neither are taken to be deployed to the same.
 *
 * @param names By what they are the names of: `queue`.
 */
export function takeNames(scope: Construct, names: Readonly<Record<string, readonly string[]>>): void {
  const { root, path } = scope.node;
  const all = taken.get(root) ?? new Map<string, string>();
  taken.set(root, all);
  const place = placeOf(scope);
  for (const [kind, each] of Object.entries(names)) {
    for (const name of each) {
      const key = `${place}\n${kind}\n${name}`;
      const other = all.get(key);
      // Of the app's own names none are twice the same: it is what was given here.
      if (other === path)
        throw new ImproperlyConfigured(
          "tableName",
          `two of ${path} would be called ${name}: give the table another name`,
        );
      if (other !== undefined) {
        throw new ImproperlyConfigured(
          "prefix",
          `the ${kind} ${name} of ${path} is made by ${other} already, in the same account and region: give one of them a prefix of its own, or their stacks an env. If they are of one app, make one of them: a TaskQueues deploys all queues of an app, with its workers (entry) and its beat (beatEntry)`,
        );
      }
      all.set(key, path);
    }
  }
}

const placeOf = (scope: Construct): string => {
  const { account, region } = Stack.of(scope);
  return [account, region].map((part) => (Token.isUnresolved(part) ? "" : part)).join("/");
};

const prefixes = new WeakMap<
  IConstruct,
  { readonly place: string; readonly prefix: string; readonly path: string }[]
>();

/** SQS lists queues by what their names begin with, and so an operator of the shorter prefix finds the queues of the longer. */
export function warnOfPrefix(scope: Construct, prefix: string): void {
  const { root, path } = scope.node;
  const own = { place: placeOf(scope), prefix, path };
  const all = prefixes.get(root) ?? [];
  prefixes.set(root, [...all, own]);
  for (const other of all) {
    if (other.place !== own.place) continue;
    const [shorter, longer] = prefix.length < other.prefix.length ? [own, other] : [other, own];
    if (!longer.prefix.startsWith(shorter.prefix)) continue;
    Annotations.of(scope).addWarningV2(
      `lovage:prefix:${longer.path}`,
      `the names of ${longer.path} (${longer.prefix}) begin like those of ${shorter.path} (${shorter.prefix || "no prefix"}), in the same account and region: lovage queues, lovage dlq and the board of ${shorter.path} show the queues and dead letters of both, and send back or delete them. Give one of them a prefix that does not begin like the other's`,
    );
  }
}
