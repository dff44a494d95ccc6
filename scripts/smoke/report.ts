/** What a smoke test has seen, as Markdown that can be put into an issue: no number of an account and no address is in it. */
import * as monitoring from "../../src/aws/bundled-cloudwatch.ts";
import * as dynamodb from "../../src/aws/bundled-dynamodb.ts";
import * as eventbridge from "../../src/aws/bundled-eventbridge.ts";
import * as lambda from "../../src/aws/bundled-lambda.ts";
import * as s3 from "../../src/aws/bundled-s3.ts";
import * as scheduler from "../../src/aws/bundled-scheduler.ts";
import * as sqs from "../../src/aws/bundled-sqs.ts";
import * as sts from "../../src/aws/bundled-sts.ts";
import { type Counted, PRICES, UNVERIFIED } from "./prices.ts";
import type { Sent } from "./recorder.ts";

export interface Outcome {
  readonly name: string;
  readonly text: string;
  readonly seconds: number;
  /** Absent: it passed. */
  readonly error?: string | undefined;
}

export interface Seen extends Counted {
  /** `AWS`, or the emulator. */
  readonly where: string;
  readonly region: string;
  readonly version: string;
  readonly date: Date;
  readonly outcomes: readonly Outcome[];
  /** All checks were asked for, so that every kind of request is to be there. */
  readonly isWhole: boolean;
  /** Sent by this process. */
  readonly here: readonly Sent[];
  /** Why it ended before its end. */
  readonly stopped?: string | undefined;
  /** What the destroyed stack left. */
  readonly left: readonly string[];
}

const MODULES = { sqs, dynamodb, events: eventbridge, scheduler, s3, lambda, monitoring, sts };

/** Each kind of request that Lovage sends. */
const KINDS: readonly string[] = Object.entries(MODULES).flatMap(([service, module]) =>
  Object.keys(module).flatMap((name) => {
    const [, operation] = /^(\w+)Command$/.exec(name) ?? [];
    return operation === undefined ? [] : [`${service}:${operation}`];
  }),
);

const BY_THE_STACK = "Lovage's own tests make queues and tables by it; an app's are made by its stack";
const UNSENT: Readonly<Record<string, string>> = {
  "sqs:CreateQueue": BY_THE_STACK,
  "dynamodb:CreateTable": BY_THE_STACK,
  "dynamodb:DescribeTable": BY_THE_STACK,
  "dynamodb:UpdateTimeToLive": BY_THE_STACK,
};

/** Kinds of requests that were to be sent and were not. */
function unsent({ sent, isWhole }: Seen): readonly string[] {
  if (!isWhole) return [];
  const seen = new Set(sent.filter(({ status }) => status >= 200 && status < 300).map(({ operation }) => operation));
  return KINDS.filter((kind) => !seen.has(kind) && UNSENT[kind] === undefined);
}

/** Whether all is as it should be. */
export const isFine = (seen: Seen): boolean =>
  seen.stopped === undefined &&
  seen.left.length === 0 &&
  unsent(seen).length === 0 &&
  seen.outcomes.every(({ error }) => error === undefined);

export function report(seen: Seen): string {
  const { outcomes, sent, here, left, stopped } = seen;
  const failed = outcomes.filter(({ error }) => error !== undefined);
  const missing = unsent(seen);
  const costs = PRICES.map(({ what, each, count, page, read }) => {
    const number = count(seen);
    return [what, number < 10 ? number.toFixed(2) : whole(number), dollars(number * each), page, read] as const;
  });
  const total = PRICES.reduce((sum, { each, count }) => sum + each * count(seen), 0);
  return `${[
    `# Smoke test of Lovage ${seen.version}`,
    `${seen.where}, ${seen.region}, ${seen.date.toISOString()}, Node.js ${process.versions.node}. ${isFine(seen) ? "All is as it should be." : "**Not all is as it should be.**"}`,
    ...(stopped === undefined ? [] : [`It ended before its end: ${stopped}`]),
    "## Checks",
    table(
      ["check", "what is seen", "seconds", ""],
      outcomes.map(({ name, text, seconds, error }) => [
        name,
        text,
        seconds.toFixed(1),
        error === undefined ? "pass" : "**FAIL**",
      ]),
    ),
    ...(failed.length === 0 ? [] : [fenced(failed.map(({ name, error }) => `${name}: ${error}`))]),
    "## Requests",
    `${whole(sent.length)} requests, ${whole(here.length)} from this machine and ${whole(sent.length - here.length)} from functions, in ${whole(seen.told.length)} invocations. Milliseconds to the end of the answer.`,
    table(
      ["request", "here", "in functions", "2xx", "4xx", "5xx", "none", "p50 ms", "p95 ms", "max ms"],
      rows(sent, here),
    ),
    ...(seen.isWhole
      ? [
          missing.length === 0
            ? `Every kind of request that Lovage makes was sent, but for ${Object.keys(UNSENT).map(code).join(", ")}: ${BY_THE_STACK}.`
            : `**Kinds of requests that were never answered well:** ${missing.map(code).join(", ")}.`,
        ]
      : []),
    "## Cost",
    `About ${dollars(total)}, by the prices of us-east-1, without the free tier. ${UNVERIFIED}`,
    table(["what", "how many", "cost", "AWS's price list", "number read in"], costs),
    "## Left behind",
    left.length === 0 ? "Nothing." : fenced(left),
  ].join("\n\n")}\n`;
}

function rows(sent: readonly Sent[], here: readonly Sent[]): readonly (readonly string[])[] {
  const ours = new Set(here);
  return [...Map.groupBy(sent, ({ operation }) => operation)]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([operation, all]) => {
      const times = all.map(({ ms }) => ms).sort((a, b) => a - b);
      const at = (share: number) => String(times[Math.min(times.length - 1, Math.floor(times.length * share))]);
      const answered = (from: number) => String(all.filter(({ status }) => Math.floor(status / 100) === from).length);
      const local = all.filter((one) => ours.has(one)).length;
      return [
        code(operation),
        String(local),
        String(all.length - local),
        ...[2, 4, 5, 0].map(answered),
        at(0.5),
        at(0.95),
        at(1),
      ];
    });
}

const code = (text: string): string => `\`${text}\``;
const whole = (number: number): string => Math.round(number).toLocaleString("en");
const dollars = (amount: number): string => `$${amount.toFixed(amount < 0.01 ? 6 : 4)}`;
const fenced = (lines: readonly string[]): string => `\`\`\`\n${lines.map(unnamed).join("\n")}\n\`\`\``;
/** Errors name what they are about by its ARN or URL. */
const unnamed = (text: string): string => text.replaceAll(/\b\d{12}\b/g, "<account>");

function table(head: readonly string[], body: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...body.map(line)].join("\n");
}
