/**
 * Makes `docs/reference/api/` from the doc comments of what the package exports; a test compares, and another wants a
 * comment for each export and each member.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { CompilerState, Extractor, ExtractorConfig } from "@microsoft/api-extractor";

const root = resolve(import.meta.dirname, "..");
export const API_FOLDER = join(root, "docs/reference/api");

interface Token {
  readonly kind: "Content" | "Reference";
  readonly text: string;
  readonly canonicalReference?: string;
}

interface TokenRange {
  readonly startIndex: number;
  readonly endIndex: number;
}

/** What API Extractor says of one export or member, as far as it is read here. */
interface Item {
  readonly kind: string;
  readonly name?: string;
  readonly canonicalReference: string;
  readonly docComment?: string;
  readonly excerptTokens?: readonly Token[];
  readonly fileUrlPath?: string;
  readonly releaseTag?: string;
  readonly members?: readonly Item[];
  readonly isOptional?: boolean;
  /** It may be `undefined`, although its own declaration does not say so: it is taken in from a type in `Given`. */
  readonly mayBeUndefined?: boolean;
  readonly isProtected?: boolean;
  readonly isStatic?: boolean;
  readonly propertyTypeTokenRange?: TokenRange;
  readonly typeTokenRange?: TokenRange;
  readonly extendsTokenRange?: TokenRange;
  readonly extendsTokenRanges?: readonly TokenRange[];
  /** What an interface extends, but for what is not exported: its members are taken in. */
  readonly bases?: readonly string[];
}

interface Page {
  readonly file: string;
  readonly title: string;
  readonly from: string;
  readonly intro: string;
  /** Which modules of the entry point it tells of; absent: all. */
  readonly modules?: RegExp;
}

