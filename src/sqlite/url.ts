/** The form of `sqlite://` URLs. */
import { resolve } from "node:path";
import { maskUrl } from "../brief.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { DEFAULT_FILE } from "../file-url.ts";

interface Location {
  readonly path: string;
  readonly synchronous: "full" | "normal";
}

/**
 * Reads a `sqlite://` URL, in SQLAlchemy's and Celery's form: `sqlite:///jobs.db` is relative to the working folder,
 * `sqlite:////var/jobs.db` absolute, `sqlite://` is `.lovage/lovage.db`.
 *
 * `?synchronous=normal` (the default) survives the death of any process; a power cut or a crash of the system can take
 * back the last commits before it, never tear one. `?synchronous=full` waits for the disk at every commit.
 */
export function parseUrl(url: string): Location {
  const shown = maskUrl(url);
  const bad = (why: string) => new ImproperlyConfigured(shown, why);
  const match = /^sqlite:\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/.exec(url);
  if (!match)
    throw bad(
      "a SQLite URL is sqlite:///relative/path, sqlite:////absolute/path or sqlite://; a # in the path is written %23",
    );
  const [, host, tail = "", query = ""] = match;
  if ([host, tail.slice(1)].includes(":memory:")) throw bad("a database in memory cannot be shared; use memory://");
  if (host)
    throw bad(
      `three slashes stand before a relative path, four before an absolute one: ${maskUrl(`sqlite://${host}${tail}`).replace("//", "///")}`,
    );
  let file: string;
  try {
    file = decodeURIComponent(tail.slice(1));
  } catch (cause) {
    throw new ImproperlyConfigured(shown, "a percent sign in the path is written %25", { cause });
  }
  if (file.includes("\0") || file.endsWith("/")) throw bad("the path must name a file");
  let synchronous: Location["synchronous"] = "normal";
  for (const [name, value] of new URLSearchParams(query)) {
    if (name !== "synchronous")
      throw bad(`there is no parameter ${JSON.stringify(name)}; known: synchronous. A ? in the path is written %3F`);
    if (value !== "full" && value !== "normal")
      throw bad(`synchronous is full or normal, not ${JSON.stringify(value)}`);
    synchronous = value;
  }
  return { path: resolve(file || DEFAULT_FILE), synchronous };
}
