/** Large texts in the memory of this process: for tests. `memory://name` is the same for all apps of a process. */
import { ImproperlyConfigured } from "../errors.ts";
import type { OpenPayloadStore } from "./store.ts";

const stores = new Map<string, Map<string, Uint8Array>>();

export const open: OpenPayloadStore = (url) => {
  const name = /^memory:\/\/([\w-]*)$/.exec(url)?.[1];
  if (name === undefined)
    throw new ImproperlyConfigured("payloadStore", `must be memory:// or memory://name; given: ${url}`);
  const kept = stores.get(name) ?? new Map<string, Uint8Array>();
  stores.set(name, kept);
  return {
    bucket: `memory-${name}`,
    prefix: "",
    async put(key, pieces) {
      kept.set(key, Buffer.concat([...pieces()]));
    },
    async get(key) {
      const bytes = kept.get(key);
      return (
        bytes &&
        (async function* () {
          yield bytes;
        })()
      );
    },
    async close() {},
  };
};