/** In the order in which they are listed. An export belongs to the first page that has its module. */
const PAGES: readonly Page[] = [
  {
    file: "app.md",
    title: "The app and its settings",
    from: "lovage",
    intro: "The meaning of each setting is in [settings](../settings.md).",
    modules: /^(app|engine|clock|config\/.*|brokers\/(routes|outbox)|request-handler)$/,
  },
  {
    file: "self.md",
    title: "Within a task: `self`, `currentTask()`, loggers",
    from: "lovage",
    intro:
      "What a task that runs can see and do. [The tutorial](../../tutorial.md#bound-tasks-and-retries) shows how to use it.",
    modules: /^tasks\/(context|logger)$/,
  },
  {
    file: "schedules.md",
    title: "Schedules and beat",
    from: "lovage",
    intro: "[Run tasks on a schedule](../../how-to/schedules.md) shows how to use them.",
    modules: /^(tasks\/beat|beat\/.*)$/,
  },
  {
    file: "tasks.md",
    title: "Tasks and calls",
    from: "lovage",
    intro: "How a task is declared and called. [The tutorial](../../tutorial.md) shows how to use it.",
    modules: /^(tasks|limits)\/.*$/,
  },
  {
    file: "canvas.md",
    title: "Signatures, chains, groups, chords",
    from: "lovage",
    intro: "[Build workflows](../../how-to/workflows.md) shows how to use them.",
    modules: /^canvas\/.*$/,
  },
  {
    file: "results.md",
    title: "Results",
    from: "lovage",
    intro: "What a caller holds, and the states that a task has.",
    modules: /^(results\/(async-result|group-result|stream)|states|index)$/,
  },
  {
    file: "operating.md",
    title: "Operating: `app.control`, `app.journal`, `app.workflow`",
    from: "lovage",
    intro: "[Operate an app](../../how-to/operate.md) shows how to use them.",
    modules: /^(control\/.*|journal\/(?!store).*|brokers\/operator)$/,
  },
  {
    file: "signals.md",
    title: "Signals, and steps around a task",
    from: "lovage",
    intro: "What is called when something happens to a task.",
    modules: /^(signals|around)$/,
  },
  {
    file: "errors.md",
    title: "Errors",
    from: "lovage",
    intro: "When each is thrown, and what to do then, is in [errors](../errors.md).",
    modules: /^(errors|python-builtins|protocol\/exceptions?)$/,
  },
  {
    file: "values.md",
    title: "Values on the wire",
    from: "lovage",
    intro: "Values that JSON has no word for, and types of your own.",
    modules: /^protocol\/values$/,
  },
  {
    file: "ports.md",
    title: "Brokers and backends of your own",
    from: "lovage",
    intro:
      "[Write a broker](../../how-to/write-a-broker.md) and [write a backend](../../how-to/write-a-backend.md) show how.",
    modules: /^(brokers\/.*|results\/.*|journal\/store|unit|wait|open|protocol\/.*)$/,
  },
  {
    file: "testing.md",
    title: "`lovage/testing`",
    from: "testing",
    intro: "[Test your tasks](../../how-to/test-your-tasks.md) shows how to use it.",
  },
  {
    file: "worker.md",
    title: "`lovage/worker`",
    from: "workers",
    intro: "A worker within a process of yours. Most run `lovage worker` instead: [command line](../command-line.md).",
  },
  {
    file: "lambda.md",
    title: "`lovage/lambda`",
    from: "lambda",
    intro: "Handlers of Lambda functions. [Deploy](../../how-to/deploy.md) shows where they go.",
  },
  {
    file: "cdk.md",
    title: "`lovage/cdk`",
    from: "cdk",
    intro:
      "Constructs of the AWS CDK. [Deploy](../../how-to/deploy.md) shows how to use them; the rights of each role are in [IAM permissions](../iam-permissions.md).",
  },
  {
    file: "board.md",
    title: "`lovage/board`",
    from: "board",
    intro: "[See and steer your tasks in a browser](../../how-to/board.md) shows how to use it.",
  },
  {
    file: "web.md",
    title: "`lovage/web`",
    from: "web",
    intro: "[Stream results](../../how-to/stream-results.md) shows how to use it.",
  },
  {
    file: "otel.md",
    title: "`lovage/otel`",
    from: "otel",
    intro: "[Monitoring](../../how-to/monitor.md#traces) shows how to use it.",
  },
];

const entryFile = (folder: string, name: string) =>
  join(folder, name === "lovage" ? "index.d.ts" : `${name}/index.d.ts`);

