/** What an `sqs://` or `dynamodb://` URL and the options beside it say, and how the clients of both are set up. */
import { ImproperlyConfigured } from "../errors.ts";
import { didYouMean } from "../nearest.ts";
import { isRequestHandler, type RequestHandler } from "../request-handler.ts";
import { proxyOptions } from "./proxy.ts";

export interface AwsUrl {
  readonly region: string | undefined;
  /** Where the service answers in place of AWS, such as `http://127.0.0.1:4566`. */
  readonly endpoint: string | undefined;
  readonly credentials: AwsCredentials | undefined;
  /** What stands behind the host, without the slash: the table. */
  readonly path: string;
  /** What carries the requests in place of the clients' own. */
  readonly requestHandler: RequestHandler | undefined;
  /** The query's parameters, and the options where the query does not have them, in Celery's spelling. */
  readonly options: Readonly<Record<string, unknown>>;
}

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** The options of an `sqs://` URL's query and of `brokerTransportOptions`, in Celery's spelling. */
export const SQS_OPTIONS: readonly string[] = [
  "region",
  "queue_name_prefix",
  "is_secure",
  "predefined_queues",
  "visibility_timeout",
  "wait_time_seconds",
  "scheduler_role_arn",
  "scheduler_group",
  "scheduler_key_arn",
  "scheduler_min_delay",
  "request_handler",
];

const SHAPE = /^\w+:\/\/(?:(?<user>[^@/?]*)@)?(?<host>[^/?]*)(?:\/(?<path>[^?]*))?(?:\?(?<query>.*))?$/s;
const REGION = /^(?<region>[a-z]{2}(?:-[a-z]+)+-\d+)(?::\d*)?$/;

/**
 * Reads `scheme://[KEY:SECRET@][region or host[:port]][/path][?name=value]`. What is no region is a host, which is
 * spoken to by HTTP unless the option `is_secure` is set. Throws `ImproperlyConfigured`, which never shows the secret.
 *
 * @param setting `brokerUrl` or `resultBackend`, for the error.
 * @param known The options there are, in Celery's spelling; their camelCase is accepted too.
 */
export function parseAwsUrl(
  setting: string,
  url: string,
  options: Readonly<Record<string, unknown>>,
  known: readonly string[],
): AwsUrl {
  const parts = SHAPE.exec(url)?.groups;
  if (parts === undefined) {
    throw new ImproperlyConfigured(
      setting,
      "the URL must have the form scheme://[KEY:SECRET@][region]/[table]?option=value",
    );
  }
  const given: Record<string, unknown> = {};
  for (const [name, value] of [...Object.entries(options), ...new URLSearchParams(parts["query"])]) {
    const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (!known.includes(snake)) {
      throw new ImproperlyConfigured(
        setting,
        `there is no option ${JSON.stringify(name)}${didYouMean(snake, known)} (known: ${known.join(", ")})`,
      );
    }
    given[snake] = value;
  }
  const host = parts["host"] ?? "";
  const region = REGION.exec(host)?.groups?.["region"];
  const isSecure = booleanOption(setting, given, "is_secure") ?? false;
  return {
    region: textOption(setting, given, "region") ?? region,
    endpoint: host === "" || region !== undefined ? undefined : `${isSecure ? "https" : "http"}://${host}`,
    credentials: readCredentials(setting, parts["user"] ?? ""),
    path: decoded(setting, parts["path"] ?? ""),
    requestHandler: handlerOption(setting, given["request_handler"]),
    options: given,
  };
}

function handlerOption(setting: string, value: unknown): RequestHandler | undefined {
  if (value === undefined || isRequestHandler(value)) return value;
  throw new ImproperlyConfigured(setting, "request_handler must be an object with handle(), which no URL can hold");
}

function decoded(setting: string, part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    // Without the part, and without the cause that shows it: it may be a secret.
    throw new ImproperlyConfigured(setting, "write a percent sign in the URL as %25");
  }
}

function readCredentials(setting: string, user: string): AwsCredentials | undefined {
  const [accessKeyId = "", secretAccessKey = "", ...rest] = user.split(":").map((part) => decoded(setting, part));
  if (accessKeyId === "" && secretAccessKey === "") return undefined;
  if (accessKeyId === "" || secretAccessKey === "" || rest.length > 0) {
    throw new ImproperlyConfigured(setting, "the URL must have both KEY:SECRET (percent-encoded) or neither");
  }
  return { accessKeyId, secretAccessKey };
}

