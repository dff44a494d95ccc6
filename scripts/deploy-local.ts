/**
 * `npm run deploy:local`: the stack of `cdk deploy` on the local AWS, bootstrapped first. What follows `--` goes to the CDK:
 * `npm run deploy:local -- -c prefix=shop-`.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { cdk, enforcesIam, isBootstrapped, localAws, main } from "./local-aws.ts";

await main(async () => {
  const { endpoint, env, home } = await localAws();
  const args = process.argv.slice(2);
  // Whoever denies requests without TLS denies all to an endpoint that has none, and it knows no roles of the CDK's.
  if (enforcesIam()) args.push("-c", "enforceSSL=false", "-c", "cliCredentials=true");
  console.error(`deploying to ${endpoint}`);
  mkdirSync(home, { recursive: true });
  if (!(await isBootstrapped(endpoint, env))) {
    // Elsewhere than beside cdk.json, whose app a bootstrap has no need of.
    await cdk(["bootstrap", `aws://000000000000/${env["AWS_REGION"]}`], env, 120_000, { cwd: home });
  }
  const outputs = join(home, "outputs.json");
  await cdk(
    [
      "deploy",
      "--all",
      "--require-approval",
      "never",
      "--output",
      join(home, "cdk.out"),
      "--outputs-file",
      outputs,
      ...args,
    ],
    env,
    300_000,
  );
  console.error(`deployed; the outputs are in ${outputs}. Next: npm run smoke`);
});
