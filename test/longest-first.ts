/** The order in which Vitest starts the test files: those that take long at first, so that none of them is left over at the end. */
import { existsSync } from "node:fs";
import { join, relative } from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const ROOT = join(import.meta.dirname, "..");

/**
 * The files that take more than 15 seconds on a quiet machine of two cores, the longest first, but those that mostly wait
 * for AWS's emulators or for time to pass stand between those that compute. Vitest itself knows only how long files took in
 * this checkout, and a fresh one has seen none.
 */
const LONG: readonly string[] = [
  "package/starters",
  "live/smoke-aws",
  "cli/pool",
  "live/long-delays",
  "live/crash-windows",
  "live/deploy-ministack",
  "package/callers",
  "live/redrive",
  "live/deploy-localstack",
  "board/browser",
  "live/deploy-delivery",
  "live/aws-bundled",
  "live/own-project",
  "board/access",
  "package/install",
  "live/beat-deployed",
  "live/aws-adapters",
  "package/runtimes",
  "live/limits-on-sqs",
  "cli/commands",
  "cli/dev",
  "flow/canvas.property",
  "live/contract",
  "live/flows",
  "cli/worker",
  "live/day",
  "package/pnpm",
  "cli/deaths",
  "live/rights",
  "live/celery/matrix",
  "cli/lease",
  "live/celery/border",
  "live/callers",
  "live/canvas",
  "chaos/kill",
  "live/aws-faults",
  "docs/snippets",
  "package/projects",
  "infra/architect",
  "infra/options",
  "examples/commands",
  "chaos/crash-windows",
  "live/containers",
  "cli/beat",
  "live/moto",
  "package/container-bundling",
].map((name) => `test/${name}.test.ts`);

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const gone = LONG.find((file) => !existsSync(join(ROOT, file)));
    if (gone !== undefined) throw new Error(`${gone} is not there: take it out of test/longest-first.ts`);
    const rank = ({ moduleId }: TestSpecification) => {
      const at = LONG.indexOf(relative(ROOT, moduleId).replaceAll("\\", "/"));
      return at === -1 ? LONG.length : at;
    };
    // The others in Vitest's order.
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}
