/** The errors of SQLite and of the file system, in our words. */
import { dirname } from "node:path";
import { LovageError, OperationalError } from "../errors.ts";

/** How long a transaction waits for the write lock before it fails. */
export const LOCK_TIMEOUT_MS = 10_000;

/** SQLite's primary result codes: https://www.sqlite.org/rescode.html */
const BUSY = 5;
const FULL = 13;
/** A code beside the primary ones, of an I/O error: there is no room for the index of the log, which is made as a file is opened. */
const NO_ROOM_FOR_INDEX = 4874;
/** None of them is about what is written: each is over when somebody has mended the file, its folder or its disk. */
const SYSTEM_ERRORS: Readonly<Record<number, (path: string) => string>> = {
  [BUSY]: (path) =>
    `${path} stayed locked for ${LOCK_TIMEOUT_MS / 1000} s by another process; end the transaction that holds it (an open sqlite3 shell, a backup)`,
  6: (path) => `a table of ${path} is locked; try again`,
  8: (path) => `${path} is read-only; give this user the right to write the file and its folder`,
  10: (path) =>
    `${path} could not be read or written (an I/O error); look whether the disk is full or a quota is used up, and at the system's log`,
  11: corrupt,
  [FULL]: (path) =>
    `${path} cannot grow, the disk is full; free some space on it: until then nothing can be written, and nothing purged`,
  14: (path) =>
    `${path} cannot be opened; it must be a file, with a path of less than 500 bytes, in a folder that exists and that this user can write to`,
  26: corrupt,
};
function corrupt(path: string): string {
  return `${path} is damaged, or no SQLite database; move it away (Lovage makes a new one) and rescue what can be read with "sqlite3 FILE .recover"`;
}

const codeOf = (error: unknown): number | undefined => {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return undefined;
  return error.errcode === NO_ROOM_FOR_INDEX ? FULL : error.errcode & 0xff;
};
export const isBusy = (error: unknown): boolean => codeOf(error) === BUSY;

/** SQLite's codes for a value: too large, against a constraint of the table, or of another type than the column. */
const VALUE_ERRORS: readonly (number | undefined)[] = [18, 19, 20];
/** Node's words for a value that SQLite has no type for. */
const UNBINDABLE = /^ERR_INVALID_ARG_(TYPE|VALUE)$/;

/** The errors of SQLite and of the file system in our words; any other is returned as it is. Only a value that cannot be written is final. */
export function explain(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || error instanceof LovageError) return error;
  const number = codeOf(error);
  const { code, syscall } = error as NodeJS.ErrnoException;
  const failed = (why: string, retryable = true) => new OperationalError(why, { retryable, cause: error });
  if (VALUE_ERRORS.includes(number) || UNBINDABLE.test(code ?? ""))
    return failed(`${path} cannot hold a value that was to be written: ${error.message}`, false);
  const known = SYSTEM_ERRORS[number ?? -1];
  if (known !== undefined) return failed(known(path));
  if (syscall === "mkdir")
    return failed(`the folder of ${path} cannot be made; let this user write to ${dirname(dirname(path))}`);
  return number === undefined ? error : failed(`${path} could not be read or written: ${error.message}`);
}
