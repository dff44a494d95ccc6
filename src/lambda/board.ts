/** The board as a Lambda function behind a function URL. */
import { handle, type LambdaEvent } from "hono/aws-lambda";
import type { Lovage } from "../app.ts";
import { compressed } from "../board/compressed.ts";
import { type BoardOptions, createBoard } from "../board/index.ts";
import { ImproperlyConfigured } from "../errors.ts";

/** A request, as a function URL gives it to its function; API Gateway and load balancers do so too. */
export interface HttpEvent {
  /** Its headers. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** Its body, or `null`. */
  readonly body?: string | null;
  /** Whether the body is Base64. */
  readonly isBase64Encoded?: boolean;
  /** Where it came from, and who has signed it. */
  readonly requestContext?: object;
}

/** The answer to it. */
export interface HttpAnswer {
  /** The status, such as 200. */
  readonly statusCode: number;
  /** The headers, for services that take one value for each name. */
  readonly headers?: Readonly<Record<string, string | string[]>>;
  /** The headers, for services that take several values for a name. */
  readonly multiValueHeaders?: Readonly<Record<string, readonly string[]>>;
  /** Cookies that are set, for services that take them apart from the headers. */
  readonly cookies?: readonly string[];
  /** The body. */
  readonly body: string;
  /** Whether the body is Base64. */
  readonly isBase64Encoded: boolean;
}

/** What a function URL tells of who has signed the request. */
interface Signed {
  readonly requestContext?: { readonly authorizer?: { readonly iam?: { readonly userArn?: string } } };
}

/**
 * Makes the handler of a function URL: `export const handler = createBoardHandler(app);`
 *
 * Who may call it, IAM says: deploy it with `board: { entry }` of `TaskQueues`, or with a function URL of your own whose
 * `authType` is `AWS_IAM`. The journal keeps each action with the caller's ARN. Where `LOVAGE_BOARD_READ_ONLY` is
 * `1`, as `board: { readOnly: true }` deploys it, nothing can be changed. Rejects with `ImproperlyConfigured` for an event that is
 * no object.
 */
export function createBoardHandler(app: Lovage, options: BoardOptions = {}): (event: HttpEvent) => Promise<HttpAnswer> {
  const callers = new WeakMap<Request, string>();
  const board = createBoard(app, {
    readOnly: app.engine.platform.env["LOVAGE_BOARD_READ_ONLY"] === "1",
    authorize: (request) => {
      const by = callers.get(request);
      return by === undefined ? true : { by };
    },
    ...options,
  });
  const answer = compressed(board);
  return async (event) => {
    if (typeof event !== "object" || event === null)
      throw new ImproperlyConfigured(
        "event",
        `is no request: the board's function was given ${JSON.stringify(event)}; call it by its function URL`,
      );
    const by = (event as Signed).requestContext?.authorizer?.iam?.userArn;
    const fetch = (request: Request): Promise<Response> => {
      if (by !== undefined) callers.set(request, by);
      return answer(request);
    };
    // It asks for no more of an app of Hono's than this.
    return handle({ fetch } as unknown as Parameters<typeof handle>[0])(event as LambdaEvent);
  };
}
