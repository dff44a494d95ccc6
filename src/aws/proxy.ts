/** What an agent of one's own is told, so that it goes where Node's global one goes. */

/**
 * The environment, for the proxies in it (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), where `NODE_USE_ENV_PROXY` is 1. Node
 * knows the option from 22.21 and 24.5 on.
 */
export const proxyOptions = (env: Readonly<Record<string, string | undefined>>) =>
  env["NODE_USE_ENV_PROXY"] === "1" ? { proxyEnv: env } : {};
