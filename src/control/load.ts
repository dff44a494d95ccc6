/** Loads what is behind `app.control`, where there is any. */
import { ImproperlyConfigured } from "../errors.ts";

/** See `open.ts`. */
declare const LOVAGE_BUNDLE: "aws";

/** A bundle of a function has it not: tasks run there, and nobody steers. */
export async function loadControl(): Promise<typeof import("./operations.ts")> {
  if (typeof LOVAGE_BUNDLE === "undefined") return import("./operations.ts");
  throw new ImproperlyConfigured(
    "control",
    "is left out of functions bundled by TaskQueues or bundlingFor; steer from the command line or from a service of yours",
  );
}
