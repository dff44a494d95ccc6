import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { API_FOLDER, apiPages, exactOptions, gapsOf, readApi } from "../../scripts/api-pages.ts";

const api = readApi();

test("every export and every member of one has a comment", () => {
  expect(gapsOf(api)).toEqual([]);
});

test("a member without a comment is named", () => {
  const [[entry, items] = ["", []]] = api;
  const bare = items.map((item) => (item.name === "Signature" ? { ...item, docComment: "/** */" } : item));
  expect(gapsOf(new Map([[entry, bare]]))).toEqual(["Signature"]);
});

test("an option that may be left out may be undefined, also with exactOptionalPropertyTypes", () => {
  expect(exactOptions(api)).toEqual([]);
});

test("what refuses undefined is named, in whatever way it is left out", () => {
  const canonicalReference = "";
  const content = (text: string) => [{ kind: "Content" as const, text }];
  const members = [
    {
      kind: "MethodSignature",
      name: "hook",
      isOptional: true,
      excerptTokens: content("hook?(): void;"),
      canonicalReference,
    },
    {
      kind: "PropertySignature",
      name: "limit",
      isOptional: true,
      excerptTokens: content("readonly limit?: number;"),
      canonicalReference,
    },
  ];
  const written =
    "(some?: Partial<Faults>, more?: {\n readonly runs?: number;\n readonly seed?: number | undefined;\n}): void;";
  const items = [
    { kind: "Interface", name: "Options", members, canonicalReference },
    {
      kind: "Function",
      name: "go",
      excerptTokens: content(`export declare function go${written}`),
      canonicalReference,
    },
  ];
  expect(exactOptions(new Map([["lovage", items]]))).toEqual([
    "Options.hook",
    "Options.limit",
    "go: Partial",
    "go: runs",
  ]);
});

test("the pages of the API are what the comments say", () => {
  const pages = apiPages(api);
  expect(readdirSync(API_FOLDER).sort(), REMEDY).toEqual([...pages.keys()].sort());
  for (const [name, text] of pages)
    expect(readFileSync(join(API_FOLDER, name), "utf8"), `${name}: ${REMEDY}`).toBe(text);
});

test("each setting, each option of a task and each prop of a construct is on a page, with its meaning", () => {
  const pages = apiPages(api);
  const row = (page: string, name: string) =>
    new RegExp(`^\\| \`${name}\\??\` \\|.*\\| \\S.* \\|$`, "m").test(pages.get(page) ?? "") ? "" : name;
  expect(["brokerUrl", "taskRoutes", "beatSchedule", "metrics"].map((name) => row("app.md", name)).join("")).toBe("");
  expect(
    ["queue", "priority", "expires", "autoretryFor", "rateLimit"].map((name) => row("tasks.md", name)).join(""),
  ).toBe("");
  expect(
    ["prefix", "longDelays", "alarmActions", "encryptionKey", "vpc"].map((name) => row("cdk.md", name)).join(""),
  ).toBe("");
});

const REMEDY = "run `node scripts/api-pages.ts`";
