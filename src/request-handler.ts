/** What carries requests to AWS where a user brings it. */

/** A request to AWS, signed. */
interface CarriedRequest {
  readonly method: string;
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | string[] | null>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/**
 * What carries requests to AWS, as the AWS SDK's clients take it: `new NodeHttpHandler({ httpsAgent })` of
 * `@smithy/node-http-handler`, or a handler of one's own around it. Its timeouts are its own.
 */
export interface RequestHandler {
  /** Sends one request. `requestTimeout` is in milliseconds. */
  handle(
    request: CarriedRequest,
    options?: { readonly requestTimeout?: number | undefined },
  ): Promise<{
    readonly response: {
      readonly statusCode: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body?: unknown;
    };
  }>;
  /** Closes connections that rest. */
  readonly destroy?: (() => void) | undefined;
}

export const isRequestHandler = (value: unknown): value is RequestHandler =>
  typeof value === "object" && value !== null && "handle" in value && typeof value.handle === "function";
