/** Loads what is behind `app.control`, where there is any. */
import { ImproperlyConfigured } from "../errors.ts";

/** See `open.ts`. */
declare const LOVAGE_BUNDLE: "aws";

/** A bundle of a function has it not: tasks run there, and nobody steers. */
export const loadControl: () => Promise<typeof import("./operations.ts")> =
  typeof LOVAGE_BUNDLE === "undefined"
    ? () => import("./operations.ts")
    : () =>
        Promise.reject(
          new ImproperlyConfigured(
            "control",
            "is left out of functions of TaskQueues; use the command line, or a service of yours",
          ),
        );
