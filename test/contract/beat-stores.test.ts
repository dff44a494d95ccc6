import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, onTestFinished } from "vitest";
import { open as openMemory } from "../../src/beat/memory.ts";
import { open as openSqlite } from "../../src/beat/sqlite.ts";
import { beatStoreContract } from "./beat-store.ts";

const contextOf = (app: string) => ({ app, random: Math.random, options: {}, prefix: "", beatFunction: undefined });

describe("the contract of a store of entries: memory", () =>
  beatStoreContract(() => {
    const url = `memory://${randomUUID()}`;
    return async (app) => openMemory(url, contextOf(app));
  }));

describe("the contract of a store of entries: sqlite", () =>
  beatStoreContract(() => {
    const folder = mkdtempSync(join(tmpdir(), "lovage-beat-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    return async (app) => openSqlite(`sqlite:///${join(folder, "lovage.db")}`, contextOf(app));
  }));
