/** The board on AWS: its function, its URL and its rights; and the handler as it is bundled. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { App, Stack } from "aws-cdk-lib";
import { Annotations, Match } from "aws-cdk-lib/assertions";
import * as iam from "aws-cdk-lib/aws-iam";
import { TaskQueues } from "lovage/cdk";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { app } from "../../functions/tasks.ts";
import { createBoardHandler } from "lovage/lambda";
import { Lovage } from "lovage";
import { allowed, deploy, FUNCTIONS, roleOf, shop, unbundled } from "./deployment.ts";

const entry = join(FUNCTIONS, "board.ts");

describe.each([
  ["one that steers has the rights of grantOperate", false],
  ["one that looks has the rights of grantInspect", true],
])("%s", (_, readOnly) => {
  test("and no others", () => {
    const deployment = deploy(shop(), { board: { entry, readOnly } });
    const { stack, tasks, template } = deployment;
    const other = new iam.Role(stack, "Other", { assumedBy: new iam.ServicePrincipal("lambda.amazonaws.com") });
    if (readOnly) tasks.grantInspect(other);
    else tasks.grantOperate(other);
    const logs = /^logs:/;
    const rights = allowed(deployment, roleOf(tasks.board?.function as never)).filter((right) => !logs.test(right));
    expect(rights).toEqual(allowed(deployment, other));
    expect(rights.length).toBeGreaterThan(5);
    template().hasResourceProperties("AWS::Lambda::Function", {
      Environment: {
        Variables: Match.objectLike({
          LOVAGE_BROKER_URL: Match.anyValue(),
          LOVAGE_RESULT_BACKEND: Match.anyValue(),
          ...(readOnly && { LOVAGE_BOARD_READ_ONLY: "1" }),
        }),
      },
      Timeout: 900,
    });
  });
});

test("its URL asks for a signature, and only those can call it who are granted that", () => {
  const deployment = deploy(shop(), { board: { entry } });
  const { stack, tasks, template } = deployment;
  const anna = new iam.Role(stack, "Anna", { assumedBy: new iam.AccountRootPrincipal() });
  tasks.board?.url.grantInvokeUrl(anna);
  template().hasResourceProperties("AWS::Lambda::Url", { AuthType: "AWS_IAM", Cors: Match.absent() });
  expect(template().findResources("AWS::Lambda::Permission", { Properties: { Principal: "*" } })).toEqual({});
  expect(allowed(deployment, anna).join()).toContain("lambda:InvokeFunctionUrl");
  expect(Object.keys(template().findOutputs("*"))).toContain("LovageBoardUrl");
  expect(deploy(shop()).tasks.board).toBeUndefined();
});

test.each([
  ["il-central-1", [/Lambda has no function URLs in il-central-1.*put createBoard\(app\) behind/]],
  ["us-gov-west-1", [/no function URLs in us-gov-west-1/]],
  ["eu-west-1", []],
])("in %s it is said at synth whether there are URLs", (region, warnings) => {
  const stack = new Stack(unbundled(), "Shop", { env: { account: "111111111111", region } });
  const found = Annotations.fromStack(deploy(shop(), { board: { entry } }, stack).stack).findWarning(
    "*",
    Match.stringLikeRegexp("function URLs"),
  );
  expect(found.map(({ entry }) => entry.data)).toEqual(warnings.map((text) => expect.stringMatching(text)));
});

const event = (path: string, more: object = {}) => ({
  version: "2.0",
  routeKey: "$default",
  rawPath: path,
  rawQueryString: "",
  headers: { host: "x.lambda-url.eu-west-1.on.aws", "content-type": "application/json" },
  isBase64Encoded: false,
  body: null,
  requestContext: {
    http: { method: "GET", path },
    domainName: "x.lambda-url.eu-west-1.on.aws",
    authorizer: { iam: { userArn: "arn:aws:iam::1:user/anna" } },
  },
  ...more,
});
const posted = (path: string, body: object) => {
  const { requestContext } = event(path);
  return event(path, {
    body: JSON.stringify(body),
    requestContext: { ...requestContext, http: { method: "POST", path } },
  });
};

test("it answers a function URL's events, and what is done is told of who signed them", async () => {
  const here = new Lovage("shop", { brokerUrl: "memory://", resultBackend: "memory://" });
  onTestFinished(() => here.close());
  const handler = createBoardHandler(here);
  const page = await handler(event("/") as never);
  expect(page).toMatchObject({ statusCode: 200, isBase64Encoded: false });
  expect(page.body).toContain("shop");
  expect((await handler(posted("/api/queues/celery/pause", {}) as never)).statusCode).toBe(200);
  const [queue] = await here.control.inspect().queues();
  expect(queue?.paused?.by).toBe("arn:aws:iam::1:user/anna");
});

test("bundled as it is deployed it runs, and steers", async () => {
  const outdir = mkdtempSync(join(tmpdir(), "lovage-board-bundle-"));
  onTestFinished(() => rmSync(outdir, { recursive: true }));
  const stack = new Stack(new App({ outdir }), "Bundled");
  new TaskQueues(stack, "Tasks", {
    app,
    entry: join(FUNCTIONS, "worker.ts"),
    beatEntry: join(FUNCTIONS, "beat.ts"),
    board: { entry },
  });
  vi.stubEnv("LOVAGE_BROKER_URL", `sqlite:///${join(outdir, "lovage.db")}`);
  vi.stubEnv("AWS_LAMBDA_FUNCTION_NAME", "board");
  onTestFinished(() => void vi.unstubAllEnvs());
  const bundles = readdirSync(outdir).filter((name) => name.startsWith("asset."));
  const modules = await Promise.all(
    bundles.map((name) => import(/* @vite-ignore */ pathToFileURL(join(outdir, name, "index.mjs")).href)),
  );
  const answers = await Promise.all(
    modules.map(({ handler }) => handler(event("/api/status"), {}).catch(() => ({ statusCode: 0 }))),
  );
  const at = answers.findIndex((answer) => answer?.statusCode === 200);
  expect(at).toBeGreaterThanOrEqual(0);
  const { handler } = modules[at];
  expect(JSON.parse(answers[at].body).queues.value.length).toBeGreaterThan(0);
  const queue = Object.keys(app.config.taskQueues)[0] ?? "celery";
  expect((await handler(posted(`/api/queues/${queue}/pause`, {}))).body).toBe('{"ok":true}');
});
