/** Which of AWS's and Node's errors are about what was asked, and which pass: a worker hands its message back on those. */
import { describe, expect, test } from "vitest";
import { translateError } from "../../src/aws/errors.ts";
import { isLasting, OperationalError } from "../../src/errors.ts";

const call = { action: "sqs:SendMessage", resource: "the queue celery" };
const answered = (name: string, status: number) =>
  Object.assign(new Error("no"), { name, $metadata: { httpStatusCode: status } });
const unanswered = (code: string) => Object.assign(new Error("no"), { code, $metadata: { attempts: 3 } });

/** What AWS's models and its pages of common errors have, of SQS, DynamoDB, EventBridge, Scheduler and KMS. */
const PASSING: Readonly<Record<string, number>> = {
  AccessDeniedException: 400,
  AccessDenied: 403,
  AuthFailure: 403,
  ExpiredToken: 403,
  ExpiredTokenException: 403,
  IncompleteSignature: 403,
  IncompleteSignatureException: 403,
  InternalError: 500,
  InternalFailure: 500,
  InternalServerError: 500,
  InternalServerException: 500,
  InvalidAccessKeyId: 403,
  InvalidAddress: 404,
  InvalidClientTokenId: 403,
  InvalidSecurity: 403,
  InvalidSignatureException: 403,
  InvalidToken: 400,
  KmsAccessDenied: 400,
  KmsDisabled: 400,
  KmsInvalidKeyUsage: 400,
  KmsInvalidState: 400,
  KmsNotFound: 400,
  KmsOptInRequired: 403,
  KmsThrottled: 400,
  "KMS.DisabledException": 400,
  "KMS.KMSInvalidStateException": 400,
  LimitExceededException: 400,
  MissingAuthenticationToken: 403,
  MissingAuthenticationTokenException: 403,
  NotAuthorized: 400,
  OptInRequired: 403,
  OverLimit: 403,
  ProvisionedThroughputExceededException: 400,
  RequestExpired: 400,
  RequestInTheFuture: 400,
  RequestLimitExceeded: 400,
  RequestThrottled: 403,
  RequestTimeTooSkewed: 403,
  RequestTimeout: 408,
  ResourceNotFoundException: 400,
  ServiceUnavailable: 503,
  SignatureDoesNotMatch: 403,
  SlowDown: 503,
  Throttling: 400,
  ThrottlingException: 400,
  TooManyRequestsException: 429,
  TransactionInProgressException: 400,
  UnrecognizedClientException: 400,
  // What is no request is not of a value: whoever stands between may say so.
  "AWS.SimpleQueueService.UnsupportedOperation": 400,
  BatchEntryIdsNotDistinct: 400,
  EmptyBatchRequest: 400,
  InvalidBatchEntryId: 400,
  MalformedQueryString: 400,
  TooManyEntriesInBatchRequest: 400,
  UnknownOperationException: 400,
  UnsupportedOperation: 400,
  ManagedRuleException: 400,
  MissingAction: 400,
  ReceiptHandleIsInvalid: 404,
  // Nobody knows what AWS will say tomorrow.
  SomethingNewException: 400,
  UnknownError: 403,
};

const LASTING: readonly string[] = [
  "AWS.SimpleQueueService.BatchRequestTooLong",
  "BatchRequestTooLong",
  "InvalidAttributeName",
  "InvalidAttributeValue",
  "InvalidMessageContents",
  "InvalidParameterCombination",
  "InvalidParameterValue",
  "MissingParameter",
  "SerializationException",
  "ValidationError",
  "ValidationException",
];

/** Of sockets, of names, of TLS and certificates, of HTTP that is none, of undici and Bun. */
const CODES: readonly string[] = [
  ..."EADDRNOTAVAIL EAI_AGAIN EAI_FAIL EAI_NODATA EAI_NONAME ECONNABORTED ECONNREFUSED ECONNRESET EHOSTDOWN".split(" "),
  ..."EHOSTUNREACH EMFILE ENETDOWN ENETUNREACH ENFILE ENOBUFS ENOTFOUND EPIPE EPROTO ETIMEDOUT ESOCKETTIMEDOUT".split(
    " ",
  ),
  ..."CERT_HAS_EXPIRED CERT_NOT_YET_VALID CERT_REVOKED DEPTH_ZERO_SELF_SIGNED_CERT HOSTNAME_MISMATCH".split(" "),
  ..."SELF_SIGNED_CERT_IN_CHAIN UNABLE_TO_GET_ISSUER_CERT_LOCALLY UNABLE_TO_VERIFY_LEAF_SIGNATURE".split(" "),
  ..."ERR_TLS_CERT_ALTNAME_INVALID ERR_SSL_WRONG_VERSION_NUMBER ERR_SOCKET_CONNECTION_TIMEOUT".split(" "),
  ..."ERR_STREAM_PREMATURE_CLOSE HPE_INVALID_CONSTANT HPE_HEADER_OVERFLOW UND_ERR_CONNECT_TIMEOUT".split(" "),
  ..."UND_ERR_SOCKET ConnectionRefused ConnectionClosed".split(" "),
];

describe("passes", () => {
  test.each(Object.entries(PASSING))("%s (%d)", (name, status) => {
    const error = translateError(answered(name, status), call);
    expect(error).toMatchObject({ name: "OperationalError", retryable: true });
    expect(isLasting(error)).toBe(false);
  });

  test.each(CODES)("%s, where no answer came", (code) => {
    expect(translateError(unanswered(code), call)).toMatchObject({ retryable: true });
  });

  test.each(["TimeoutError", "AbortError", "CredentialsProviderError", "Error", "TypeError"])("%s", (name) => {
    expect(translateError(Object.assign(new Error("?"), { name }), call)).toMatchObject({ retryable: true });
  });

  test.each([new Error("?"), new TypeError("x is not a function"), undefined, "?"])(
    "what nobody foresaw: %s",
    (error) => {
      expect(isLasting(error)).toBe(false);
    },
  );
});

describe("is refused for good", () => {
  test.each(LASTING)("%s", (name) => {
    const error = translateError(answered(name, 400), call);
    expect(error).toBeInstanceOf(OperationalError);
    expect(error).toMatchObject({ retryable: false });
    expect(isLasting(error)).toBe(true);
  });
});
