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

/** Whose endpoints in GovCloud are FIPS's though their names do not say so: by IPv4, and by either. */
const PLAIN_V4 = /^(sqs|dynamodb|sts)$/;
const PLAIN = /^(events|monitoring)$/;

/**
 * The endpoint that is given, or that the environment says (`AWS_ENDPOINT_URL_SQS` and the like, `AWS_ENDPOINT_URL`), or that
 * of the region, by `AWS_USE_FIPS_ENDPOINT` and `AWS_USE_DUALSTACK_ENDPOINT` as the SDK has it. Throws as the SDK does
 * where one of these two is set beside an endpoint, or is what a service has not.
 *
 * @param name The service's name in environment variables.
 */
export function endpointOf(
  name: string,
  { service, region }: Scope,
  env: Readonly<Record<string, string | undefined>>,
  given?: string,
): string {
  const isTrue = (value: string | undefined) => value === "true";
  const fips = isTrue(env["AWS_USE_FIPS_ENDPOINT"]);
  const dualStack = isTrue(env["AWS_USE_DUALSTACK_ENDPOINT"]);
  const configured = isTrue(env["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"])
    ? undefined
    : env[`AWS_ENDPOINT_URL_${name}`] || env["AWS_ENDPOINT_URL"];
  const endpoint = given ?? configured;
  if (endpoint) {
    if (fips || dualStack) throw new Error("FIPS and dual stack are not supported with a custom endpoint");
    return endpoint;
  }
  const [, suffix, dualStackSuffix] = PARTITIONS.find(([regions]) => regions.test(region)) as (typeof PARTITIONS)[6];
  const isPlain = region.startsWith("us-gov-") && (PLAIN.test(service) || (!dualStack && PLAIN_V4.test(service)));
  const host = fips && !isPlain ? `${service}-fips` : service;
  if (service === "s3" && fips && region.startsWith("cn-")) throw new Error("S3 has no FIPS endpoints in China");
  // S3's dual stack is older than those of the others.
  if (service === "s3") return `https://${host}${dualStack ? ".dualstack" : ""}.${region}.${suffix}`;
  return `https://${host}.${region}.${dualStack ? dualStackSuffix : suffix}`;
}
