/** Where a service of AWS answers. */
import type { Scope } from "./sign.ts";

/** Regions of a partition of AWS's by how they begin, and what its hosts end in: by IPv4, and by either. The last is AWS itself. */
const PARTITIONS = [
  [/^cn-/, "amazonaws.com.cn", "api.amazonwebservices.com.cn"],
  [/^eusc-/, "amazonaws.eu", "api.amazonwebservices.eu"],
  [/^us-iso-/, "c2s.ic.gov", "api.aws.ic.gov"],
  [/^us-isob-/, "sc2s.sgov.gov", "api.aws.scloud"],
  [/^eu-isoe-/, "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"],
  [/^us-isof-/, "csp.hci.ic.gov", "api.aws.hci.ic.gov"],
  [/(?:)/, "amazonaws.com", "api.aws"],
] as const;

/**
 * The endpoint that the environment says (`AWS_ENDPOINT_URL_SQS` and the like, `AWS_ENDPOINT_URL`), or that of the region,
 * by `AWS_USE_FIPS_ENDPOINT` and `AWS_USE_DUALSTACK_ENDPOINT` as the SDK has it.
 *
 * @param name The service's name in environment variables.
 */
export function endpointOf(
  name: string,
  { service, region }: Scope,
  env: Readonly<Record<string, string | undefined>>,
): string {
  const given = env[`AWS_ENDPOINT_URL_${name}`] || env["AWS_ENDPOINT_URL"];
  if (given && env["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] !== "true") return given;
  const [, suffix, dualStackSuffix] = PARTITIONS.find(([regions]) => regions.test(region)) as (typeof PARTITIONS)[6];
  const dualStack = env["AWS_USE_DUALSTACK_ENDPOINT"] === "true";
  // GovCloud's plain endpoints are FIPS's: those by IPv4, all of EventBridge's, and none of Scheduler's.
  const isPlain = region.startsWith("us-gov-") && service !== "scheduler" && (!dualStack || service === "events");
  const fips = env["AWS_USE_FIPS_ENDPOINT"] === "true" && !isPlain;
  return `https://${service}${fips ? "-fips" : ""}.${region}.${dualStack ? dualStackSuffix : suffix}`;
}
