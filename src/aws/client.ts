/**
 * What stands in for the AWS SDK's clients in a function's bundle: the JSON protocol, signed, by Node's own HTTP, with the
 * SDK's retries. Of the SDK's 400 KB a function needs no more than that: its credentials and region are in its environment.
 * What the SDK does beyond it (profiles, single sign-on, adaptive retries, middleware) no function of ours asks for.
 */
import type { Agent, IncomingMessage } from "node:http";
import { systemClock } from "../clock.ts";
import { defaultProvider } from "./credentials.ts";
import { isRequestHandler, type RequestHandler } from "../request-handler.ts";
import type { AwsCredentials, clientConfig } from "./connection.ts";
import { endpointOf } from "./endpoint.ts";
import { proxyOptions } from "./proxy.ts";
import { type Scope, signed } from "./sign.ts";

/** How a service of AWS's is spoken to. */
export interface Service {
  /** Its name in environment variables, such as `AWS_ENDPOINT_URL_SQS`. */
  readonly name: string;
  /** Its name in hosts and signatures. */
  readonly service: string;
  /** What stands before the operation's name in `X-Amz-Target`; none where operations have paths. */
  readonly target?: string;
  readonly contentType: `application/${"x-amz-json-1.0" | "x-amz-json-1.1" | "json" | "x-www-form-urlencoded"}`;
  /** Tries of a request, unless `AWS_MAX_ATTEMPTS` says. */
  readonly attempts: number;
  /** The longest wait before the second try, in milliseconds; twice as much before each further one. */
  readonly backoff: number;
  /** Errors that are told apart by their class. */
  readonly errors?: Readonly<Record<string, new (message: string) => Error>>;
  readonly stringify: (input: unknown) => string;
  readonly parse: (text: string) => unknown;
}

/** An operation and what it is given, as the SDK's commands are made: `new PutItemCommand({ … })`. */
export interface Command {
  readonly operation: string;
  readonly input: object;
  /** Below the endpoint, where it is not the endpoint itself. */
  readonly path: string | undefined;
  /** Where it is not POST. A GET has no body. */
  readonly method: Method | undefined;
}

type Method = "GET" | "POST" | "PUT";

export const command = (
  operation: string,
  pathOf?: (input: object) => string,
  method?: Method,
): (new (
  input: object,
) => Command) =>
  class {
    readonly operation = operation;
    readonly input: object;
    readonly path: string | undefined;
    readonly method = method;
    constructor(input: object) {
      this.input = input;
      this.path = pathOf?.(input);
    }
  };

export interface Metadata {
  readonly $metadata: { readonly httpStatusCode?: number; readonly attempts?: number };
}

/** What an error of the SDK's has, as far as anyone here looks at it. */
interface AwsError extends Error, Partial<Metadata> {
  readonly code?: string;
}

/** From here on the standard mode of retries as the SDK has it: what a retry costs, of what is given back by what succeeds. */
const CAPACITY = 500;
const COST = { throttled: 5, transient: 14 } as const;
const THROTTLED_BACKOFF_MS = 1000;
const MAX_BACKOFF_MS = 20_000;
const THROTTLED =
  /^(BandwidthLimitExceeded|EC2ThrottledException|KmsThrottled|LimitExceededException|PriorRequestNotComplete|ProvisionedThroughputExceededException|RequestLimitExceeded|RequestThrottled|RequestThrottledException|SlowDown|ThrottledException|Throttling|ThrottlingException|TooManyRequestsException|TransactionInProgressException)$/;
const TRANSIENT = /^(TimeoutError|RequestTimeout|RequestTimeoutException)$/;
const NETWORK = /^(ECONNRESET|ECONNREFUSED|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)$/;
/** Requests beside this one can bring back connections that are gone; by then something else is wrong. */
const MAX_STALE = 10;
const UNAVAILABLE: readonly (number | undefined)[] = [500, 502, 503, 504];

/** Why another try may do better; nothing where it would not. */
function failureOf({ name, code, $metadata }: AwsError): keyof typeof COST | undefined {
  const status = $metadata?.httpStatusCode;
  if (status === 429 || THROTTLED.test(name)) return "throttled";
  return UNAVAILABLE.includes(status) || TRANSIENT.test(name) || NETWORK.test(code ?? "") ? "transient" : undefined;
}

/** As the SDK's clients are made; what only those do (`md5`, `useQueueUrlAsEndpoint`) is not done here in the first place. */
export type ClientConfig = Omit<ReturnType<typeof clientConfig>, "requestHandler"> & {
  readonly requestHandler: RequestHandler | Timeouts;
};

export interface Chance {
  readonly now: () => number;
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
}