/** What each entry point exports. One program reads them all: it is the declarations of the SDK and the CDK that take time. */
export function readApi(): ReadonlyMap<string, readonly Item[]> {
  // In the checkout, from which packages resolve.
  mkdirSync(join(root, ".cache"), { recursive: true });
  const folder = mkdtempSync(join(root, ".cache/api-"));
  try {
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const declarations = join(folder, "dist");
    execFileSync(process.execPath, [
      tsc,
      "-p",
      join(root, "tsconfig.build.json"),
      "--emitDeclarationOnly",
      // That is checked by `npm run typecheck`, and is half of the work.
      "--noCheck",
      "--outDir",
      declarations,
    ]);
    const entries = [...new Set(PAGES.map(({ from }) => from))];
    const configs = entries.map((name) =>
      ExtractorConfig.prepare({
        configObject: {
          projectFolder: root,
          mainEntryPointFilePath: entryFile(declarations, name),
          compiler: { overrideTsconfig: { ...COMPILER, include: [`${declarations}/**/*.d.ts`] } },
          apiReport: { enabled: false },
          dtsRollup: { enabled: false },
          tsdocMetadata: { enabled: false },
          docModel: { enabled: true, apiJsonFilePath: join(folder, `${name}.json`), includeForgottenExports: true },
          messages: {
            compilerMessageReporting: { default: { logLevel: "error" } },
            extractorMessageReporting: { default: { logLevel: "none" } },
            tsdocMessageReporting: { default: { logLevel: "none" } },
          },
        },
        configObjectFullPath: undefined,
        packageJsonFullPath: join(root, "package.json"),
      } as Parameters<typeof ExtractorConfig.prepare>[0]),
    );
    const [first] = configs;
    if (first === undefined) throw new Error("there is no entry point");
    const compilerState = CompilerState.create(first, {
      additionalEntryPoints: entries.map((name) => entryFile(declarations, name)),
    });
    const api = new Map<string, readonly Item[]>();
    for (const [index, config] of configs.entries()) {
      const name = entries[index] ?? "";
      const said: string[] = [];
      const { succeeded } = Extractor.invoke(config, {
        compilerState,
        localBuild: true,
        messageCallback: (message) => {
          message.handled = true;
          if (message.logLevel === "error") said.push(message.text);
        },
      });
      if (!succeeded)
        throw new Error(`API Extractor could not read ${entryFile(declarations, name)}: ${said.join("\n")}`);
      const read = JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")) as Item;
      const all = (read.members?.[0]?.members ?? []).filter(isPublic);
      api.set(name, told(all, name === "lovage"));
    }
    return api;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const COMPILER = {
  compilerOptions: {
    target: "es2024",
    lib: ["es2024", "esnext", "dom"],
    module: "nodenext",
    moduleResolution: "nodenext",
    types: ["node"],
    strict: true,
    skipLibCheck: true,
  },
};

const isPublic = ({ releaseTag, docComment = "" }: Item) =>
  releaseTag !== "Internal" && !/@internal\b/.test(docComment);
/** What only stands in the types of exports is written `lovage!~Name`. */
const isExported = ({ canonicalReference }: Item) => !canonicalReference.includes("!~");

/** Helpers of types that a reader is shown nowhere: they say of a signature what the compiler checks. */
const MACHINERY = /^(canvas\/fit|tasks\/wire|tasks\/schema|engine|parse)$/;

/** What is exported; and, where it is first found, what that is made of without a name of its own to import. */
function told(all: readonly Item[], first: boolean): readonly Item[] {
  const found = all.filter(isExported).map((item) => withBases(item, all));
  for (const item of found) {
    const tokens = [item, ...(item.members ?? [])].flatMap(({ excerptTokens = [] }) => excerptTokens);
    for (const { canonicalReference } of tokens) {
      const inner = all.find((one) => one.canonicalReference === canonicalReference);
      if (inner === undefined || isExported(inner) || !["Interface", "TypeAlias"].includes(inner.kind)) continue;
      const ours = moduleOf(inner).startsWith("..") || (!first && all.length > 0 && !OWN.test(moduleOf(inner)));
      if (ours || MACHINERY.test(moduleOf(inner)) || found.some((one) => one.canonicalReference === canonicalReference))
        continue;
      // The loop goes on over what is added.
      found.push(withBases(inner, all));
    }
  }
  return found;
}
/** Modules of the entry points beside the first: what they take from the others is told there. */
const OWN = /^(testing|workers|lambda|cdk|board|web|otel)\//;

/** An interface with the members of those it extends that are not exported: a reader has nowhere else to find them. */
function withBases(item: Item, all: readonly Item[]): Item {
  if (item.kind !== "Interface") return item;
  const bases = (item.extendsTokenRanges ?? []).map((range) => {
    const tokens = rangeOf(item, range);
    const isGiven = /^Given</.test(joined(tokens).trim());
    const reference = tokens.filter(({ kind }) => kind === "Reference")[isGiven ? 1 : 0]?.canonicalReference;
    const base = all.find((one) => one.canonicalReference === reference);
    if (base === undefined || isExported(base)) return { said: [joined(tokens).trim()], members: [] };
    if (base.kind !== "Interface") return { said: [joined(rangeOf(base, base.typeTokenRange)).trim()], members: [] };
    const { bases: said = [], members = [] } = withBases(base, all);
    return { said, members: isGiven ? members.map(asGiven) : members };
  });
  const own = new Set((item.members ?? []).map(nameOf));
  const members = [
    ...(item.members ?? []),
    ...bases.flatMap((base) => base.members.filter((one) => !own.has(nameOf(one)))),
  ];
  return {
    ...item,
    members: members.sort((a, b) => (nameOf(a).toLowerCase() < nameOf(b).toLowerCase() ? -1 : 1)),
    bases: bases.flatMap(({ said }) => said),
  };
}

/** A method in `Given` of src/parse.ts: it may be left out, or be `undefined`. */
const asGiven = (member: Item): Item => ({
  ...member,
  isOptional: true,
  mayBeUndefined: true,
  excerptTokens: (member.excerptTokens ?? []).map((token, index) =>
    index === 0 ? { ...token, text: token.text.replace(/^\w+/, "$&?") } : token,
  ),
});

/** `Request` of ours beside the global one is `Request_2` to API Extractor. */
const plain = (text: string) => text.replaceAll(/\b([A-Z]\w*)_\d\b/g, "$1");
const nameOf = ({ name = "" }: Item) => plain(name);
const moduleOf = ({ fileUrlPath = "" }: Item) => fileUrlPath.replace(/^.*?\/dist\//, "").replace(/\.d\.ts$/, "");
const visible = ({ members = [] }: Item) => members.filter((member) => isPublic(member) && member.isProtected !== true);

/** What says enough by what it is, or whose comment the declarations do not carry: `crontab.fromString` is told with `crontab`. */
const needsNoWord = ({ kind, name = "" }: Item) =>
  kind === "Constructor" || kind === "CallSignature" || kind === "Namespace" || /^\[/.test(name);

/** What Lovage gives, or hands from one of its parts to another: what is not there is left out of it. */
const GIVEN_BY_LOVAGE =
  /^(Again|BrokerLimits|CarriedRequest|Delivery|Disposition|Final|FunctionState|HttpAnswer|HttpEvent|IntervalSchedule|JournalEntry|Outgoing|QueueConfig|QueueState|ReadOptions|ReceiveOptions|ResultReader|RetriedFailures|RetryRequest|Row|RunEnd|ScheduleEntry|SignatureData|TaskInHand|Way|WorkerInfo|WorkerOptions)$/;

/**
 * Each option that may be left out, and yet not be `undefined` in a project with `exactOptionalPropertyTypes`: as a property or a
 * method of an interface, in a type that is written out in its place, or by `Partial`.
 */
export function exactOptions(api: ReadonlyMap<string, readonly Item[]>): readonly string[] {
  const found = new Set<string>();
  for (const item of [...api.values()].flat()) {
    if (GIVEN_BY_LOVAGE.test(nameOf(item))) continue;
    for (const member of [item, ...(item.members ?? [])]) {
      const name = member === item ? nameOf(item) : `${nameOf(item)}.${nameOf(member)}`;
      const isProperty = member.kind === "PropertySignature";
      const type = joined(isProperty ? rangeOf(member, member.propertyTypeTokenRange) : (member.excerptTokens ?? []));
      const isExact = member.isOptional === true && member.mayBeUndefined !== true;
      if (isExact && (isProperty ? !/\bundefined$/.test(type.trim()) : member.kind === "MethodSignature"))
        found.add(name);
      if (/\bPartial</.test(type)) found.add(`${name}: Partial`);
      for (const [, inner, its = ""] of type.matchAll(/\breadonly (\w+)\?: ([^;{}]*);/g))
        if (!/\b(undefined|unknown)$/.test(its)) found.add(`${name}: ${inner}`);
    }
  }
  return [...found].sort();
}

/** Each export and member that has no comment. A member of a mapped or resolved form (`Config`) has that of its source. */
export function gapsOf(api: ReadonlyMap<string, readonly Item[]>): readonly string[] {
  const gaps = new Set<string>();
  for (const items of api.values()) {
    const documented = new Set(items.filter(({ docComment }) => words(docComment) !== "").map(nameOf));
    for (const item of items) {
      if (needsNoWord(item) || !isExported(item)) continue;
      if (!documented.has(nameOf(item))) gaps.add(nameOf(item));
      const said = new Set(
        visible(item)
          .filter(({ docComment }) => words(docComment) !== "")
          .map(nameOf),
      );
      for (const member of visible(item)) {
        if (needsNoWord(member) || said.has(nameOf(member)) || inherited(items, item, member) !== undefined) continue;
        gaps.add(`${nameOf(item)}.${nameOf(member)}`);
      }
    }
  }
  return [...gaps].sort();
}

/** The comment that a member has by the interface beside it: `Config` is what `ConfigInput` becomes. */
function inherited(items: readonly Item[], item: Item, member: Item): string | undefined {
  const source = items.find((other) => nameOf(other) === INHERITS[nameOf(item)]);
  return source?.members?.find((other) => nameOf(other) === nameOf(member))?.docComment;
}
const INHERITS: Readonly<Record<string, string>> = { Config: "ConfigInput" };

/** The lines of a comment, without its stars. */
const words = (comment = ""): string =>
  comment
    .replace(/^\/\*\*\s?/, "")
    .replace(/\s*\*\/\s*$/, "")
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, ""))
    .join("\n")
    .trim();

interface Told {
  readonly text: string;
  readonly otherwise: string;
  readonly parameters: readonly (readonly [name: string, text: string])[];
  readonly returns: string;
  readonly throws: string;
}

function tell(comment: string | undefined, link: Link): Told {
  // Code in a comment is a part of what its reader has around it.
  const all = words(comment)
    .replaceAll("```ts\n", "```ts fragment\n")
    .replaceAll(/\{@link\s+([^}|]+?)\s*(?:\|\s*([^}]+?)\s*)?\}/g, (_, to: string, shown?: string) =>
      link(to, shown ?? `\`${to}\``),
    );
  const [text = "", ...blocks] = all.split(/(?:^|\s+)@(?=(?:param|returns|default|throws)\b)/);
  const of = (tag: string) =>
    blocks
      .filter((block) => block.startsWith(tag))
      .map((block) =>
        block
          .slice(tag.length)
          .replace(/^\s*(?:-\s)?\s*/, "")
          .trim(),
      );
  return {
    text: text.trim(),
    otherwise: of("default").join(" "),
    parameters: of("param").map((block) => {
      const [, name = "", said = ""] = /^(\S+)\s*(?:-\s)?([\s\S]*)$/.exec(block) ?? [];
      return [name, said.trim()] as const;
    }),
    returns: of("returns").join(" "),
    throws: of("throws").join(" "),
  };
}

