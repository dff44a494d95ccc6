/** What AWS's prices make of the requests: on demand, in us-east-1, without the free tier. */
import type { Sent, Told } from "./recorder.ts";

interface Price {
  readonly what: string;
  /** In dollars. */
  readonly each: number;
  /** AWS's price list, which has the last word. */
  readonly page: string;
  /** Where this number was read on the day of {@link UNVERIFIED}. */
  readonly read: string;
  /** How many of what is paid. */
  count(all: Counted): number;
}

export interface Counted {
  readonly sent: readonly Sent[];
  readonly told: readonly Told[];
  readonly queues: number;
  readonly alarms: number;
  readonly entries: number;
  /** So long the stack was there. */
  readonly hours: number;
}

/** How far these numbers can be relied on. */
export const UNVERIFIED =
  "AWS's own lists show their numbers by a script alone, so that these were read in others' copies of them, on 28 November 2026: they are not verified, and AWS's lists have the last word.";

const MILLION = 1_000_000;
const KIB = 1024;
const HOURS_OF_MONTH = 730;
/** Lambda has so many connections to a queue that wait for messages, each of them for 20 s. */
const RECEIVES_AN_HOUR = 5 * 180;

const WRITES = /^dynamodb:(PutItem|UpdateItem|BatchExecuteStatement)$/;
const READS = /^dynamodb:(BatchGetItem|Query)$/;
const units = (all: readonly Sent[], pattern: RegExp, size: (one: Sent) => number, unit: number) =>
  all
    .filter(({ operation }) => pattern.test(operation))
    .reduce((sum, one) => sum + Math.max(1, Math.ceil(size(one) / unit)), 0);

export const PRICES: readonly Price[] = [
  {
    what: "requests of SQS, each begun 64 KB of one, at FIFO's price; Lambda's own included",
    each: 0.5 / MILLION,
    page: "https://aws.amazon.com/sqs/pricing/",
    read: "https://www.factualminds.com/blog/amazon-sqs-pricing-64kb-rule-fifo-vs-standard/",
    count: ({ sent, queues, hours }) =>
      units(sent, /^sqs:/, ({ bytes, answered }) => bytes + answered, 64 * KIB) + queues * hours * RECEIVES_AN_HOUR,
  },
  {
    what: "units of writing in DynamoDB, one for each begun KB of a request",
    each: 0.625 / MILLION,
    page: "https://aws.amazon.com/dynamodb/pricing/on-demand/",
    read: "https://airbyte.com/data-engineering-resources/dynamodb-pricing",
    count: ({ sent }) => units(sent, WRITES, ({ bytes }) => bytes, KIB),
  },
  {
    what: "units of reading in DynamoDB, one for each begun 4 KB of an answer",
    each: 0.125 / MILLION,
    page: "https://aws.amazon.com/dynamodb/pricing/on-demand/",
    read: "https://airbyte.com/data-engineering-resources/dynamodb-pricing",
    count: ({ sent }) => units(sent, READS, ({ answered }) => answered, 4 * KIB),
  },
  {
    what: "invocations of functions",
    each: 0.2 / MILLION,
    page: "https://aws.amazon.com/lambda/pricing/",
    read: "http://www.headinthecloud.qualitycloudsystems.com/2020/12/new-for-aws-lambda-1ms-billing.html",
    count: ({ told }) => told.length,
  },
  {
    what: "GB-seconds of functions on arm64",
    each: 0.0000133334,
    page: "https://aws.amazon.com/lambda/pricing/",
    read: "https://cloudchipr.com/blog/aws-lambda-pricing",
    count: ({ told }) => told.reduce((sum, { ms, memory }) => sum + (ms / 1000) * (memory / 1024), 0),
  },
  {
    what: "entries of EventBridge Scheduler",
    each: 1 / MILLION,
    page: "https://aws.amazon.com/eventbridge/pricing/",
    read: "https://cloudburn.io/blog/amazon-eventbridge-pricing",
    count: ({ entries }) => entries,
  },
  {
    what: "PUTs of S3",
    each: 0.005 / 1000,
    page: "https://aws.amazon.com/s3/pricing/",
    read: "https://c3x.dev/blog/s3-request-fees-explained",
    count: ({ sent }) => units(sent, /^s3:Put/, () => 0, 1),
  },
  {
    what: "GETs of S3",
    each: 0.0004 / 1000,
    page: "https://aws.amazon.com/s3/pricing/",
    read: "https://c3x.dev/blog/s3-request-fees-explained",
    count: ({ sent }) => units(sent, /^s3:Get/, () => 0, 1),
  },
  {
    what: "hours of alarms",
    each: 0.1 / HOURS_OF_MONTH,
    page: "https://aws.amazon.com/cloudwatch/pricing/",
    read: "https://c3x.dev/resources/aws/aws_cloudwatch_metric_alarm",
    count: ({ alarms, hours }) => alarms * Math.ceil(hours),
  },
  {
    what: "hours of a dashboard",
    each: 3 / HOURS_OF_MONTH,
    page: "https://aws.amazon.com/cloudwatch/pricing/",
    read: "https://www.factualminds.com/blog/amazon-cloudwatch-pricing-metrics-logs-alarms-dashboards/",
    count: ({ hours }) => Math.ceil(hours),
  },
];
