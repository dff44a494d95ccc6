/**
 * Makes `docs/reference/iam-permissions.md` and `docs/reference/alarms.md` from a stack in which all is switched on; a
 * test compares.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { App, Stack } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { ContainerImage } from "aws-cdk-lib/aws-ecs";
import * as iam from "aws-cdk-lib/aws-iam";
import { Lovage } from "lovage";
import { TaskQueues } from "lovage/cdk";

const root = resolve(import.meta.dirname, "..");
const reference = (name: string) => join(root, "docs/reference", name);
export const IAM_PAGE = reference("iam-permissions.md");
export const ALARMS_PAGE = reference("alarms.md");

interface Statement {
  readonly Action: string | readonly string[];
  readonly Resource: unknown;
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
}

interface Resource {
  readonly Type: string;
  readonly Properties: Readonly<Record<string, unknown>>;
}

/** The stack that the pages tell of: each kind of queue, and every prop that adds rights or alarms. */
function everything(outdir: string) {
  const app = new Lovage(
    "shop",
    {
      taskQueues: { celery: {}, media: {}, video: { worker: "container" } },
      beatSchedule: { hourly: { task: "shop.add", schedule: 3600 } },
    },
    { env: {} },
  );
  app.task("shop.add", (x: number, y: number) => x + y);
  app.task("shop.push", { rateLimit: "100/m" }, (id: string) => id);
  const stack = new Stack(new App({ outdir, context: { "aws:cdk:bundling-stacks": [] } }), "Shop");
  const entry = (name: string) => join(root, "functions", `${name}.ts`);
  const tasks = new TaskQueues(stack, "Tasks", {
    app,
    entry: entry("worker"),
    beatEntry: entry("beat"),
    board: { entry: entry("board") },
    longDelays: true,
    payloadStore: true,
    container: { image: ContainerImage.fromRegistry("shop") },
    queues: { celery: { sendsTo: ["media"], failedPercent: 20 } },
  });
  return { stack, tasks };
}

type Everything = ReturnType<typeof everything>;
type Resources = Readonly<Record<string, Resource>>;

/** The logical id behind a reference of a template, and the text that is put after it. */
function target(value: unknown): readonly [id: string, rest: string] {
  if (typeof value === "string") return ["", value];
  const object = value as Readonly<Record<string, unknown>>;
  const attribute = object["Fn::GetAtt"] as readonly string[] | undefined;
  if (attribute !== undefined) return [attribute[0] ?? "", ""];
  if (typeof object["Ref"] === "string") return [object["Ref"].startsWith("AWS::") ? "" : object["Ref"], ""];
  const [, parts = []] = (object["Fn::Join"] ?? []) as readonly [string, readonly unknown[]];
  const found = parts.map(target);
  return [found.map(([id]) => id).find(Boolean) ?? "", found.map(([, rest]) => rest).join("")];
}

/** What a statement is on, in words. `own` is the queue that the role is of. */
function named(value: unknown, own: string | undefined): string {
  const [id, rest] = target(value);
  const queue =
    /^Tasks(?:Queue|LongDelaysRole)(celery|media|video)/.exec(id)?.[1] ?? /schedule\/lovage-Shop-(\w+)/.exec(rest)?.[1];
  const whose = queue === undefined ? "" : queue === own ? "its own" : own === undefined ? "the" : "a declared";
  const kinds: readonly (readonly [RegExp, string])[] = [
    [/DeadLetters/, queue === undefined ? "dead letters of beat" : `${whose} dead letters`],
    [/Logs/, "its log group"],
    [/LongDelaysRole/, "roles by which Scheduler sends to these queues"],
    [/Queue[0-9A-F]{8}$/, `${whose} queue${own === undefined ? "s" : ""}`],
    [/Journal/, "the journal's table"],
    [/Results/, "the table of results"],
    [/Payloads/, /\*$/.test(rest) ? "objects of the payload bucket" : "the payload bucket"],
    [/Cluster/, "tasks of the cluster"],
    [/Function/, "the function of beat"],
  ];
  if (/:schedule\//.test(rest)) return `entries of ${whose === "the" ? "a" : whose} queue in Scheduler`;
  if (/:rule\//.test(rest)) return "rules of entries put at run time";
  if (/event-source-mapping/.test(rest)) return "the mappings of the queues";
  if (/:function:/.test(rest)) return "the functions";
  const kind = kinds.find(([pattern]) => pattern.test(id))?.[1];
  if (kind !== undefined) return kind;
  if (rest === "*") return "`*`";
  throw new Error(`scripts/aws-pages.ts has no words for ${JSON.stringify(value)}`);
}

/** The statements that name a role, with the role's own queue where it has one. */
function statementsOf(resources: Resources, role: iam.IRole, stack: Stack): readonly Statement[] {
  const id = stack.getLogicalId(role.node.defaultChild as iam.CfnRole);
  return Object.values(resources)
    .filter(
      ({ Type, Properties }) =>
        Type === "AWS::IAM::Policy" && JSON.stringify(Properties["Roles"]).includes(`{"Ref":"${id}"}`),
    )
    .flatMap(
      ({ Properties }) => (Properties["PolicyDocument"] as { readonly Statement: readonly Statement[] }).Statement,
    );
}

function condition({ Condition = {} }: Statement): string {
  const keys = Condition["ForAllValues:StringLike"]?.["dynamodb:LeadingKeys"];
  if (keys !== undefined)
    return `rows ${[keys]
      .flat()
      .map((key) => `\`${key}\``)
      .join(", ")}`;
  const service = Condition["StringEquals"]?.["iam:PassedToService"];
  if (service !== undefined) return `passed to \`${String(service)}\``;
  return Object.values(Condition)
    .flatMap((one) => Object.keys(one))
    .map((key) => `\`${key}\``)
    .join(", ");
}

