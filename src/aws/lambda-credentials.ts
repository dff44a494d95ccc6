/**
 * Stands in for `@aws-sdk/credential-provider-node` in the bundle of a Lambda function, by esbuild's `alias`. A function
 * has its credentials in its environment, where our clients take them by themselves, so that the SDK's chain of providers
 * (profiles, single sign-on, instance metadata; 140 KB) is never asked.
 */
export const defaultProvider = () => async (): Promise<never> => {
  // Named like the chain's own, so that it is translated alike.
  throw Object.assign(
    new Error("Could not load credentials from the environment, the only place this bundle looks at"),
    {
      name: "CredentialsProviderError",
    },
  );
};
