import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { CELERY_DEFAULTS } from "../../scripts/setting-meanings.ts";
import { SETTINGS_PAGE, settingsPage } from "../../scripts/settings-table.ts";
import { LIVE } from "../../src/config/live.ts";
import { oldName, SETTING_NAMES, snakeCase } from "../../src/config/names.ts";
import { FIXED } from "../../src/config/refused.ts";
import celery from "./celery-settings.json" with { type: "json" };

/** Read by Celery's DynamoDB backend, and not in its table of defaults. */
const UNLISTED = "dynamodb_endpoint_url";

describe("the table of settings", () => {
  const rows = [...Object.entries(LIVE), ...Object.entries(FIXED)]
    .filter(([name]) => oldName(name) !== undefined)
    .map(([name]) => ({ name: snakeCase(name), old: oldName(name), default: CELERY_DEFAULTS[name] }))
    .filter(({ name }) => name !== UNLISTED);

  it("has every setting of Celery 5.7 and no other as Celery's", () => {
    expect(rows.map(({ name }) => name).sort()).toEqual(celery.settings.map(({ name }) => name).sort());
  });

  it.each(celery.settings)("has the old name and the default of $name", (setting) => {
    const row = rows.find(({ name }) => name === setting.name);
    expect(row).toEqual({ ...setting, default: setting.default === "Infinity" ? Infinity : setting.default });
  });

  it("has no setting twice", () => {
    expect(SETTING_NAMES.size).toBe(Object.keys(LIVE).length + Object.keys(FIXED).length);
  });

  it("gives a reason without a full stop for whatever is refused, since the reason ends a sentence", () => {
    for (const [name, { instead }] of Object.entries(FIXED)) expect(instead, name).toMatch(/^[^.].{15,}[^.]$/);
  });

  it("is what the reference page says", async () => {
    expect(
      await readFile(SETTINGS_PAGE, "utf8"),
      "run `node --import ./scripts/source.ts scripts/settings-table.ts`",
    ).toBe(settingsPage());
  });
});
