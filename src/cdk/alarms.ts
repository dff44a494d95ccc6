/** What an alarm is here: it goes off at a value and above, and silence is no reason to. */
import type { Duration } from "aws-cdk-lib";
import * as cloudwatch from "aws-cdk-lib/aws-cloudwatch";
import type { Construct } from "constructs";

interface AlarmOptions {
  readonly description: string;
  readonly metric: cloudwatch.IMetric;
  readonly threshold: number;
  /** @default 1 */
  readonly periods?: number;
}

export function alarm(scope: Construct, id: string, options: AlarmOptions): cloudwatch.Alarm {
  return new cloudwatch.Alarm(scope, id, {
    alarmDescription: options.description,
    metric: options.metric,
    threshold: options.threshold,
    evaluationPeriods: options.periods ?? 1,
    comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
    treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
  });
}

/** The one that goes off when there is silence. */
export function silenceAlarm(
  scope: Construct,
  id: string,
  { description, metric }: Pick<AlarmOptions, "description" | "metric">,
): cloudwatch.Alarm {
  return new cloudwatch.Alarm(scope, id, {
    alarmDescription: description,
    metric,
    threshold: 1,
    evaluationPeriods: 1,
    comparisonOperator: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
    treatMissingData: cloudwatch.TreatMissingData.BREACHING,
  });
}

/** A count of ours or AWS's over some time. */
export const sum = (period: Duration): { readonly period: Duration; readonly statistic: string } => ({
  period,
  statistic: "Sum",
});