function rightsTable(statements: readonly Statement[], own?: string): string {
  const rows = statements.map((statement) => {
    const byService = Map.groupBy([statement.Action].flat(), (action) => action.split(":")[0] ?? "");
    const actions = [...byService].map(([service, all]) =>
      all
        .map((action) => action.slice(service.length + 1))
        .sort()
        .map((action, index) => (index === 0 ? `\`${service}:${action}\`` : `\`${action}\``))
        .join(", "),
    );
    const on = [...new Set([statement.Resource].flat().map((resource) => named(resource, own)))].join("; ");
    return `| ${actions.join("; ")} | ${on} | ${condition(statement)} |`;
  });
  return ["| actions | on | only |", "|---|---|---|", ...[...new Set(rows)].sort()].join("\n");
}

interface Principal {
  readonly title: string;
  readonly text: string;
  readonly own?: string;
  readonly role: (all: Everything) => iam.IRole | undefined;
}

const PRINCIPALS: readonly Principal[] = [
  {
    title: "The function of a queue",
    text: "Made for each queue. `sendsTo` of the queue declares the other queues.",
    own: "celery",
    role: ({ tasks }) => tasks.queue("celery").function.role,
  },
  {
    title: "The containers of a queue",
    text: 'The role of the task in ECS, for `worker: "container"`.',
    own: "video",
    role: ({ tasks }) => tasks.queue("video").service?.taskDefinition.taskRole,
  },
  {
    title: "Beat",
    text: "Made when the app has a `beatSchedule`, or when you give `beatEntry`.",
    role: ({ tasks }) => tasks.beat?.function.role,
  },
  {
    title: "The board",
    text: "Made when you give `board`. It has the rights of `grantOperate`, or with `readOnly` those of `grantInspect`.",
    role: ({ tasks }) => tasks.board?.function.role,
  },
];

/** What each grant is for. Each is given to a role that has nothing else. */
const GRANTS = {
  grantSend: "For a caller of tasks: `delay()`, `applyAsync()`.",
  grantSendChords: "For a caller that sends chords, or saves groups. It needs `grantSend` too.",
  grantReadResults: "For a caller that reads results: `get()`, `state()`.",
  grantRevoke: "For a caller that revokes and forgets tasks.",
  grantSchedule: "For a program that puts entries of beat at run time: `app.beat`.",
  grantInspect:
    "For a person or program that only looks: `lovage status`, `tasks`, `failures`, the board with `readOnly`.",
  grantOperate: "For an operator: everything in `app.control`, and the board.",
  grantWork: "For your own worker, on whatever machine it runs.",
} as const;

function granted({ stack, tasks }: Everything, grant: keyof typeof GRANTS): iam.IRole {
  const role = new iam.Role(stack, grant, { assumedBy: new iam.AccountRootPrincipal() });
  tasks[grant](role);
  return role;
}

const MADE = "<!-- Made by scripts/aws-pages.ts from a stack; edit that, and src/cdk. -->";

