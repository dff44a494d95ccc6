/** The names of settings: ours, Celery's new ones and its old ones, and which of them are refused. */
import { ImproperlyConfigured } from "../errors.ts";
import { show } from "../parse.ts";
import { LIVE } from "./live.ts";
import { FIXED, type FixedSetting } from "./refused.ts";

/** Defined by who bundles for AWS, as `lovage/cdk` does. */
declare const LOVAGE_BUNDLE: "aws";

/**
 * Whether this is a function's bundle. The app in it was made when it was deployed, and its names were checked then: what is
 * refused, with all the reasons, stays out, and a name that is not live says what happens anyway.
 */
export const IS_BUNDLE: boolean = typeof LOVAGE_BUNDLE !== "undefined";

const refusals: Readonly<Record<string, FixedSetting>> = typeof LOVAGE_BUNDLE === "undefined" ? FIXED : {};

/** `taskTimeLimit` → `task_time_limit`: Celery's name of a setting that it has. */
export const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** The first word of a setting and how its old name begins, where that is not the new name in capitals. */
const OLD_PREFIXES: Readonly<Record<string, string>> = { task: "CELERY_", worker: "CELERYD_", beat: "CELERYBEAT_" };
const OLD_WITH_CELERY = new Set(
  "accept imports include timezone cache couchbase arangodb mongodb event redis result elasticsearch security".split(
    " ",
  ),
);

/** Celery's old name of a setting (`CELERY_ROUTES`), or `undefined` where Celery does not have the setting. */
export function oldName(name: string): string | undefined {
  const setting = LIVE[name as keyof typeof LIVE] ?? refusals[name];
  if (setting === undefined || ("parse" in setting && setting.celery !== true)) return undefined;
  if (setting.old !== undefined) return setting.old;
  const [space = "", ...rest] = snakeCase(name).toUpperCase().split("_");
  const prefix = OLD_PREFIXES[space.toLowerCase()];
  if (prefix !== undefined) return prefix + rest.join("_");
  return (OLD_WITH_CELERY.has(space.toLowerCase()) ? "CELERY_" : "") + [space, ...rest].join("_");
}

/** Every name in camelCase, of live and of refused settings. */
export const SETTING_NAMES: ReadonlySet<string> = new Set([...Object.keys(LIVE), ...Object.keys(refusals)]);

/** Whether it is a setting of Celery's that has one value here, or none. */
export const isFixed = (setting: string): boolean => Object.hasOwn(refusals, setting);

/**
 * Throws the reason for which a setting is refused, unless it is not given or says what happens anyway.
 *
 * @param spelling The setting's name as the user wrote it.
 */
export function refuse(setting: string, value: unknown, spelling: string): void {
  const refusal = refusals[setting];
  if (refusal === undefined || value === undefined || value === null || refusal.accepts.includes(value)) return;
  const { accepts, instead } = refusal;
  const refused =
    accepts.length === 0
      ? "has no meaning here"
      : `is always ${accepts.map(show).join(" or ")} here, and ${show(value)} was given`;
  throw new ImproperlyConfigured(spelling, `${refused}: ${instead}`);
}
