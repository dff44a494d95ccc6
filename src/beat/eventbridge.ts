/**
 * Entries put at run time, as rules of EventBridge that call the beat function: one rule and one target for each, the
 * entry itself in what the target gives the function. What is deployed, and what is put, know nothing of each other.
 */
import {
  DeleteRuleCommand,
  DisableRuleCommand,
  EnableRuleCommand,
  EventBridgeClient,
  ListRulesCommand,
  ListTargetsByRuleCommand,
  PutRuleCommand,
  PutTargetsCommand,
  RemoveTargetsCommand,
  type Rule,
  type Target,
} from "#aws/eventbridge";
import { clientConfig, inParallel, parseAwsUrl, SQS_OPTIONS } from "../aws/connection.ts";
import { translateError } from "../aws/errors.ts";
import { ImproperlyConfigured, type LovageError, OperationalError, PayloadTooLarge } from "../errors.ts";
import { beatDeadLetters, ruleName, rulePrefix } from "./rule-name.ts";
import { cronExpression, ruleOf } from "./rules.ts";
import {
  type BeatStore,
  type BeatStoreContext,
  parseEntry,
  readEntries,
  readEntry,
  type RuntimeEntry,
  stringifyEntry,
  type UnreadableEntry,
  whereOf,
} from "./store.ts";

/** For one try of a request, in milliseconds. */
const REQUEST_TIMEOUT_MS = 5000;
/** EventBridge takes some 50 requests a second of an account in small regions; a listing must leave room for others. */
const MAX_REQUESTS = 5;
/** Of a target's template. */
const MAX_TEMPLATE = 8192;
const MAX_DESCRIPTION = 512;
const TARGET = "beat";
/** Around the entry's name in a rule's description. */
const BY_ENTRY = " by the entry ";
const AT_RUN_TIME = ", put at run time";

/**
 * What the target of a rule gives the function. Base64url has no letter that a template could take for a placeholder.
 * Throws `EncodeError`, `PayloadTooLarge`.
 */
function template(entry: RuntimeEntry): string {
  const text = `{"put":"${Buffer.from(stringifyEntry(entry)).toString("base64url")}","time":<time>}`;
  if (text.length <= MAX_TEMPLATE) return text;
  throw new PayloadTooLarge(`the target of ${whereOf(entry.name)}`, text.length, MAX_TEMPLATE);
}

/** The entry of an event, from its `put`. Throws `ImproperlyConfigured`, `DecodeError`. */
export const entryOfEvent = (put: string): RuntimeEntry => parseEntry(Buffer.from(put, "base64url").toString());

/** The name of a stored entry: its own, or where that cannot be read, as the rule's description has it. */
function nameIn(text: string, { Name = "", Description = "" }: Rule): string {
  try {
    const { name } = JSON.parse(text) as { readonly name?: unknown };
    if (typeof name === "string") return name;
  } catch {
    // It is in the description, too.
  }
  const from = Description.indexOf(BY_ENTRY);
  return from !== -1 && Description.endsWith(AT_RUN_TIME)
    ? Description.slice(from + BY_ENTRY.length, -AT_RUN_TIME.length)
    : Name;
}