export function textOption(
  setting: string,
  options: Readonly<Record<string, unknown>>,
  name: string,
): string | undefined {
  const value = options[name];
  if (value === undefined || typeof value === "string") return value;
  throw new ImproperlyConfigured(setting, `${name} must be a text, not ${JSON.stringify(value)}`);
}

export function numberOption(
  setting: string,
  options: Readonly<Record<string, unknown>>,
  name: string,
): number | undefined {
  const value = options[name];
  if (value === undefined) return undefined;
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (typeof number === "number" && Number.isInteger(number)) return number;
  throw new ImproperlyConfigured(setting, `${name} must be a whole number, not ${JSON.stringify(value)}`);
}

export function booleanOption(
  setting: string,
  options: Readonly<Record<string, unknown>>,
  name: string,
): boolean | undefined {
  const value = options[name];
  if (value === undefined || typeof value === "boolean") return value;
  if (typeof value === "string" && /^(true|1|yes)$/i.test(value)) return true;
  if (typeof value === "string" && /^(false|0|no)$/i.test(value)) return false;
  throw new ImproperlyConfigured(setting, `${name} must be true or false, not ${JSON.stringify(value)}`);
}

/** To the first byte of a connection, in milliseconds. Inside a region it takes one or two. */
const CONNECTION_TIMEOUT_MS = 2000;
/** As many as the SDK has under way by default. More requests than that wait in a {@link createLine}. */
export const MAX_SOCKETS = 50;
/** A connection that rested for so long, in milliseconds, is not used again: who froze, or whose network forgot it, is not told that it is gone. */
const REST_MS = 20_000;

/**
 * What the clients of both services are made with. Retries are left to the SDK's own settings: its standard mode, three
 * attempts with jitter, unless `AWS_RETRY_MODE` and `AWS_MAX_ATTEMPTS` say otherwise.
 *
 * @param requestTimeout For one try of a request, in milliseconds. The SDK by itself waits for minutes.
 */
export function clientConfig({ region, endpoint, credentials, requestHandler }: AwsUrl, requestTimeout: number) {
  const given = credentials ?? environmentCredentials();
  // A request that waits for a socket would use up its time-outs doing so. It waits before it is made.
  const agent = { maxSockets: Number.POSITIVE_INFINITY, ...proxyOptions(globalThis.process?.env ?? {}) };
  return {
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
    ...(given !== undefined && { credentials: given }),
    requestHandler: requestHandler ?? {
      connectionTimeout: CONNECTION_TIMEOUT_MS,
      requestTimeout,
      throwOnRequestTimeout: true,
      httpAgent: agent,
      httpsAgent: agent,
    },
  };
}

/** What a line asks of a client. The bundled ones find out about connections that are gone by themselves. */
interface Connected {
  readonly config: { readonly requestHandler?: { destroy?(): void } };
}

/**
 * The requests of a client: {@link MAX_SOCKETS} at a time, first come, first served. `poll`: one that only waits for messages
 * holds up nobody.
 *
 * @param now The time of day in milliseconds, which goes on while a process is frozen.
 */
export function createLine(now: () => number = Date.now) {
  let underWay = 0;
  let short = 0;
  let lastUsed = now();
  const waiting: (() => void)[] = [];

  return async function inLine<T>(client: Connected, request: () => Promise<T>, poll = false): Promise<T> {
    if (!poll && short >= MAX_SOCKETS) await new Promise<void>((go) => waiting.push(go));
    else if (!poll) short++;
    if (underWay === 0 && now() - lastUsed > REST_MS) client.config.requestHandler?.destroy?.();
    underWay++;
    try {
      return await request();
    } finally {
      underWay--;
      lastUsed = now();
      // Its place goes to the next one.
      if (!poll) {
        const next = waiting.shift();
        if (next === undefined) short--;
        else next();
      }
    }
  };
}

/**
 * The credentials that Lambda gives a function. Taken by hand, they spare the SDK's chain of credential providers, which
 * is loaded otherwise, and which a bundle can then leave out. As in the SDK, a profile that is asked for goes first.
 */
function environmentCredentials(): AwsCredentials | undefined {
  // Not every runtime has a `process`.
  const env = globalThis.process?.env ?? {};
  const {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
  } = env;
  if (!accessKeyId || !secretAccessKey || env["AWS_PROFILE"]) return undefined;
  return { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) };
}

/** Runs a function over items, at most so many at a time. It must not throw. */
export async function inParallel<T>(
  items: readonly T[],
  limit: number,
  run: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items.values();
  const drain = async () => {
    for (const item of rest) await run(item);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, drain));
}