/** The roles, with their places on the page. To be made before anything is synthesized. */
function rolesOf(all: Everything) {
  const made = PRINCIPALS.map(({ title, role, ...rest }) => ({ ...rest, heading: title, role: role(all) }));
  const grants = (Object.keys(GRANTS) as (keyof typeof GRANTS)[]).map((grant) => ({
    heading: `\`${grant}\``,
    text: GRANTS[grant],
    own: undefined,
    role: granted(all, grant),
  }));
  return [...made, ...grants];
}

function iamPage({ stack }: Everything, roles: ReturnType<typeof rolesOf>, resources: Resources): string {
  const sections = roles.map(({ heading, text, own, role }) => {
    if (role === undefined) throw new Error(`${heading}: there is no such role`);
    return `## ${heading}\n\n${text}\n\n${rightsTable(statementsOf(resources, role, stack), own)}`;
  });
  return `# IAM permissions

${MADE}

This page says what each role of \`TaskQueues\` may do, and what each of its grants adds to a role of yours. It is made from a stack that
uses every feature. If your app does not use one (\`longDelays\`, \`payloadStore\`, limits, beat), its roles lack the rights for it.

With an \`encryptionKey\` each role also gets rights on the key: \`kms:Decrypt\` and \`GenerateDataKey\` to write a message or a text,
\`Decrypt\` to read one, \`Decrypt\` and \`DescribeKey\` to read rows, and with these \`Encrypt\`, \`GenerateDataKey\`,
\`GenerateDataKeyWithoutPlaintext\`, \`ReEncryptFrom\` and \`ReEncryptTo\` to write rows.

[Operate an app](../how-to/operate.md#rights-on-aws) says what an operator needs each action for.
[Deploy](../how-to/deploy.md#what-a-role-may-do) says what a role could do to others.

${sections.join("\n\n")}
`;
}

interface AlarmProperties {
  readonly AlarmDescription: string;
  readonly Threshold: number;
  readonly EvaluationPeriods: number;
  readonly ComparisonOperator: string;
  readonly Namespace?: string;
  readonly MetricName?: string;
  readonly Statistic?: string;
  readonly Period?: number;
  readonly Metrics?: readonly { readonly Expression?: string; readonly MetricStat?: { readonly Period: number } }[];
}

const span = (seconds: number) => (seconds % 3600 === 0 ? `${seconds / 3600} h` : `${seconds / 60} min`);

function alarmsPage(resources: Resources): string {
  const alarms = Object.entries(resources).filter(
    ([id, { Type }]) =>
      Type === "AWS::CloudWatch::Alarm" && /^Tasks(Queuecelery|Queuevideo\w*NoContainers|BeatRules)/.test(id),
  );
  const rows = alarms.map(([, { Properties }]) => {
    const is = Properties as unknown as AlarmProperties;
    const expression = is.Metrics?.find(({ Expression }) => Expression !== undefined)?.Expression;
    const period = is.Period ?? is.Metrics?.find(({ MetricStat }) => MetricStat !== undefined)?.MetricStat?.Period ?? 0;
    const metric =
      expression === undefined ? `\`${is.Namespace}\` \`${is.MetricName}\`, ${is.Statistic}` : `\`${expression}\``;
    const sign = is.ComparisonOperator.startsWith("Less") ? "below" : "at or above";
    const when = `${sign} ${is.Threshold} for ${is.EvaluationPeriods === 1 ? "" : `${is.EvaluationPeriods} × `}${span(period)}`;
    const meaning = is.AlarmDescription.replace(/Shop-(celery|video)/, "the queue").replace("shop", "the app");
    return `| ${meaning} | ${metric} | ${when} |`;
  });
  return `# Alarms

${MADE}

\`TaskQueues\` makes these alarms for each queue and for beat. They notify nobody until you give [\`alarmActions\`](../how-to/deploy.md#alarms).
\`oldestMessageAge\` of a queue sets the age of its oldest message. The alarm on the share of failed tasks exists only when the queue has a
\`failedPercent\` (here 20). A queue with containers has no alarms about a function, and it has the alarm about containers.

| text of the alarm | metric | goes off |
|---|---|---|
${rows.join("\n")}
`;
}

/** Both pages, by the paths of their files. */
export function awsPages(): ReadonlyMap<string, string> {
  const folder = mkdtempSync(join(tmpdir(), "lovage-pages-"));
  try {
    const all = everything(folder);
    const roles = rolesOf(all);
    const resources = Template.fromStack(all.stack).toJSON()["Resources"] as Resources;
    return new Map([
      [ALARMS_PAGE, alarmsPage(resources)],
      [IAM_PAGE, iamPage(all, roles, resources)],
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) for (const [file, text] of awsPages()) writeFileSync(file, text);
