import { ImproperlyConfigured } from "../errors.ts";
import { nearest } from "../nearest.ts";

/** Asking `Intl` takes about a millisecond, so each zone is asked for once. */
const known = new Set<string>();

/**
 * Gives the name of a time zone back. Throws {@link ImproperlyConfigured}, with the nearest names, where the platform
 * does not know it.
 */
export function checkZone(zone: string, setting = "timezone"): string {
  if (known.has(zone)) return zone;
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    known.add(zone);
    return zone;
  } catch (cause) {
    const names = suggestions(String(zone));
    const hint = names.length === 0 ? "" : `; did you mean ${names.map((name) => JSON.stringify(name)).join(" or ")}?`;
    throw new ImproperlyConfigured(
      setting,
      `must be a name of the tz database, such as "Europe/Berlin" or "UTC", and is ${JSON.stringify(zone)}${hint}`,
      { cause },
    );
  }
}

/**
 * The zone of nearly this name, and the zones of nearly this city, since leaving out the continent is the usual
 * mistake.
 */
function suggestions(zone: string): string[] {
  const zones = ["UTC", ...Intl.supportedValuesOf("timeZone")];
  const city = (name: string) => name.slice(name.lastIndexOf("/") + 1).replaceAll("_", " ");
  const nearestCity = nearest(city(zone), zones.map(city));
  return [...new Set([nearest(zone, zones), zones.find((name) => city(name) === nearestCity)])].filter(
    (name) => name !== undefined,
  );
}
