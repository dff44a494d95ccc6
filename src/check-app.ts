/** Whether what is given as an app is one. */
import { ImproperlyConfigured } from "./errors.ts";

/** Not by its class: another copy of the package may have made it. Throws `ImproperlyConfigured`. */
export function checkApp(app: unknown): void {
  if (Object(app).engine !== undefined) return;
  const given =
    app === undefined || app === null ? String(app) : `an object of ${Object(app).constructor?.name ?? "a module"}`;
  throw new ImproperlyConfigured(
    "app",
    `must be a Lovage app; given: ${given}. It is what a module exports (import { app } from "./tasks.ts") or loadApp("tasks.ts") gives; import() gives a promise of the module`,
  );
}
