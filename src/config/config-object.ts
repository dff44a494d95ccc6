/** `app.configFromObject()`: Celery's configuration, in any spelling of its names, made ours. */
import type { ConfigInput } from "./config.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { didYouMean } from "../nearest.ts";
import { camelCase, isPlain, name as nonEmpty, shape, show } from "../parse.ts";
import { LIVE } from "./live.ts";
import { IS_BUNDLE, isFixed, oldName, refuse, SETTING_NAMES, snakeCase } from "./names.ts";
import { duration } from "./values.ts";

/** Our names by the new ones (`task_routes`) and by the old ones (`CELERY_ROUTES`). */
const BY_NEW_NAME = new Map([...SETTING_NAMES].map((name) => [snakeCase(name), name]));
const BY_OLD_NAME = new Map([
  ...[...SETTING_NAMES].flatMap((name) => {
    const old = oldName(name);
    return old === undefined ? [] : [[old, name] as const];
  }),
  // Celery itself reads ENABLE_UTC; this is what its documentation says that the old name was.
  ["CELERY_ENABLE_UTC", "enableUtc"] as const,
]);

/** A setting as the user wrote it. */
interface Spelled {
  readonly name: string;
  readonly spelling: string;
  readonly old: boolean;
  readonly value: unknown;
}

/**
 * Reads settings out of an object or a module (`import * as config from "./celeryconfig.ts"`): our names, Celery's new
 * ones (`beat_schedule`) or its old ones (`CELERYBEAT_SCHEDULE`), with the keys inside of them in either spelling.
 * Old names and new ones do not mix, unless both of one setting are given: then the new one counts.
 *
 * Of an object's or module's members are left aside: names that begin with `_`, and functions, such as routers, under
 * a name that is no setting's. A `default` export that is an object is read like the module itself.
 *
 * @param options.namespace Django's form: `"CELERY"` reads `CELERY_BROKER_URL`, `CELERY_TASK_ROUTES` and so on, always
 * with the new names, and leaves every other name aside.
 *
 * Throws `ImproperlyConfigured` for a name that is no setting, suggesting the nearest, for a mixture, and for a value
 * that is not allowed.
 */
export function configFromObject(source: object, options?: { readonly namespace?: string } | null): ConfigInput {
  if (typeof source !== "object" || source === null || Array.isArray(source)) {
    throw new ImproperlyConfigured(
      "configFromObject",
      `takes an object or a module, as of import * as config from "./celeryconfig.ts" (given: ${show(source)})`,
    );
  }
  const { namespace } = parseOptions(options ?? {}, "configFromObject");
  const spelled = read(source, namespace);
  if (namespace === undefined) refuseMixture(spelled);

  const input: Record<string, unknown> = {};
  // The old spelling of a setting that has both is overwritten by the new one.
  for (const { name, spelling, value } of spelled.toSorted((a, b) => Number(b.old) - Number(a.old))) {
    if (isFixed(name)) {
      refuse(name, value, spelling);
      continue;
    }
    const converted = CONVERTERS[name]?.(value, spelling) ?? value;
    if (converted === undefined || converted === null) continue;
    // Checked here too, so that an error names the setting as it was written.
    LIVE[name as keyof typeof LIVE].parse(converted, spelling);
    input[name] = converted;
  }
  // Each value has passed the check of its setting.
  return input as ConfigInput;
}

const parseOptions = shape<{ readonly namespace?: string }>({ namespace: nonEmpty }, {});

function read(source: object, namespace: string | undefined): readonly Spelled[] {
  const members = new Map(Object.entries(source));
  const inner = members.get("default");
  if (isPlain(inner)) {
    members.delete("default");
    for (const [key, value] of Object.entries(inner)) {
      if (members.has(key))
        throw new ImproperlyConfigured(key, "is given twice, by the module and in its default export");
      members.set(key, value);
    }
  }
  return [...members].flatMap(([key, value]) => {
    const found = namespace === undefined ? named(key) : namespaced(key, namespace);
    if (found !== undefined) return [{ ...found, spelling: key, value }];
    if (
      IS_BUNDLE ||
      (namespace !== undefined ? !key.startsWith(`${namespace}_`) : key.startsWith("_") || typeof value === "function")
    )
      return [];
    throw unknownName(key, namespace);
  });
}

function named(key: string): Pick<Spelled, "name" | "old"> | undefined {
  const name = SETTING_NAMES.has(key) ? key : BY_NEW_NAME.get(key);
  if (name !== undefined) return { name, old: false };
  const byOld = BY_OLD_NAME.get(key);
  return byOld === undefined ? undefined : { name: byOld, old: true };
}

/** `CELERY_TASK_ROUTES` for the namespace `CELERY`, `celery_task_routes` for `celery`. */
function namespaced(key: string, namespace: string): Pick<Spelled, "name" | "old"> | undefined {
  if (!key.startsWith(`${namespace}_`)) return undefined;
  const rest = key.slice(namespace.length + 1);
  const capitals = namespace === namespace.toUpperCase();
  if (rest !== (capitals ? rest.toUpperCase() : rest.toLowerCase())) return undefined;
  const name = BY_NEW_NAME.get(rest.toLowerCase());
  return name === undefined ? undefined : { name, old: false };
}

