/**
 * What a page of the board loads, as texts in one module: `src/board/assets/texts.ts`. So it is in every build of the board
 * as it is, in a function's bundle too. Run it after a change of its sources: `node scripts/board-assets.ts`.
 */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const { resolve } = createRequire(import.meta.url);
const own = (name: string) => readFileSync(new URL(`../src/board/assets/${name}`, import.meta.url), "utf8");
const from = (path: string) => readFileSync(resolve(path), "utf8");

/** Its place. */
export const PLACE = new URL("../src/board/assets/texts.ts", import.meta.url);

const licence = (name: string, text: string) => `/*! ${name}, MIT licence: ${text} */\n`;

/** The module's source. */
export function boardAssets(): string {
  const texts = {
    "board.css": from("uplot/dist/uPlot.min.css") + own("board.css"),
    "board.js": own("client.js"),
    "morphdom.js": licence("morphdom", "copyright Patrick Steele-Idem") + from("morphdom/dist/morphdom-umd.min.js"),
    "uplot.js": licence("uPlot", "copyright (c) 2022 Leon Sorokin") + from("uplot/dist/uPlot.iife.min.js"),
    "icon.svg": own("icon.svg"),
  };
  const hash = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, 12);
  const lines = Object.entries(texts).map(
    ([name, text]) => `  "${name}": { hash: "${hash(text)}", text: ${JSON.stringify(text)} },\n`,
  );
  const names = Object.keys(texts).map((name) => JSON.stringify(name));
  // With a type of its own: what tsc derives says all the texts once more.
  const type = `Readonly<Record<${names.join(" | ")}, { readonly hash: string; readonly text: string }>>`;
  return `/** Made by scripts/board-assets.ts of what stands beside this file, uPlot and morphdom. */\nexport const texts: ${type} = {\n${lines.join("")}};\n`;
}

if (import.meta.main) writeFileSync(PLACE, boardAssets());
