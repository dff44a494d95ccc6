import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe } from "vitest";
import * as file from "../../src/payloads/file.ts";
import * as memory from "../../src/payloads/memory.ts";
import { payloadStoreContract } from "./payload-store.ts";

const folder = mkdtempSync(join(tmpdir(), "lovage-payloads-"));
afterAll(() => rmSync(folder, { recursive: true }));
const context = { now: Date.now };

describe("the contract of a store of large texts: files", () =>
  payloadStoreContract(async () => file.open(`${pathToFileURL(folder)}/large texts`, context)));

describe("the contract of a store of large texts: memory", () =>
  payloadStoreContract(async () => memory.open("memory://contract", context)));