function unknownName(key: string, namespace: string | undefined): ImproperlyConfigured {
  if (namespace !== undefined) {
    const spell = (name: string): string =>
      `${namespace}_${namespace === namespace.toUpperCase() ? snakeCase(name).toUpperCase() : snakeCase(name)}`;
    const byOld = BY_OLD_NAME.get(key);
    if (byOld !== undefined)
      return new ImproperlyConfigured(key, `is the old name of a setting; in a namespace it is ${spell(byOld)}`);
    return new ImproperlyConfigured(key, `is not a setting${didYouMean(key, [...SETTING_NAMES].map(spell))}`);
  }
  const django = key.startsWith("CELERY_") ? BY_NEW_NAME.get(key.slice("CELERY_".length).toLowerCase()) : undefined;
  if (django !== undefined) {
    return new ImproperlyConfigured(
      key,
      `is not a setting: its old name is ${oldName(django) ?? django}, its new one ${snakeCase(django)}; for Django's form give { namespace: "CELERY" }`,
    );
  }
  return new ImproperlyConfigured(
    key,
    `is not a setting${didYouMean(key, [...SETTING_NAMES, ...BY_NEW_NAME.keys(), ...BY_OLD_NAME.keys()])}`,
  );
}

/** Celery's rule: the rarer kind of names is at fault, the old ones where there are as many of both. */
function refuseMixture(spelled: readonly Spelled[]): void {
  const old = spelled.filter((setting) => setting.old);
  const current = spelled.filter((setting) => !setting.old);
  if (old.length === 0 || current.length === 0) return;
  const [left, kept] = old.length > current.length ? [current, old] : [old, current];
  const odd = left.filter(({ name }) => !kept.some((other) => other.name === name));
  const [first] = odd;
  if (first === undefined) return;
  const renames = odd.map(
    ({ name, spelling, old: isOld }) => `${spelling} → ${isOld ? snakeCase(name) : (oldName(name) ?? "(no old name)")}`,
  );
  throw new ImproperlyConfigured(
    first.spelling,
    `old names of settings and new ones are mixed; rename ${renames.join(", ")}`,
  );
}

// ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────────
// Values of a wrong kind pass unchanged: the check of the setting says what is wrong with them.

type Convert = (value: unknown, at: string) => unknown;

/** Keys in camelCase, one level deep. */
const camelKeys = (value: unknown): unknown =>
  isPlain(value) ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [camelCase(key), inner])) : value;

/** The values of an object, or the elements of a list. */
const each =
  (convert: (value: unknown, key: string) => unknown): ((value: unknown) => unknown) =>
  (value) => {
    if (Array.isArray(value)) return value.map((element: unknown, i) => convert(element, String(i)));
    return isPlain(value)
      ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, convert(inner, key)]))
      : value;
  };

/** `exchange` may be an object with name and type, as kombu's `Exchange`; `binding_key` is an older word for `routing_key`. */
function queue(value: unknown): unknown {
  const keys = camelKeys(value);
  if (!isPlain(keys)) return keys;
  const { exchange, exchangeType, bindingKey, ...options } = keys;
  const named = isPlain(exchange) ? exchange.name : exchange;
  const type = exchangeType ?? (isPlain(exchange) ? exchange.type : undefined);
  const result: Record<string, unknown> = { ...options };
  if (named !== undefined && named !== null) result.exchange = named;
  if (bindingKey !== undefined && result.routingKey === undefined) result.routingKey = bindingKey;
  // Left in for the check to refuse.
  if (type !== undefined && type !== null && type !== "direct") result.exchangeType = type;
  return result;
}

const router = (value: unknown): unknown =>
  // A list of pairs, of which the second is the route; or an object of routes.
  Array.isArray(value)
    ? value.map((pair: unknown) => (Array.isArray(pair) && pair.length === 2 ? [pair[0], camelKeys(pair[1])] : pair))
    : each(camelKeys)(value);

const beatEntry = (value: unknown, at: string): unknown => {
  const entry = camelKeys(value);
  if (!isPlain(entry)) return entry;
  const { schedule, options } = entry;
  return {
    ...entry,
    // Python's timedelta(minutes=5), written as an object; the schedules that crontab() and its like make have a type.
    ...(isPlain(schedule) && !("type" in schedule) ? { schedule: duration(schedule, `${at}.schedule`) } : {}),
    ...(options === undefined ? {} : { options: camelKeys(options) }),
  };
};

const CONVERTERS: Readonly<Record<string, Convert>> = {
  taskQueues: each(queue),
  taskRoutes: (value) => (Array.isArray(value) ? value.map(router) : router(value)),
  beatSchedule: (value, at) => each((entry, key) => beatEntry(entry, `${at}[${JSON.stringify(key)}]`))(value),
  taskAnnotations: (value) => (Array.isArray(value) ? value.map(each(camelKeys)) : each(camelKeys)(value)),
  brokerTransportOptions: camelKeys,
  resultBackendTransportOptions: camelKeys,
  taskPublishRetryPolicy: camelKeys,
  // In Celery, None says that results are kept for ever.
  resultExpires: (value) => (value === null ? 0 : value),
};