const system: Chance = { now: Date.now, random: Math.random, env: process.env };

export interface Client {
  readonly config: { region(): Promise<string> };
  /** @param options.requestTimeout For one try, in milliseconds. Default: the client's. */
  send(command: Command, options?: { readonly requestTimeout?: number }): Promise<Metadata & object>;
  destroy(): void;
}

/** What is there from the first request on. */
interface Connection {
  readonly url: URL;
  readonly agent: Agent;
  readonly scope: Scope;
}

type ClientClass = new (config: ClientConfig, chance?: Chance) => Client;

/** What the SDK has for all services but DynamoDB. */
const STANDARD = { attempts: 3, backoff: 50, stringify: JSON.stringify, parse: JSON.parse };

/** Makes the class of a service's client, to be used as the SDK's are. */
export const clientOf = (service: Omit<Service, keyof typeof STANDARD> & Partial<Service>): ClientClass =>
  classOf({ ...STANDARD, ...service });

const classOf = (service: Service): ClientClass =>
  class implements Client {
    readonly #config: ClientConfig;
    readonly #chance: Chance;
    readonly #attempts: number;
    #capacity = CAPACITY;
    #connected: Connection | undefined;

    constructor(config: ClientConfig, chance: Chance = system) {
      this.#config = config;
      this.#chance = chance;
      this.#attempts = Number(chance.env["AWS_MAX_ATTEMPTS"]) || service.attempts;
    }

    get config() {
      return { region: async () => this.#connection.scope.region };
    }

    async send(asked: Command, options: { readonly requestTimeout?: number } = {}): Promise<Metadata & object> {
      const credentials = this.#config.credentials ?? (await defaultProvider()());
      const body = asked.method === "GET" ? "" : service.stringify(asked.input);
      let cost: number | undefined;
      let stale = 0;
      for (let attempt = 1; ; attempt++) {
        try {
          const output = await this.#try(asked, body, credentials, options);
          this.#capacity = Math.min(CAPACITY, this.#capacity + (cost ?? 1));
          return Object.assign(output, { $metadata: { httpStatusCode: 200, attempts: attempt + stale } });
        } catch (error) {
          // A connection that was kept and is gone: a function that slept. Those that rest beside it are gone too, and none of
          // that uses up a try. It is counted: what was asked may have been done.
          if (error instanceof StaleConnection && stale++ < MAX_STALE) {
            dropResting(this.#connection.agent);
            attempt--;
            continue;
          }
          const failure = failureOf(error as AwsError);
          if (failure === undefined || attempt >= this.#attempts || this.#capacity < COST[failure]) {
            const { $metadata } = error as AwsError;
            throw Object.assign(error as AwsError, { $metadata: { ...$metadata, attempts: attempt + stale } });
          }
          cost = COST[failure];
          this.#capacity -= cost;
          const base = failure === "throttled" ? THROTTLED_BACKOFF_MS : service.backoff;
          await systemClock.sleep(this.#chance.random() * Math.min(MAX_BACKOFF_MS, base * 2 ** (attempt - 1)));
        }
      }
    }

    destroy(): void {
      const { requestHandler } = this.#config;
      if (isRequestHandler(requestHandler)) requestHandler.destroy?.();
      this.#connected?.agent.destroy();
      this.#connected = undefined;
    }

    get #connection(): Connection {
      if (this.#connected !== undefined) return this.#connected;
      const { env } = this.#chance;
      const region = this.#config.region ?? (env["AWS_REGION"] || env["AWS_DEFAULT_REGION"]);
      if (!region) throw new Error("Region is missing");
      const scope = { service: service.service, region };
      const url = new URL(endpointOf(service.name, scope, env, this.#config.endpoint));
      const agent = new (http(url).Agent)({ keepAlive: true, ...proxyOptions(env) });
      this.#connected = { scope, url, agent };
      return this.#connected;
    }

    async #try(
      { operation, path, method = "POST" }: Command,
      body: string,
      credentials: AwsCredentials,
      options: { readonly requestTimeout?: number },
    ): Promise<object> {
      const { agent, scope, url: endpoint } = this.#connection;
      const url = path === undefined ? endpoint : new URL(endpoint.href.replace(/\/$/, "") + path);
      const unsigned = {
        "content-type": service.contentType,
        ...(service.target !== undefined && { "x-amz-target": `${service.target}.${operation}` }),
      };
      const headers = signed({ method, url, body, headers: unsigned }, scope, credentials, this.#chance.now());
      headers["content-length"] = String(Buffer.byteLength(body));
      headers["user-agent"] = "lovage";
      const trace = traceId(this.#chance.env);
      if (trace) headers["x-amzn-trace-id"] = trace;
      const { requestHandler } = this.#config;
      const answer = isRequestHandler(requestHandler)
        ? await carried(requestHandler, method, url, headers, body, options)
        : await exchange(method, url, agent, headers, body, { ...requestHandler, ...options });
      // What has nothing to say may say nothing at all.
      if (answer.status < 300) return answer.text === "" ? {} : (service.parse(answer.text) as object);
      throw errorOf(service, answer);
    }
  };

/** The error of an answer. Its name is the code without the namespace and the address that some services put around it. */
function errorOf({ errors, parse }: Service, { status, text, errorType }: Answer): Error {
  let facts: Readonly<Record<string, unknown>> = {};
  try {
    facts = parse(text) as typeof facts;
  } catch {
    // A load balancer's page.
  }
  const { __type, code = __type, message, Message = message, ...more } = facts;
  const name = /(?:.*#)?([^:]*)/.exec(String(errorType ?? code ?? "UnknownError"))?.[1] ?? "UnknownError";
  const Class = errors?.[name] ?? Error;
  return Object.assign(new Class(String(Message ?? name)), more, { name, $metadata: { httpStatusCode: status } });
}

interface Answer {
  readonly status: number;
  readonly text: string;
  /** Where the error's name stands in a header. */
  readonly errorType: unknown;
}

class StaleConnection extends Error {
  readonly code = "ECONNRESET";
}

function dropResting({ freeSockets }: Agent): void {
  for (const sockets of Object.values(freeSockets)) for (const socket of sockets ?? []) socket.destroy();
}

/** Not by `import`, which runs the getters of `node:http`, one of which loads a WebSocket: that takes longer than all of our own. */
const http = ({ protocol }: URL) =>
  protocol === "https:" ? process.getBuiltinModule("node:https") : process.getBuiltinModule("node:http");

interface Timeouts {
  readonly connectionTimeout: number;
  readonly requestTimeout: number;
}

function exchange(
  method: string,
  url: URL,
  agent: Agent,
  headers: Readonly<Record<string, string>>,
  body: string,
  { connectionTimeout, requestTimeout }: Timeouts,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const timers: NodeJS.Timeout[] = [];
    const limit = (ms: number, what: string) => {
      const error = Object.assign(new Error(`${what} within ${ms} ms`), { name: "TimeoutError" });
      const timer = setTimeout(() => request.destroy(error), ms);
      timers.push(timer);
      return timer;
    };
    const end = () => timers.forEach(clearTimeout);
    const fail = (error: Error) => {
      end();
      const { code } = error as AwsError;
      const stale = request.reusedSocket && (code === "ECONNRESET" || code === "EPIPE");
      reject(stale ? new StaleConnection(error.message, { cause: error }) : error);
    };
    const request = http(url).request(url, { method, agent, headers }, (response: IncomingMessage) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        text += part;
      });
      response.on("end", () => {
        end();
        resolve({ status: response.statusCode ?? 0, text, errorType: response.headers["x-amzn-errortype"] });
      });
      response.on("error", fail);
    });
    request.on("error", fail);
    request.on("socket", (socket) => {
      if (!socket.connecting) return;
      const timer = limit(connectionTimeout, `no connection to ${url.host}`);
      socket.once("connect", () => clearTimeout(timer));
    });
    limit(requestTimeout, `no answer of ${url.host}`);
    request.end(body);
  });
}

/** What a handler of the user's makes of a request. */
async function carried(
  handler: RequestHandler,
  method: string,
  { protocol, hostname, port, pathname, searchParams }: URL,
  headers: Readonly<Record<string, string>>,
  body: string,
  options: { readonly requestTimeout?: number },
): Promise<Answer> {
  const { response } = await handler.handle(
    {
      method,
      protocol,
      hostname,
      ...(port !== "" && { port: Number(port) }),
      path: pathname,
      query: Object.fromEntries(searchParams),
      headers,
      body,
    },
    options,
  );
  return {
    status: response.statusCode,
    // A stream of Node's, or of the web's.
    text: await new Response(response.body as ReadableStream | null).text(),
    errorType: response.headers["x-amzn-errortype"],
  };
}

/** The trace of the invocation, by which X-Ray connects what is sent with what runs then. */
function traceId(env: Chance["env"]): string | undefined {
  const { awslambda } = globalThis as {
    readonly awslambda?: { readonly InvokeStore?: { getXRayTraceId?(): string | undefined } };
  };
  return awslambda?.InvokeStore?.getXRayTraceId?.() ?? env["_X_AMZN_TRACE_ID"];
}
