/**
 * Writes docs/reference/settings.md from the table of settings: `node --import ./scripts/source.ts scripts/settings-table.ts`. A test compares the
 * file with what this makes.
 */
import { writeFile } from "node:fs/promises";
import { LIVE, type LiveSetting } from "../src/config/live.ts";
import { oldName, snakeCase } from "../src/config/names.ts";
import { FIXED, type FixedSetting } from "../src/config/refused.ts";
import { CELERY_DEFAULTS, MEANINGS } from "./setting-meanings.ts";

export const SETTINGS_PAGE = new URL("../docs/reference/settings.md", import.meta.url);

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const code = (value: unknown): string => (typeof value === "number" ? `\`${value}\`` : `\`${JSON.stringify(value)}\``);
const row = (...cells: readonly string[]): string => `| ${cells.map(cell).join(" | ")} |`;

const celeryNames = (name: string): string => `\`${snakeCase(name)}\`<br>\`${oldName(name)}\``;
const celeryDefault = (value: unknown): string => (value === null ? "none" : code(value));

function live([name, setting]: readonly [string, LiveSetting<unknown>]): string {
  const meaning = MEANINGS[name as keyof typeof MEANINGS];
  const ours = meaning.default ?? (setting.default === undefined ? "none" : code(setting.default));
  const celery = name in CELERY_DEFAULTS;
  return row(
    `\`${name}\``,
    celery ? celeryNames(name) : "not Celery's",
    celery ? celeryDefault(CELERY_DEFAULTS[name]) : "–",
    ours,
    meaning.why === undefined ? meaning.what : `${meaning.what} *${meaning.why}*`,
  );
}

function fixed([name, setting]: readonly [string, FixedSetting]): string {
  const accepted = setting.accepts.length === 0 ? "–" : setting.accepts.map(code).join(", ");
  return row(celeryNames(name), celeryDefault(CELERY_DEFAULTS[name]), accepted, `${setting.instead}.`);
}

export function settingsPage(): string {
  return `# Settings

<!-- Made by scripts/settings-table.ts from src/config and scripts/setting-meanings.ts; edit those. -->

Give settings to \`new Lovage(name, settings)\`, in camelCase, or to \`app.configFromObject()\`. The latter also takes Celery's new
names (\`task_routes\`), its old ones (\`CELERY_ROUTES\`) and, with \`{ namespace: "CELERY" }\`, Django's form
(\`CELERY_TASK_ROUTES\`). Do not mix old names and new ones. \`undefined\` and \`null\` count as not given. A name that is not a
setting, and a value outside the range that is given here, throw \`ImproperlyConfigured\`. For a name, the error suggests the nearest one.

Times are in seconds. The [glossary](glossary.md) explains words such as row, lease and dead letter.

## What can be set

Text in italics says why a default or a value differs from Celery's.

| Setting | Celery's names | Celery's default | Default | Meaning |
|---|---|---|---|---|
${Object.entries(LIVE).map(live).join("\n")}

## What cannot

These are the other settings of Celery 5.7. Each is refused with the reason given here. A value under "Accepted" may be given,
because it says what Lovage does anyway.

| Celery's names | Celery's default | Accepted | Reason, and what to do |
|---|---|---|---|
${Object.entries(FIXED).map(fixed).join("\n")}
`;
}

if (import.meta.main) await writeFile(SETTINGS_PAGE, settingsPage());
