/** A day on SQLite, with a worker that is killed in the middle of it. */
import { test } from "vitest";
import { aDay, DAY } from "./day.ts";
import { place } from "./run.ts";

test(`a day of ${DAY} tasks`, { timeout: 300_000 }, () => aDay(place(), true));
