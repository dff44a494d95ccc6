import { getTimes, type SunTimeName } from "suncalc";
import type { SolarEvent, SolarSchedule } from "./schedule.ts";

const NAMES = {
  dawn_astronomical: "nightEnd",
  dawn_nautical: "nauticalDawn",
  dawn_civil: "dawn",
  sunrise: "sunrise",
  solar_noon: "solarNoon",
  sunset: "sunset",
  dusk_civil: "dusk",
  dusk_nautical: "nauticalDusk",
  dusk_astronomical: "night",
} as const satisfies Record<SolarEvent, SunTimeName | "solarNoon">;

const DAY_MS = 86_400_000;

/**
 * When the sun does this after `from` and until `to`, in whole seconds, so that hosts whose last digits of a sine
 * differ agree. Within a minute of PyEphem, which Celery asks, at places where the sun does not graze the horizon.
 */
export function sunTimes(schedule: SolarSchedule, from: number, to: number): number[] {
  const times = new Set<number>();
  // The library answers for the solar day whose noon is nearest, so a day more on either side is enough.
  for (let day = from - DAY_MS; day <= to + DAY_MS; day += DAY_MS) {
    const time = getTimes(new Date(day), schedule.lat, schedule.lon)[NAMES[schedule.event]];
    if (time === null) continue;
    const second = Math.round(time.getTime() / 1000) * 1000;
    if (second > from && second <= to) times.add(second);
  }
  return [...times].sort((a, b) => a - b);
}