/** Opens the rules beside the queues of an `sqs://` URL. Nothing is asked before the first call. */
export function open(url: string, context: BeatStoreContext): BeatStore {
  const { beatFunction, app } = context;
  if (beatFunction === undefined) {
    throw new ImproperlyConfigured(
      "beatFunction",
      "has to be the ARN of the beat function for entries put at run time: environmentFor() of TaskQueues gives it to a function as LOVAGE_BEAT_FUNCTION, and the stack has it as the output LovageBeatFunction",
    );
  }
  const prefix = rulePrefix(context.prefix, "runtime");
  // Where the deployed rules put what they cannot hand over. A function has no other account or region than its rules.
  const deadLetters = beatFunction.replace(/:lambda:(.*?):function:.*/, `:sqs:$1:${beatDeadLetters(context.prefix)}`);
  const client = new EventBridgeClient(
    clientConfig(parseAwsUrl("brokerUrl", url, context.options, SQS_OPTIONS), REQUEST_TIMEOUT_MS),
  );

  /** Runs a request; a rule that is not there is `undefined`. */
  async function ask<T>(action: string, rule: string, request: () => Promise<T>): Promise<T | undefined> {
    try {
      return await request();
    } catch (error) {
      if (error instanceof Error && error.name === "ResourceNotFoundException") return undefined;
      throw translate(error, action, rule);
    }
  }

  /** Apps that share a prefix have rules of their own: the app's name is in the hash. */
  const ruleOfEntry = (name: string): string => ruleName(prefix, `${app}\n${name}`);

  async function targetsOf(rule: string): Promise<readonly Target[] | undefined> {
    const found = await ask("ListTargetsByRule", rule, () => client.send(new ListTargetsByRuleCommand({ Rule: rule })));
    return found?.Targets;
  }

  /** What the target of a rule has of its entry, and the function that it calls; nothing where it has not been put yet. */
  async function storedIn(rule: string): Promise<{ readonly text: string; readonly calls: string } | undefined> {
    const target = (await targetsOf(rule))?.find(({ Id }) => Id === TARGET);
    if (target === undefined) return undefined;
    const { InputTransformer: { InputTemplate: text = "" } = {}, Arn: calls = "" } = target;
    const put = /^\{"put":"([\w-]+)"/.exec(text)?.[1];
    return { text: put === undefined ? text : Buffer.from(put, "base64url").toString(), calls };
  }

  /** A stack that was destroyed leaves its rules behind, and one that is deployed again has another function. */
  const elsewhere = (name: string, calls: string): ImproperlyConfigured =>
    new ImproperlyConfigured(
      whereOf(name),
      `was put for the beat function of another deployment and is not sent by this one: put it again, or remove it by app.beat.remove() (its rule calls ${calls}, and beatFunction is ${beatFunction})`,
    );

  async function putTarget(rule: string, InputTemplate: string): Promise<void> {
    const put = await ask("PutTargets", rule, () =>
      client.send(
        new PutTargetsCommand({
          Rule: rule,
          Targets: [
            {
              Id: TARGET,
              Arn: beatFunction,
              InputTransformer: { InputPathsMap: { time: "$.time" }, InputTemplate },
              DeadLetterConfig: { Arn: deadLetters },
            },
          ],
        }),
      ),
    );
    const failed = put?.FailedEntries?.[0];
    if (put === undefined || failed !== undefined) {
      throw new OperationalError(
        `events:PutTargets on the rule ${rule}: ${failed?.ErrorMessage ?? failed?.ErrorCode ?? "the rule was removed meanwhile"}`,
        { retryable: true },
      );
    }
  }

  const names = async (): Promise<readonly Rule[]> => {
    const rules: Rule[] = [];
    let NextToken: string | undefined;
    do {
      const page = await ask("ListRules", `${prefix}*`, () =>
        client.send(new ListRulesCommand({ NamePrefix: prefix, ...(NextToken !== undefined && { NextToken }) })),
      );
      rules.push(...(page?.Rules ?? []));
      NextToken = page?.NextToken;
    } while (NextToken !== undefined);
    return rules;
  };

  return {
    async list() {
      const stored: [name: string, text: string][] = [];
      const left: UnreadableEntry[] = [];
      const paused = new Set<string>();
      let failure: unknown;
      await inParallel(await names(), MAX_REQUESTS, async (rule) => {
        try {
          const found = await storedIn(rule.Name ?? "");
          if (found === undefined) return;
          const { text, calls } = found;
          const name = nameIn(text, rule);
          if (calls !== beatFunction) {
            if (rule.Name === ruleOfEntry(name)) left.push({ name, error: elsewhere(name, calls) });
            return;
          }
          stored.push([name, text]);
          if (rule.State === "DISABLED") paused.add(name);
        } catch (error) {
          failure ??= error;
        }
      });
      if (failure !== undefined) throw failure;
      const { entries, unreadable } = readEntries(stored.sort(([a], [b]) => (a < b ? -1 : 1)));
      return {
        entries: entries.map((entry) => ({ ...entry, enabled: !paused.has(entry.name) })),
        unreadable: [...unreadable, ...left].sort((a, b) => (a.name < b.name ? -1 : 1)),
      };
    },
    async put(entry) {
      const rule = ruleOfEntry(entry.name);
      // Whether it is paused stands in the rule alone.
      const target = template({ ...entry, enabled: true });
      await ask("PutRule", rule, () =>
        client.send(
          new PutRuleCommand({
            Name: rule,
            Description: `${app}: ${entry.task}${BY_ENTRY}${entry.name}${AT_RUN_TIME}`.slice(0, MAX_DESCRIPTION),
            ScheduleExpression: cronExpression(ruleOf(entry.schedule, entry.zone)),
            State: entry.enabled ? "ENABLED" : "DISABLED",
          }),
        ),
      );
      await putTarget(rule, target);
    },
    async remove(name) {
      const rule = ruleOfEntry(name);
      const isThere = (await storedIn(rule)) !== undefined;
      if (isThere) {
        await ask("RemoveTargets", rule, () => client.send(new RemoveTargetsCommand({ Rule: rule, Ids: [TARGET] })));
      }
      // A rule without a target is what a put that was cut short has left behind.
      await ask("DeleteRule", rule, () => client.send(new DeleteRuleCommand({ Name: rule })));
      return isThere;
    },
    async setEnabled(name, enabled, since) {
      const rule = ruleOfEntry(name);
      const found = await storedIn(rule);
      if (found === undefined) return false;
      if (found.calls !== beatFunction) throw elsewhere(name, found.calls);
      const entry = readEntry(name, found.text);
      if (!enabled) {
        await ask("DisableRule", rule, () => client.send(new DisableRuleCommand({ Name: rule })));
        return true;
      }
      await putTarget(rule, template({ ...entry, since }));
      await ask("EnableRule", rule, () => client.send(new EnableRuleCommand({ Name: rule })));
      return true;
    },
    async close() {
      client.destroy();
    },
  };
}

function translate(error: unknown, action: string, rule: string): LovageError {
  if (error instanceof Error && error.name === "LimitExceededException") {
    return new OperationalError(
      `events:${action} on the rule ${rule}: the event bus is full (300 rules, unless AWS has raised it for the account); remove entries that have ended with app.beat.remove(), or send what runs at the same times from one entry`,
      { retryable: false, cause: error },
    );
  }
  return translateError(error, { action: `events:${action}`, resource: `the rule ${rule}` });
}
