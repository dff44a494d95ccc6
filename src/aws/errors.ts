/** AWS's errors in ours, each with what its reader can do about it. */
import { ImproperlyConfigured, type LovageError, OperationalError } from "../errors.ts";

/** What was asked, in AWS's words: `sqs:SendMessage` on `the queue shop-celery`. */
export interface AwsCall {
  /** As IAM names it. */
  readonly action: string;
  readonly resource: string;
}

/** What the SDK's errors have in common. */
interface SdkError extends Error {
  readonly code?: string;
  readonly $retryable?: { readonly throttling?: boolean };
  readonly $metadata?: { readonly httpStatusCode?: number; readonly attempts?: number };
}

const THROTTLED =
  /Throttl|RequestLimitExceeded|ProvisionedThroughputExceeded|TooManyRequests|SlowDown|RequestThrottled|PurgeQueueInProgress/;
const DENIED = /AccessDenied|NotAuthorized|AuthorizationError/;
const UNKNOWN_CALLER =
  /InvalidClientTokenId|UnrecognizedClient|InvalidAccessKeyId|InvalidSignature|SignatureDoesNotMatch|IncompleteSignature|ExpiredToken|MissingAuthenticationToken/;
const CONNECTION = /^(E[A-Z]+|UND_ERR_\w+)$/;
/** What a `fetch` that got no answer throws has no code: workerd's, undici's, Chromium's, Firefox's and Safari's words. */
const FETCH = /^(Network connection lost|fetch failed|Failed to fetch|NetworkError|Load failed)/;

/** An error of the SDK as one of the family; one of the family as it is. What is known to the service alone (a missing queue or table, a failed condition) has been told apart before. */
export function translateError(error: unknown, { action, resource }: AwsCall): LovageError {
  // The SDK's build for browsers throws texts where a region or the like is missing.
  if (!(error instanceof Error)) return translateError(new Error(String(error)), { action, resource });
  if (error instanceof OperationalError || error instanceof ImproperlyConfigured) return error;
  const failed = (why: string, retryable: boolean) =>
    new OperationalError(`${action} on ${resource}: ${why}`, { retryable, cause: error });

  const { name, message, code, $retryable, $metadata } = error as SdkError;
  const status = $metadata?.httpStatusCode;
  if (/Region is missing/i.test(message)) {
    return new ImproperlyConfigured(
      "AWS_REGION",
      "no AWS region is known; name it in the URL (sqs://eu-west-1) or in AWS_REGION",
      { cause: error },
    );
  }
  if (name === "CredentialsProviderError" || /Could not load credentials|Credential is missing/i.test(message)) {
    return failed(
      "no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the process a role; where there is no environment, the URL can carry them (sqs://KEY:SECRET@eu-west-1)",
      false,
    );
  }
  if (DENIED.test(name)) {
    return failed(
      `access was denied (${message}); allow ${action} on it in the caller's policy, or use a grant… method of TaskQueues`,
      false,
    );
  }
  if (UNKNOWN_CALLER.test(name)) {
    return failed(`AWS does not accept the credentials (${message}); renew them`, false);
  }
  if ($retryable?.throttling || THROTTLED.test(name)) return failed(`throttled (${message})`, true);
  if (name === "TimeoutError" || name === "AbortError") return failed(`no answer in time (${message})`, true);
  if (status === undefined && (code === undefined ? FETCH.test(message) : CONNECTION.test(code))) {
    return failed(
      `the endpoint cannot be reached (${message || code}); is AWS_ENDPOINT_URL, or the region, right?`,
      true,
    );
  }
  if (status !== undefined && status >= 500) return failed(`AWS answered ${status} ${name} (${message})`, true);
  return failed(`${name}: ${message}`, false);
}