type Link = (to: string, shown: string) => string;

const joined = (tokens: readonly Token[]) => plain(tokens.map(({ text }) => text).join(""));
const rangeOf = ({ excerptTokens = [] }: Item, range: TokenRange | undefined) =>
  range === undefined ? [] : excerptTokens.slice(range.startIndex, range.endIndex);
/** The type of a property. That it may be undefined is said by the `?` of its name. */
function typeOf(item: Item): readonly Token[] {
  const tokens = rangeOf(item, item.propertyTypeTokenRange);
  if (item.isOptional !== true) return tokens;
  // A function has brackets around it only for what is left out here.
  const isFunction = /^\(\(.*=>.*\) \| undefined$/s.test(joined(tokens));
  return tokens.flatMap((token, at) => {
    let { text } = token;
    if (isFunction && at === 0) text = text.slice(1);
    if (at === tokens.length - 1) text = text.replace(isFunction ? /\) \| undefined$/ : / \| undefined$/, "");
    return text === "" ? [] : [{ ...token, text }];
  });
}

const declarationOf = (item: Item) =>
  joined(item.excerptTokens ?? [])
    .replace(/^export (declare )?/, "")
    .trim();

/** What may stand in a cell of a table: one line, no bar. */
const cell = (text: string) =>
  text
    .replaceAll(/\s*\n\s*\n\s*/g, "<br>")
    .replaceAll(/\s*\n\s*/g, " ")
    .replaceAll("|", "\\|");
