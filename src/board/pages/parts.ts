/** What pages are made of. */
import { html, raw } from "hono/html";
import type { Part } from "../data.ts";
import { count, duration, instant, isInstant, line, relative } from "./words.ts";

/** HTML in which all texts are escaped. */
export type Html = ReturnType<typeof html>;
/** What may stand in a page: a text is escaped. */
export type Content = Html | string | number | undefined | false | readonly Content[];

export const nothing = "";

/** What all parts of a page know. */
export interface View {
  readonly app: string;
  /** Before every path: `""`, or `/board`. */
  readonly base: string;
  readonly zone: string;
  readonly now: number;
  readonly readOnly: boolean;
}

/** Marks, 16 by 16: a state is told by its form as well as by its colour. */
const MARKS = {
  check: '<path d="M3 8.5 6.5 12 13 4.5"/>',
  cross: '<path d="m4 4 8 8M12 4l-8 8"/>',
  again: '<path d="M13 8a5 5 0 1 1-1.6-3.7M13 2v3h-3"/>',
  play: '<path d="M5 3.2v9.6L12.5 8z" fill="currentColor"/>',
  ring: '<circle cx="8" cy="8" r="4.5"/>',
  barred: '<circle cx="8" cy="8" r="5.5"/><path d="m4.2 4.2 7.6 7.6"/>',
  dash: '<path d="M3.5 8h9"/>',
  swap: '<path d="M3 5.5h9m-2.5-3 2.5 3-2.5 3M13 11.5H4"/>',
  pause: '<path d="M5.5 3.5v9M10.5 3.5v9" stroke-width="2.4"/>',
  alert: '<path d="M8 2 14.5 13.5h-13zM8 6.5v3.2M8 11.6v.3"/>',
  skull: '<path d="M3 13V7.5a5 5 0 0 1 10 0V13H3Zm3.2-5.2v.4m3.6-.4v.4"/>',
  clock: '<circle cx="8" cy="8" r="5.8"/><path d="M8 4.8V8l2.2 1.6"/>',
  star: '<circle cx="8" cy="8" r="2.5" fill="currentColor"/>',
  home: '<path d="M2.5 13.5v-5m3.7 5v-9m3.7 9V7m3.6 6.5v-11"/>',
  list: '<path d="M2.5 4h.5m3 0h8M2.5 8h.5m3 0h8m-11.5 4h.5m3 0h8"/>',
  graph:
    '<path d="M4.5 8h3m0-4.5v9m0-9h3m-3 9h3"/><circle cx="3" cy="8" r="1.5"/><circle cx="12" cy="3.5" r="1.5"/><circle cx="12" cy="12.5" r="1.5"/>',
  send: '<path d="m2 8 12-5.5L10.5 14 8 9z"/>',
} as const;

export type Mark = keyof typeof MARKS;

export const mark = (name: Mark): Html =>
  html`<svg class="mark" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">${raw(MARKS[name])}</svg>`;

/** How a state looks. */
export interface Look {
  readonly tone: "ok" | "bad" | "warn" | "info" | "odd" | "idle";
  readonly mark: Mark;
}

const LOOKS: Readonly<Record<string, Look>> = {
  SUCCESS: { tone: "ok", mark: "check" },
  FAILURE: { tone: "bad", mark: "cross" },
  RETRY: { tone: "warn", mark: "again" },
  STARTED: { tone: "info", mark: "play" },
  PENDING: { tone: "idle", mark: "ring" },
  REVOKED: { tone: "odd", mark: "barred" },
  IGNORED: { tone: "idle", mark: "dash" },
  REPLACED: { tone: "idle", mark: "swap" },
};

export const lookOf = (state: string): Look => LOOKS[state] ?? { tone: "info", mark: "star" };

export const badge = (text: string, { tone, mark: sign }: Look): Html =>
  html`<span class="state ${tone}">${mark(sign)}${line(text, 40)}</span>`;

export const state = (name: string | undefined): Html | "" =>
  name === undefined ? nothing : badge(name, lookOf(name));

/** How long ago, or in how long, with the exact time beside it. */
export function when({ zone, now }: View, time: number | undefined): Html | "" {
  if (!isInstant(time)) return nothing;
  const { short, exact } = instant(time, zone, now);
  return html`<time datetime="${new Date(time).toISOString()}" title="${exact}" data-t="${time}"><span>${relative(time - now)}</span> <small>${short}</small></time>`;
}

/** The exact time alone. */
export function at({ zone, now }: View, time: number | undefined): Html | "" {
  if (!isInstant(time)) return nothing;
  const { short, exact } = instant(time, zone, now);
  return html`<time datetime="${new Date(time).toISOString()}" title="${exact}">${short}</time>`;
}

export const took = (seconds: number | null | undefined): string =>
  seconds === undefined || seconds === null ? "" : duration(seconds);

export const number = (value: number | undefined): Html | "" =>
  value === undefined ? nothing : html`<span class="${value === 0 ? "zero" : ""}">${count(value)}</span>`;

