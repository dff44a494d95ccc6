/**
 * Whether a name in Python's `builtins` is safe to be made an exception of by a reader: it is one, or does not exist.
 * What is there and no exception makes the reader throw, and `SystemExit` and its like end the reader's process.
 */
export const isSafeBuiltin = (name: string): boolean =>
  /(?:Error|Exception|Warning|Iteration)$/.test(name) && name !== "BaseException";
