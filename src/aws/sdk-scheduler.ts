/** The SDK's client, as `#aws/scheduler`: named from here, so that a bundler that keeps `@aws-sdk/*` out keeps all of it out. */
export * from "@aws-sdk/client-scheduler";
