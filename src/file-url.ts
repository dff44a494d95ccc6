/** `sqlite://` URLs as text: which file one means, wherever the process goes (`process.chdir`). Needs nothing of Node. */

/** The file of `sqlite://`, in the project's folder: see `embedded.ts`. */
export const DEFAULT_FILE = ".lovage/lovage.db";

const SQLITE = /^sqlite:\/\/(?:\/([^?#]*))?(\?[^#]*)?$/;

/**
 * The URL with its path made absolute: one that it has by the folder that it was written for, the default's by the project's
 * folder. Any other URL, or one that is none, as it is.
 */
export function anchorUrl(
  url: string,
  folder: string | undefined,
  project: (folder: string) => string = (same) => same,
): string {
  const match = SQLITE.exec(url);
  if (match === null || folder === undefined) return url;
  const [, path = "", query = ""] = match;
  // In four slashes the second path begins; a drive of Windows is absolute too. What is refused is refused as it was given.
  if (/^(\/|[A-Za-z]:|%2f|:memory:)/i.test(path) || path.endsWith("/")) return url;
  const at = (path === "" ? project(folder) : folder)
    .replace(/[%?#]/g, (sign) => encodeURIComponent(sign))
    .replace(/[/\\]$/, "");
  return `sqlite:///${at}/${path || DEFAULT_FILE}${query}`;
}

/** Where large texts are kept beside the file of an absolute `sqlite://` URL; `undefined`: there is no such file. */
export function folderBeside(url: string): string | undefined {
  const file = fileOf(url);
  if (file === undefined || file.startsWith(":memory:")) return undefined;
  const path = `${file.replaceAll("\\", "/")}-payloads`.split("/").map(encodeURIComponent).join("/");
  // A drive of Windows.
  return `file://${path.startsWith("/") ? "" : "/"}${path.replace(/^([A-Za-z])%3A/, "$1:")}`;
}

/** The file of an absolute `sqlite://` URL. */
export function fileOf(url: string): string | undefined {
  const path = SQLITE.exec(url)?.[1];
  return path === undefined ? undefined : decodeURIComponent(path);
}
