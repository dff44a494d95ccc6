import { getPosition, getTimes, type SunTimeName } from "suncalc";
import type { SolarEvent, SolarSchedule } from "./schedule.ts";

type Crossing = Exclude<SolarEvent, "solar_noon">;

const NAMES = {
  dawn_astronomical: "nightEnd",
  dawn_nautical: "nauticalDawn",
  dawn_civil: "dawn",
  sunrise: "sunrise",
  sunset: "sunset",
  dusk_civil: "dusk",
  dusk_nautical: "nauticalDusk",
  dusk_astronomical: "night",
} as const satisfies Record<Crossing, SunTimeName>;

const DAY_MS = 86_400_000;
/** In degrees, as heights are: the sun is so much lower for who stands on the earth than at its centre, of which the library speaks. */
const PARALLAX = 0.0024;
/** Half of what the sun is wide, at its mean distance. */
const RADIUS = 0.2666;
/** 4 January 2000, when the earth was next to the sun, and how long it takes to be there again. */
const PERIHELION = Date.UTC(2000, 0, 4);
const ORBIT_MS = 365.2596 * DAY_MS;

/**
 * When the sun does this after `from` and until `to`, in whole seconds, so that hosts whose last digits of a sine
 * differ agree. Within a minute of PyEphem, which Celery asks, at places where the sun does not graze the horizon.
 */
export function sunTimes(schedule: SolarSchedule, from: number, to: number): number[] {
  const { event, lat, lon } = schedule;
  const times = new Set<number>();
  const add = (time: number) => {
    const second = Math.round(time / 1000) * 1000;
    if (second > from && second <= to) times.add(second);
  };
  let last: number | undefined;
  // The library answers for the solar day whose noon is nearest, so two days more on either side are enough.
  for (let day = from - 2 * DAY_MS; day <= to + 2 * DAY_MS; day += DAY_MS) {
    const noon = getTimes(new Date(day), lat, lon).solarNoon.getTime();
    if (event === "solar_noon") add(noon);
    else if (last !== undefined) {
      const midnight = (last + noon) / 2;
      for (const time of [crossing(event, lat, lon, last, midnight), crossing(event, lat, lon, midnight, noon)])
        if (time !== undefined) add(time);
    }
    last = noon;
  }
  return [...times].sort((a, b) => a - b);
}

/**
 * When the sun passes the height of an event between noon and midnight, where it is highest and lowest. The library's own times are
 * those of a sun that has the height of noon all day: it misses the first and the last of a season.
 */
function crossing(event: Crossing, lat: number, lon: number, from: number, to: number): number | undefined {
  const isRise = event === "sunrise" || event.startsWith("dawn");
  const isPast = (time: number) => isAbove(event, lat, lon, time) === isRise;
  if (isPast(from) || !isPast(to)) return undefined;
  let before = from;
  let after = to;
  while (after - before > 100) {
    const middle = (before + after) / 2;
    if (isPast(middle)) after = middle;
    else before = middle;
  }
  return after;
}

const heights = new Map<Crossing, number>();

/** The height that an event is about, as the library gives heights: with the air's refraction. At the equator no time of its is in doubt. */
function heightOf(event: Crossing): number {
  let height = heights.get(event);
  if (height === undefined) {
    height = getPosition(getTimes(new Date(0), 0, 0)[NAMES[event]] ?? new Date(Number.NaN), 0, 0).altitude;
    heights.set(event, height);
  }
  return height;
}

function isAbove(event: Crossing, lat: number, lon: number, time: number): boolean {
  // Sunrise and sunset are about the sun's upper edge, and in January it is wider.
  const isEdge = event === "sunrise" || event === "sunset";
  const wider = isEdge ? RADIUS * 0.0167 * Math.cos((2 * Math.PI * (time - PERIHELION)) / ORBIT_MS) : 0;
  return getPosition(new Date(time), lat, lon).altitude - PARALLAX + wider > heightOf(event);
}