const code = (text: string) => `\`${text.replaceAll(/\s+/g, " ").trim()}\``;
const isCallable = ({ kind }: Item) => ["Method", "MethodSignature", "Function", "CallSignature"].includes(kind);
const isProperty = ({ kind }: Item) => ["Property", "PropertySignature", "Variable"].includes(kind);

function details({ parameters, returns, throws, otherwise }: Told): readonly string[] {
  return [
    ...parameters.map(([name, text]) => `- \`${name}\`: ${text.replaceAll(/\s*\n\s*/g, " ")}`),
    ...(returns === "" ? [] : [`- returns ${returns.replaceAll(/\s*\n\s*/g, " ")}`]),
    ...(throws === "" ? [] : [`- throws ${throws.replaceAll(/\s*\n\s*/g, " ")}`]),
    ...(otherwise === "" ? [] : [`- default: ${otherwise.replaceAll(/\s*\n\s*/g, " ")}`]),
  ];
}

const paragraphs = (parts: readonly (string | readonly string[])[]) =>
  parts
    .map((part) => (typeof part === "string" ? part : part.join("\n")))
    .filter((part) => part !== "")
    .join("\n\n");

const fence = (text: string) => `\`\`\`typescript\n${text}\n\`\`\``;

/** A table of properties. Constructs' props say their default with a tag of its own, as the CDK's do. */
function table(items: readonly Item[], owner: Item, all: readonly Item[], link: Link): string {
  const rows = items.map((item) => {
    const told = tell(words(item.docComment) === "" ? inherited(all, owner, item) : item.docComment, link);
    const type = typeOf(item);
    const [only] = type;
    const name = code(`${nameOf(item)}${item.isOptional === true ? "?" : ""}`);
    const shown = code(joined(type));
    return {
      name,
      type: cell(type.length === 1 && only?.kind === "Reference" ? link(joined(type), shown) : shown),
      otherwise: cell(told.otherwise),
      text: cell([told.text, ...details({ ...told, otherwise: "" })].filter((part) => part !== "").join("\n\n")),
    };
  });
  if (rows.length === 0) return "";
  const withDefault = rows.some(({ otherwise }) => otherwise !== "");
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(["name", "type", ...(withDefault ? ["default"] : []), "meaning"]),
    `|${"---|".repeat(withDefault ? 4 : 3)}`,
    ...rows.map((row) => line([row.name, row.type, ...(withDefault ? [row.otherwise] : []), row.text])),
  ].join("\n");
}

