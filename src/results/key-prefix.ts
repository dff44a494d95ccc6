/** The setting `globalKeyprefix`: apps that share a table or a file keep their rows apart. */
import type { Backend } from "./backend.ts";

/** A backend that puts a text before every key. */
export function withKeyPrefix(backend: Backend, prefix: string): Backend {
  if (prefix === "") return backend;
  return {
    ...backend,
    apply: (commands, unit) =>
      backend.apply(
        commands.map((command) => ({ ...command, key: prefix + command.key })),
        unit,
      ),
    read: (keys, options) =>
      backend.read(
        keys.map((key) => prefix + key),
        options,
      ),
  };
}
