/** Whether the SQLite file that an app works on still is where it was. */
import type { Engine } from "../engine.ts";
import { OperationalError } from "../errors.ts";
import { fileOf } from "../file-url.ts";
import { identityOf } from "../file-identity.ts";

/**
 * A connection to a file that was moved goes on with it, and shows what nobody else sees. `before` throws
 * `OperationalError` while the file is not there, or another one is in its place.
 */
export function createFileCheck(engine: Engine): { readonly before: () => void; readonly after: () => void } {
  const known = new Map<string, string>();
  const files = () =>
    Object.values(engine.urls).flatMap((url) => (url.startsWith("sqlite:") ? (fileOf(url) ?? []) : []));
  return {
    before() {
      for (const file of new Set(files())) {
        const found = identityOf(file);
        const was = known.get(file);
        // Before the first use there is none.
        if (was === undefined || found === was) continue;
        if (found === undefined) {
          throw new OperationalError(
            `the file ${file} is not there any more: it was moved or removed. Put it back; the board goes on when it is there`,
            { retryable: true },
          );
        }
        // Not closed and opened anew: with its last connection SQLite removes what belongs to the file's name.
        throw new OperationalError(
          `another file is in the place of ${file}, and this process has the one before open: end it and start it again`,
          { retryable: false },
        );
      }
    },
    /** It has been used. */
    after() {
      for (const file of files()) {
        const found = known.has(file) ? undefined : identityOf(file);
        if (found !== undefined) known.set(file, found);
      }
    },
  };
}
