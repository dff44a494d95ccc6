/**
 * Older versions of Node lack what is used here, and would fail in the middle of something. A bundle leaves this out, as it
 * says nothing where there is no Node: the package has no side effects. It is named as `export {} from`, since bundlers warn of
 * an `import "…"` that they leave out.
 */
const OLDEST = [22, 18] as const;

const { process } = globalThis as { readonly process?: { readonly versions?: Readonly<Record<string, string>> } };
const { node, bun, deno } = process?.versions ?? {};

if (node !== undefined && bun === undefined && deno === undefined) {
  const [major = 0, minor = 0] = node.split(".").map(Number);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    const error = new Error(`lovage needs Node ${OLDEST.join(".")} or newer; this is Node ${node}.`);
    error.stack = error.message;
    throw error;
  }
}
