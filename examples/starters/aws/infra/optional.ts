/** Packages that others ask for and do without: a function's bundle leaves them out. */
export const optional: readonly string[] = [];
