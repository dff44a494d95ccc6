/** The SDK's client, as `#aws/s3`: named from here, so that a bundler that keeps `@aws-sdk/*` out keeps all of it out. */
export * from "@aws-sdk/client-s3";

/** A body may come in pieces, and is not held as a whole then. */
export const streams = true;
