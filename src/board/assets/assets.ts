/** What a page loads beside itself: each under a name with the hash of its content, to be kept by the browser for ever. */
import { texts } from "./texts.ts";

export type AssetName = keyof typeof texts;

const TYPES: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

export interface Asset {
  readonly text: string;
  readonly type: string;
}

const names = new Map<AssetName, string>();
const assets = new Map<string, Asset>();

for (const [name, { hash, text }] of Object.entries(texts)) {
  const [stem = "", ending = ""] = name.split(".");
  const hashed = `${stem}-${hash}.${ending}`;
  names.set(name as AssetName, hashed);
  assets.set(hashed, { text, type: TYPES[ending] ?? "text/plain" });
}

/** The name under which it is served: `board-1f3a….css`. */
export const assetName = (name: AssetName): string => names.get(name) as string;

export const findAsset = (served: string): Asset | undefined => assets.get(served);
