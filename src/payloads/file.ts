/** Large texts in files of a folder, beside the SQLite file: the embedded default. */
import { createReadStream } from "node:fs";
import { mkdir, open as openFile, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { ImproperlyConfigured, OperationalError } from "../errors.ts";
import type { OpenPayloadStore, PayloadStore } from "./store.ts";

/** A pointer of a file names no bucket of AWS's. */
const BUCKET = "file";
/** What is older than it need be is looked for so often at most, in milliseconds. */
const SWEEP_MS = 3_600_000;
const DAY_MS = 86_400_000;

export const open: OpenPayloadStore = (url, { now }) => {
  const folder = folderOf(url);
  let swept = Number.NEGATIVE_INFINITY;

  /** Where a key is; a pointer is somebody else's word, and must not lead out of the folder. */
  function pathOf(key: string): string | undefined {
    const path = join(folder, key);
    return path.startsWith(folder + sep) && !key.includes("\0") ? path : undefined;
  }

  const store: PayloadStore = {
    bucket: BUCKET,
    prefix: "",
    async put(key, pieces) {
      const path = pathOf(key);
      if (path === undefined) throw new ImproperlyConfigured("payloadStore", `has no place for ${key}`);
      const whole = `${path}.part`;
      try {
        await mkdir(dirname(path), { recursive: true, mode: 0o700 });
        const file = await openFile(whole, "wx", 0o600);
        try {
          for (const piece of pieces()) await file.writeFile(piece);
          await file.sync();
        } finally {
          await file.close();
        }
        await rename(whole, path);
      } catch (error) {
        await rm(whole, { force: true }).catch(() => {});
        throw failed("a large text could not be written", path, error);
      }
      if (now() >= swept + SWEEP_MS) {
        swept = now();
        await sweep(folder, swept).catch(() => {});
      }
    },
    async get(key) {
      const path = pathOf(key);
      const there = path === undefined ? undefined : await stat(path).catch(absent(path));
      return there === undefined || path === undefined ? undefined : bytesOf(path);
    },
    async close() {},
  };
  return store;
};

async function* bytesOf(path: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of createReadStream(path, { highWaterMark: 1024 * 1024 })) yield piece as Uint8Array;
  } catch (error) {
    throw failed("a large text could not be read", path, error);
  }
}

const failed = (what: string, path: string, error: unknown): OperationalError =>
  new OperationalError(
    `${what}, at ${path}: ${(error as Error).message}; see the disk, and who owns the folder (payloadStore)`,
    {
      retryable: true,
      cause: error,
    },
  );

const absent =
  (path: string) =>
  (error: NodeJS.ErrnoException): undefined => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw failed("a large text could not be looked for", path, error);
  };

function folderOf(url: string): string {
  try {
    return fileURLToPath(url).replace(/[/\\]$/, "");
  } catch (error) {
    throw new ImproperlyConfigured(
      "payloadStore",
      `must be an absolute file: URL, as file:///var/lib/shop/payloads; given: ${url}`,
      {
        cause: error,
      },
    );
  }
}

/** Deletes what is older than the days that its place says: `<folder>/<days>d/<id>/<text>`. */
async function sweep(folder: string, now: number): Promise<void> {
  for (const place of await readdir(folder)) {
    const days = /^(\d+)d$/.exec(place)?.[1];
    if (days === undefined) continue;
    for (const id of await readdir(join(folder, place))) {
      const home = join(folder, place, id);
      const texts = await readdir(home).catch(() => []);
      let left = texts.length;
      for (const text of texts) {
        const { mtimeMs } = await stat(join(home, text));
        if (mtimeMs + Number(days) * DAY_MS > now) continue;
        await rm(join(home, text), { force: true });
        left--;
      }
      // Another process may just be putting something there.
      if (left === 0) await rmdir(home).catch(() => {});
    }
  }
}