function section(name: string, group: readonly Item[], all: readonly Item[], link: Link): string {
  const [first] = group;
  if (first === undefined) return "";
  const parts: (string | readonly string[])[] = [`## ${name}`];
  for (const item of group) {
    const told = tell(item.docComment, link);
    if (item.kind === "Namespace") {
      parts.push(told.text, table(visible(item).filter(isProperty), item, all, link));
      for (const member of visible(item).filter((one) => !isProperty(one))) {
        const said = tell(member.docComment, link);
        parts.push(`### ${name}.${nameOf(member)}`, fence(declarationOf(member)), said.text, details(said));
      }
      continue;
    }
    const members = visible(item);
    if (!isExported(item))
      parts.push("You cannot import this type by its name. It is part of the types of other exports.");
    const base = item.bases ?? [joined(rangeOf(item, item.extendsTokenRange)).trim()].filter(Boolean);
    if (item.kind === "Interface" || item.kind === "Class") {
      const bases = base.map((one) => link(one.replace(/<.*$/s, ""), code(one)));
      parts.push(
        [`${item.kind}${bases.length === 0 ? "" : `, extends ${bases.join(", ")}`}.`, told.text].join(" ").trim(),
      );
    } else parts.push(fence(declarationOf(item)), told.text);
    parts.push(details(told));
    const made = members.filter(
      ({ kind, docComment }) => kind === "Constructor" && !/^Constructs a new instance/.test(words(docComment)),
    );
    for (const maker of made) {
      const said = tell(maker.docComment, link);
      parts.push(fence(declarationOf(maker).replace(/^constructor/, `new ${name}`)), said.text, details(said));
    }
    parts.push(table(members.filter(isProperty), item, all, link));
    const callable = Map.groupBy(members.filter(isCallable), nameOf);
    for (const [method, overloads] of callable) {
      parts.push(method === "" ? "" : `### ${name}.${method}`);
      for (const overload of overloads) {
        const said = tell(overload.docComment, link);
        parts.push(fence(declarationOf(overload)), said.text, details(said));
      }
    }
  }
  return paragraphs(parts);
}