/** No id or name that is longer is linked or acted on: a foreign message may have one of a megabyte. */
const MOST_NAMED = 500;

export const isNamed = (text: string | undefined): text is string => text !== undefined && text.length <= MOST_NAMED;

const cut = (text: string): string => text.slice(0, MOST_NAMED).toWellFormed();

/** A path of the board, with its question. What is `undefined` or empty is left out. */
export function href(
  { base }: Pick<View, "base">,
  path: string,
  query: Readonly<Record<string, string | number | readonly string[] | undefined>> = {},
): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (typeof value === "object") for (const one of value) params.append(name, cut(one));
    else if (value !== undefined && value !== "") params.append(name, cut(String(value)));
  }
  const asked = params.toString();
  return `${base}${path}${asked === "" ? "" : `?${asked}`}`;
}

export const taskPath = (view: View, id: string): string => href(view, `/tasks/${encodeURIComponent(cut(id))}`);
export const workflowPath = (view: View, id: string): string => href(view, `/workflows/${encodeURIComponent(cut(id))}`);

/** An id, shortened to what tells it from others, with all of it for who points at it. */
export const taskLink = (view: View, id: string | undefined, text?: string): Html | "" =>
  id === undefined
    ? nothing
    : html`<a class="${text === undefined ? "mono" : ""}" href="${taskPath(view, id)}" title="${line(id, 200)}">${line(text ?? shortId(id), 60)}</a>`;

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;

export const shortId = (id: string): string => (UUID.test(id) ? id.slice(0, 8) : line(id, 40));

/** A part that says what to do where there is nothing to show. */
export const empty = (title: string, remedy: Content, command?: string): Html =>
  html`<div class="empty"><b>${title}</b>${remedy}${command === undefined ? "" : html`<br><code>${command}</code>`}</div>`;

/** @param key What tells it from others like it, from one update of the page to the next. */
export const note = (tone: Look["tone"], sign: Mark, content: Content, key?: string): Html =>
  html`<div class="note ${tone}" role="note"${key === undefined ? "" : html` data-key="${key}"`}>${mark(sign)}<div>${content}</div></div>`;

/** Of a part that could not be read: the rest of the page stands. */
const missing = (what: string, why: string): Html =>
  note("warn", "alert", html`<b>${what} cannot be shown.</b> ${line(why, 600)}`);

/** A part of a page; or why it cannot be shown; or that it comes. */
export function partOf<T>(part: Part<T>, what: string, show: (value: T) => Html): Html {
  if ("value" in part) return show(part.value);
  if ("problem" in part) return missing(what, part.problem);
  return html`<p class="in soft" aria-busy="true">It is being read …</p>`;
}

export interface Card {
  readonly title: Content;
  readonly id?: string;
  readonly hint?: Content;
  readonly tools?: Content;
}

export const card = ({ title, id, hint, tools }: Card, content: Content): Html =>
  html`<section class="card"${id === undefined ? "" : html` id="${id}"`}><header><div><h2>${title}</h2>${hint === undefined ? "" : html`<p>${hint}</p>`}</div>${tools ?? ""}</header>${content}</section>`;

/** A block without a head, such as of filters. */
export const plainCard = (content: Content): Html => html`<section class="card">${content}</section>`;

/** A button that asks the API for something. The page's script shows the question, sends it and says what came of it. */
export interface Act {
  /** Below the board's `/api`. */
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
  /** What the button says that does it: the act, and to how many. */
  readonly label: string;
  /** What the button says that asks for it. Default: `label`. */
  readonly shown?: string;
  /** The question that is asked before. Absent: none is. */
  readonly ask?: string;
  /** What it means, below the question. */
  readonly why?: string;
  /** What is said afterwards; `{count}` is the `count` of the answer. */
  readonly done: string;
  readonly tone?: "risk" | "main";
  /** Is asked first with `dryRun: true`, and the question says how many it would be: `{count}` in `label` and `ask` … */
  readonly dry?: boolean;
  /** The name of the list in `body` that is sent some at a time, so that it can be seen how far it is. */
  readonly each?: string;
  /** Goes to this page when it is done; `{id}` is that of the answer. */
  readonly go?: string;
  readonly slim?: boolean;
  /** The name for who hears the page, where the label does not say to what. */
  readonly name?: string;
}

export const act = ({ readOnly }: View, given: Act): Html | "" =>
  readOnly
    ? nothing
    : html`<button type="button" class="${[given.tone ?? "", given.slim === true ? "slim" : ""].join(" ").trim()}"${given.name === undefined ? "" : html` aria-label="${line(given.name)}"`} data-act="${JSON.stringify(given)}">${line(given.shown ?? given.label)}</button>`;

/** The same for what is chosen in a list: `each` takes it. */
export const bulk = (given: Act): Html =>
  html`<button type="button" class="${given.tone ?? ""}" data-bulk="${JSON.stringify(given)}" data-label="${given.label}">${given.label}</button>`;
