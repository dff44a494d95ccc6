/** CloudWatch, as far as an operator asks it. */
import { clientOf, command } from "./client.ts";

export const CloudWatchClient = clientOf({
  name: "CLOUDWATCH",
  service: "monitoring",
  target: "GraniteServiceVersion20100801",
  contentType: "application/x-amz-json-1.0",
});

export const GetMetricDataCommand = command("GetMetricData");
