import { expect, test } from "vitest";
import { importsOf, violations } from "../../scripts/direction.ts";

const found = (modules: Readonly<Record<string, string>>) => violations(new Map(Object.entries(modules)));

test.each([
  ["errors.ts", "./states.ts", "./protocol/message.ts"],
  ["states.ts", "./errors.ts", "./results/backend.ts"],
  ["protocol/message.ts", "./values.ts", "../brokers/broker.ts"],
  ["protocol/meta.ts", "../states.ts", "../results/record.ts"],
  ["beat/schedule.ts", "../errors.ts", "../app.ts"],
  ["brokers/broker.ts", "../errors.ts", "./sqlite.ts"],
  ["brokers/sqlite.ts", "./broker.ts", "../results/backend.ts"],
  ["brokers/sqs.ts", "../aws/errors.ts", "../tasks/task.ts"],
  ["brokers/routes.ts", "./broker.ts", "../sqlite/database.ts"],
  ["aws/errors.ts", "../errors.ts", "../brokers/sqs.ts"],
  ["sqlite/database.ts", "../errors.ts", "../brokers/broker.ts"],
  ["results/record.ts", "./backend.ts", "./memory.ts"],
  ["results/dynamodb.ts", "./record.ts", "../brokers/broker.ts"],
  ["tasks/task.ts", "../brokers/broker.ts", "../brokers/sqs.ts"],
  ["canvas/chord.ts", "../results/record.ts", "../results/dynamodb.ts"],
  ["workers/worker.ts", "../brokers/broker.ts", "../brokers/sqlite.ts"],
  ["workers/settle.ts", "../results/backend.ts", "../results/sqlite.ts"],
  ["workers/poll.ts", "./worker.ts", "../lambda/worker.ts"],
  ["beat/loop.ts", "./schedule.ts", "../cli/main.ts"],
  ["app.ts", "./tasks/task.ts", "./testing/index.ts"],
  ["engine.ts", "./brokers/outbox.ts", "./brokers/memory.ts"],
  ["config/config.ts", "../beat/schedule.ts", "../lambda/worker.ts"],
  ["index.ts", "./app.ts", "./lambda/worker.ts"],
  ["cli/main.ts", "../app.ts", undefined],
  ["testing/index.ts", "../brokers/memory.ts", undefined],
  ["lambda/worker.ts", "../workers/worker.ts", undefined],
])("%s may import %s but not %s", (file, allowed, forbidden) => {
  expect(found({ [file]: `import { a } from "${allowed}";` })).toEqual([]);
  if (forbidden === undefined) return;
  expect(found({ [file]: `import { a } from "${forbidden}";` })).toHaveLength(1);
  expect(found({ [file]: `import type { A } from "${forbidden}";` })).toHaveLength(1);
  expect(found({ [file]: `export * from "${forbidden}";` })).toHaveLength(1);
});

test("an implementation is loaded on use, never at once, and in one place", () => {
  expect(found({ "open.ts": `const { open } = await import("./brokers/sqlite.ts");` })).toEqual([]);
  expect(found({ "open.ts": `import { open } from "./brokers/sqlite.ts";` })).toHaveLength(1);
  expect(found({ "app.ts": `await import("./brokers/sqlite.ts");` })).toHaveLength(1);
  expect(found({ "workers/worker.ts": `await import("../brokers/sqlite.ts");` })).toHaveLength(1);
});

test("what has another module in its place in a bundle is named as bundlers know it", () => {
  expect(found({ "app.ts": `import { loadSqs } from "#on-demand";` })).toEqual([]);
  expect(found({ "app.ts": `import { loadSqs } from "./on-demand.ts";` })).toHaveLength(1);
  expect(found({ "app.ts": `import { loadSqs } from "./at-once.ts";` })).toHaveLength(2);
  expect(found({ "on-demand.ts": `export const loadSqs = () => import("./brokers/sqs.ts");` })).toEqual([]);
  expect(found({ "on-demand.ts": `import * as sqs from "./brokers/sqs.ts";` })).toHaveLength(1);
  expect(found({ "at-once.ts": `import * as sqs from "./brokers/sqs.ts";` })).toEqual([]);
  const above = { "index.ts": `export { Lovage } from "./app.ts";`, "app.ts": `import { loadSqs } from "#on-demand";` };
  expect(found({ ...above, "on-demand.ts": `import { join } from "node:path";` })).toHaveLength(1);
});

test("only the modules that speak to AWS import its SDK", () => {
  const code = `import { SQSClient } from "@aws-sdk/client-sqs";`;
  expect(found({ "brokers/sqs.ts": code })).toEqual([]);
  expect(found({ "brokers/sqlite.ts": code })).toHaveLength(1);
  expect(found({ "workers/worker.ts": code })).toHaveLength(1);
});

test("what index.ts loads at once has nothing of Node, however far down", () => {
  const modules = (last: string) => ({
    "index.ts": `export { Lovage } from "./app.ts";`,
    "app.ts": `import { decode } from "./protocol/envelope.ts";`,
    "protocol/envelope.ts": last,
  });
  expect(found(modules(`const { inflateSync } = await import("node:zlib");`))).toEqual([]);
  expect(found(modules(`import type { Zlib } from "node:zlib";`))).toEqual([]);
  expect(found(modules(`import { inflateSync } from "node:zlib";`))).toEqual([
    "index.ts must load nothing of Node alone: index.ts → app.ts → protocol/envelope.ts → node:zlib",
  ]);
});

test("a module without a place is refused", () => {
  expect(found({ "utils.ts": "" })).toHaveLength(1);
});

test("imports are read in every form the formatter leaves them in", () => {
  const code = `
/** import { no } from "comment"; */
// import "no";
import "a";
import b, {
  type B,
} from "b";
import type { C } from "c";
export * from "d";
export { e } from "e";
export type { F } from "f";
export const text = "not an import";
const g = () => import("g");
`;
  expect(importsOf(code).map(({ specifier, kind }) => `${kind} ${specifier}`)).toEqual([
    "static a",
    "static b",
    "type c",
    "static d",
    "static e",
    "type f",
    "dynamic g",
  ]);
});
