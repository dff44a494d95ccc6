/** The SDK's client, as `#aws/sqs`: named from here, so that a bundler that keeps `@aws-sdk/*` out keeps all of it out. */
import { SQSClient as Client } from "@aws-sdk/client-sqs";

export * from "@aws-sdk/client-sqs";

/** It tries again what KMS throttled, too, which the SDK takes for an error that stays. */
export class SQSClient extends Client {
  constructor(...config: ConstructorParameters<typeof Client>) {
    super(...config);
    this.middlewareStack.add(
      (next) => async (args) => {
        try {
          return await next(args);
        } catch (error) {
          if (error instanceof Error && error.name === "KmsThrottled")
            Object.assign(error, { $retryable: { throttling: true } });
          throw error;
        }
      },
      // Around what makes the answer an error, and within what tries again.
      { step: "deserialize", priority: "high" },
    );
  }
}
