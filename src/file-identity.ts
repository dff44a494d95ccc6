import { statSync } from "node:fs";

/** Which file is at a path, whatever its name; `undefined`: none. */
export function identityOf(path: string): string | undefined {
  const { dev, ino } = statSync(path, { throwIfNoEntry: false }) ?? {};
  return ino === undefined ? undefined : `${dev}:${ino}`;
}
