/** What is deployed depends on the source alone: whoever synthesizes it again deploys nothing. */
import { globSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { App } from "aws-cdk-lib";
import { expect, onTestFinished, test, vi } from "vitest";
import { LovageStack } from "../../infra/stack.ts";
import { folderInCheckout } from "../temporary.ts";
import { pathWithoutNpx } from "../without-npx.ts";

/** All files of an assembly, with the bundles of its functions, by their names. */
function synth(): Readonly<Record<string, string>> {
  const outdir = folderInCheckout("synth-");
  const app = new App({ outdir });
  new LovageStack(app, "Lovage");
  app.synth();
  const files = globSync("**/*", { cwd: outdir }).filter((name) => statSync(join(outdir, name)).isFile());
  return Object.fromEntries(files.sort().map((name) => [name, readFileSync(join(outdir, name), "utf8")]));
}

test("two syntheses are equal to the byte, bundles and their hashes too, and no path of this machine is in them", () => {
  vi.stubEnv("PATH", pathWithoutNpx());
  onTestFinished(() => void vi.unstubAllEnvs());
  // From one place: an assembly tells where each construct was made.
  const [one = {}, other = {}] = [1, 2].map(() => synth());
  expect(Object.keys(one).filter((name) => name.endsWith("index.mjs"))).toHaveLength(2);
  expect(Object.keys(other)).toEqual(Object.keys(one));
  for (const [name, text] of Object.entries(one)) {
    expect(other[name] === text, name).toBe(true);
    // What goes to AWS. The rest, such as where a construct was made, is for the command line.
    if (name.startsWith("asset.") || name.endsWith(".template.json"))
      expect(text.includes(join(import.meta.dirname, "../..")), name).toBe(false);
  }
});
