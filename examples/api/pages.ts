/** Stands for what makes a worker large: a renderer, fonts, a database driver. A caller's bundle must not hold it. */
const LINES_PER_PAGE = 40;

export function layOut(title: string, lines: readonly { readonly item: string }[]): string[] {
  const pages: string[] = [];
  for (let at = 0; at < lines.length; at += LINES_PER_PAGE) {
    const items = lines.slice(at, at + LINES_PER_PAGE).map(({ item }) => item);
    pages.push([`── ${title}, page ${pages.length + 1} ──`, ...items].join("\n"));
  }
  return pages;
}
