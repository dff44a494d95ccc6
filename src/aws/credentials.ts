/**
 * In a bundle for Lambda this takes the place of the SDK's chain of credential providers (`@aws-sdk/credential-provider-node`),
 * a hundred kilobytes of files, single sign-on and metadata services that a function never gets to: Lambda gives its
 * credentials in the environment, and there the chain looks first.
 */
export const defaultProvider = () => async () => {
  const {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
  } = process.env;
  if (!accessKeyId || !secretAccessKey) {
    throw Object.assign(
      new Error("Could not load credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"),
      {
        name: "CredentialsProviderError",
      },
    );
  }
  return { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) };
};
