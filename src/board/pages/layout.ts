/** The frame around every page. */
import { html, raw } from "hono/html";
import { assetName, type AssetName } from "../assets/assets.ts";
import { type Content, type Html, href, type Mark, mark, nothing, type View } from "./parts.ts";
import { instant, line } from "./words.ts";

export interface Frame extends View {
  /** What state changes are sent with, so that no other site can. */
  readonly token: string;
  /** The page itself: what stands in the navigation as the current one. */
  readonly path: string;
  readonly version?: string | undefined;
  /** Where queues and results are, without passwords. */
  readonly where?: string | undefined;
}

export interface Page {
  readonly title: string;
  readonly sub?: Content;
  readonly content: Content;
  /** Seconds between two updates of itself. Absent: it stays as it is. */
  readonly refresh?: number;
  /** A part of it comes with the first update. */
  readonly later?: boolean;
  /** It draws with uPlot. */
  readonly plots?: boolean;
}

const PLACES: readonly (readonly [path: string, name: string, sign: Mark])[] = [
  ["/", "Overview", "home"],
  ["/tasks", "Tasks", "list"],
  ["/failures", "Failures", "cross"],
  ["/dead-letters", "Dead letters", "skull"],
  ["/beat", "Beat", "clock"],
  ["/call", "Call", "send"],
];

const isAt = (path: string, place: string): boolean =>
  place === "/" ? path === "/" : path === place || path.startsWith(`${place}/`);

const assetPath = (view: Pick<View, "base">, name: AssetName): string => `${view.base}/assets/${assetName(name)}`;

export function layout(frame: Frame, { title, sub, content, refresh = 0, plots = false, later = false }: Page): Html {
  const { app, base, zone, now, readOnly, token, path, version, where } = frame;
  const places = PLACES.filter(([place]) => !(readOnly && place === "/call"));
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="same-origin">
<title>${line(title, 80)} · ${line(app, 60)} · Lovage</title>
<link rel="icon" href="${assetPath(frame, "icon.svg")}" type="image/svg+xml">
<link rel="stylesheet" href="${assetPath(frame, "board.css")}">
${plots ? html`<script defer src="${assetPath(frame, "uplot.js")}"></script>` : nothing}<script defer src="${assetPath(frame, "morphdom.js")}"></script>
<script type="module" src="${assetPath(frame, "board.js")}"></script>
</head>
<body data-base="${base}" data-token="${token}" data-refresh="${refresh}" data-now="${now}"${later ? html` data-later` : nothing}>
<a class="skip" href="#main">Skip to the content</a>
<header class="side">
<a class="brand" href="${href(frame, "/")}">${raw(LOGO)}<span><b>Lovage</b><span title="${line(app, 200)}">${line(app, 60)}</span></span></a>
<nav aria-label="Pages"><ul class="nav">${places.map(([place, name, sign]) => html`<li><a href="${href(frame, place)}"${isAt(path, place) ? html` aria-current="page"` : nothing}>${mark(sign)}${name}</a></li>`)}</ul></nav>
<p class="foot">${where === undefined ? nothing : html`<span title="${line(where, 300)}">${line(shortPlace(where), 120)}</span><br>`}${readOnly ? html`Read-only<br>` : nothing}${version === undefined ? nothing : html`Lovage ${version}`}</p>
</header>
<main id="main" tabindex="-1">
<div class="top"><div><h1>${line(title, 200)}</h1>${sub === undefined ? nothing : html`<p class="sub">${sub}</p>`}</div>
<p class="status"><span class="live" data-state="idle" role="status">${refresh > 0 ? "As it was when the page was loaded" : "Does not change by itself"}</span>${refresh > 0 ? html`<button type="button" class="slim" data-pause hidden>Pause updates</button>` : nothing}<span title="The time zone of the app">Times in ${zone} · <time datetime="${new Date(now).toISOString()}">${instant(now, zone, now).short}</time></span></p></div>
<noscript><p class="note warn" role="note">Without JavaScript the pages can be read. They do not update by themselves, and nothing can be done from them.</p></noscript>
${content}
</main>
</body>
</html>`;
}

/** Of a file its name: the folder is in the title. */
const shortPlace = (where: string): string => where.replace(/(sqlite:)\/*(?:[^ ]*\/)?/g, "$1 ");

const LOGO =
  '<svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" fill="currentColor"/><path d="M16 26V13m0 3.500c-4.600 0-7.500-2.400-8-7 4.800-.2 7.600 2 8 7Zm0-4c.2-3.600 2.200-6.200 6-7 1 4-1 6.800-6 7Zm0 8c3.800 0 6.800-1.700 8-5-4-1.400-6.900.4-8 5Z" fill="none" class="leaf" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"/></svg>';