/** As GitHub and VitePress make an anchor of a heading that is one word. */
const anchorOf = (name: string) => name.toLowerCase();

/** The pages, by the names of their files. Throws where an export has no page. */
export function apiPages(api: ReadonlyMap<string, readonly Item[]>): ReadonlyMap<string, string> {
  const placed = new Map<string, Page>();
  const exportsOf = new Map<Page, Item[]>(PAGES.map((page) => [page, []]));
  for (const [entry, items] of api) {
    for (const item of items) {
      const page = PAGES.find(({ from, modules }) => from === entry && (modules?.test(moduleOf(item)) ?? true));
      if (page === undefined)
        throw new Error(`${nameOf(item)} of ${moduleOf(item)} has no page: name its module in scripts/api-pages.ts`);
      // What two entry points export is told where it was found first.
      if (!placed.has(nameOf(item))) placed.set(nameOf(item), page);
      exportsOf.get(page)?.push(item);
    }
  }
  const pages = new Map<string, string>();
  for (const [page, items] of exportsOf) {
    const link: Link = (to, shown) => {
      const there = placed.get(to);
      if (there === undefined) return shown;
      return `[${shown}](${there === page ? "" : there.file}#${anchorOf(to)})`;
    };
    const names = [...Map.groupBy(items, nameOf)].sort(([a], [b]) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1));
    pages.set(
      page.file,
      `${paragraphs([
        `# ${page.title}`,
        MADE,
        `${importOf(page)} ${page.intro}`,
        names.map(([name]) => link(name, code(name))).join(" · "),
        ...names.map(([name, group]) => section(name, group, items, link)),
      ])}\n`,
    );
  }
  pages.set(
    "index.md",
    `${paragraphs([
      "# API",
      MADE,
      "What the package exports, made from the comments in its source. If a guide shows how to use them, its link is at the top of the page.",
      PAGES.map((page) => {
        const names = [...new Set((exportsOf.get(page) ?? []).map(nameOf))].sort((a, b) =>
          a.toLowerCase() < b.toLowerCase() ? -1 : 1,
        );
        return `- [${page.title}](${page.file}): ${names.map((name) => `[\`${name}\`](${page.file}#${anchorOf(name)})`).join(", ")}`;
      }),
    ])}\n`,
  );
  return pages;
}

const MADE = "<!-- Made by scripts/api-pages.ts from the comments in src; edit those. -->";
const importOf = ({ from }: Page) =>
  `From \`${from === "lovage" ? "lovage" : `lovage/${from === "workers" ? "worker" : from}`}\`.`;

if (import.meta.main) {
  const api = readApi();
  const gaps = gapsOf(api);
  for (const gap of gaps) process.stdout.write(`no comment: ${gap}\n`);
  const pages = apiPages(api);
  mkdirSync(API_FOLDER, { recursive: true });
  for (const name of readdirSync(API_FOLDER)) if (!pages.has(name)) rmSync(join(API_FOLDER, name));
  for (const [name, text] of pages) writeFileSync(join(API_FOLDER, name), text);
}
