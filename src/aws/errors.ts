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
/** What else the SDK says where it looks for credentials: a role that it may not have, a token's file that is not there. */
const NO_CREDENTIALS = /Could not load credentials|Credential is missing|sts:Assume|no such file/i;
const DENIED = /AccessDenied|NotAuthorized|AuthorizationError/;
const UNKNOWN_CALLER =
  /RequestTimeTooSkewed|RequestExpired|RequestInTheFuture|InvalidToken|NotSignedUp|OptInRequired|InvalidSecurity|InvalidClientTokenId|UnrecognizedClient|InvalidAccessKeyId|InvalidSignature|SignatureDoesNotMatch|IncompleteSignature|ExpiredToken|MissingAuthenticationToken/;
/** Codes of Node and undici that say that no answer came: of sockets, names, TLS and certificates, and of HTTP that is none. */
const CONNECTION =
  /^(E[A-Z_0-9]+|UND_ERR_\w+|HPE_\w+|CERT_\w+|DEPTH_ZERO_\w+|SELF_SIGNED_\w+|UNABLE_TO_\w+|HOSTNAME_MISMATCH)$/;
/**
 * What AWS says of a value that it does not take: no other try does better. All else, also what is not known here, is of the
 * system: rights, keys, clocks and tables come and go, and what stands between, such as a proxy, has answers of its own.
 */
const REFUSED =
  /^(AWS\.SimpleQueueService\.)?(Invalid(MessageContents|Parameter\w*|Attribute\w*)|MissingParameter|BatchRequestTooLong|Validation(Exception|Error)|SerializationException|ItemCollectionSizeLimitExceededException)$/;
/** Keys of KMS: disabled, being deleted, not yet there, or not to be used by this caller. */
const KEY = /^(AWS\.SimpleQueueService\.|KMS\.)?Kms|KMS|^DisabledException$/i;

/** What an answer is called that is no JSON, by the SDK and by the client of a bundle. */
const NO_REASON = /^(SyntaxError|UnknownError)$/;

/** Whether AWS refuses a value that it was given, by the name of its error: no other try does better. */
export const isRefusal = (name: string): boolean => REFUSED.test(name);

/** Whether it is over by itself: AWS is busy or fails, or no answer came. */
export function isOverload(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { name, $retryable, $metadata } = error as SdkError;
  const status = $metadata?.httpStatusCode;
  return $retryable?.throttling === true || THROTTLED.test(name) || isUnanswered(status) || status >= 500;
}

/** No answer, or one that began well and was cut: the SDK then has its status. */
const isUnanswered = (status: number | undefined): status is undefined => status === undefined || status < 300;

/** What a `fetch` that got no answer throws has no code: workerd's, undici's, Chromium's, Firefox's and Safari's words. */
const FETCH = /^(Network connection lost|fetch failed|Failed to fetch|NetworkError|Load failed)/;

/** An error of the SDK as one of the family; one of the family as it is. What is known to the service alone (a missing queue or table, a failed condition) has been told apart before. */
export function translateError(error: unknown, { action, resource }: AwsCall): LovageError {
  // The SDK's build for browsers throws texts where a region or the like is missing.
  if (!(error instanceof Error)) return translateError(new Error(String(error)), { action, resource });
  if (error instanceof OperationalError || error instanceof ImproperlyConfigured) return error;
  const failed = (why: string, retryable = true) =>
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
  if (name === "CredentialsProviderError" || NO_CREDENTIALS.test(message)) {
    const why = /^(Could not load credentials|Credential is missing)/.test(message) ? "" : ` (${message})`;
    return failed(
      `no AWS credentials were found${why}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the process a role; where there is no environment, the URL can carry them (sqs://KEY:SECRET@eu-west-1)`,
    );
  }
  if (DENIED.test(name)) {
    return failed(
      `access was denied (${message}); allow ${action} on it in the caller's policy, or use a grant… method of TaskQueues`,
    );
  }
  if (UNKNOWN_CALLER.test(name)) {
    return failed(`AWS does not accept the credentials (${message}); renew them, and see whether the clock is right`);
  }
  const isThrottled = $retryable?.throttling || THROTTLED.test(name);
  if (KEY.test(name) && !isThrottled) {
    return failed(`its key cannot be used (${name}: ${message}); see the state and the policy of the key in KMS`);
  }
  if (isThrottled) return failed(`throttled${KEY.test(name) ? " by KMS" : ""} (${message})`);
  if (name === "TimeoutError" || name === "AbortError") return failed(`no answer in time (${message})`);
  if (isUnanswered(status) && (code === undefined ? FETCH.test(message) : CONNECTION.test(code))) {
    return failed(`the endpoint cannot be reached (${message || code}); is AWS_ENDPOINT_URL, or the region, right?`);
  }
  const isPage = NO_REASON.test(name);
  if (status !== undefined && (status >= 500 || (isPage && status >= 300)))
    return failed(
      `AWS answered ${status} ${isPage ? "without a reason, as a proxy or a load balancer does" : `${name} (${message})`}`,
    );
  return failed(`${name}: ${message}`, !isRefusal(name));
}
