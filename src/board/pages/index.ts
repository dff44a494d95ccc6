/** The pages of the board. */
import { html } from "hono/html";
import type { BoardData, Patience } from "../data.ts";

/** What a page is asked with. */
export interface PageRequest {
  readonly app: string;
  /** The time zone of the app. */
  readonly zone: string;
  /** In milliseconds since the epoch. */
  readonly now: number;
  /** Before every path: `""`, or `/board`. */
  readonly base: string;
  /** Below the base: `/`, `/tasks/<id>`. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Of a task or a workflow; `""` on all other pages. */
  readonly id: string;
  readonly data: BoardData;
  readonly readOnly: boolean;
  /** What state changes are sent with (`x-board-token`), so that no other site can. */
  readonly token: string;
  readonly version: string | undefined;
  /** For parts that take long: the page is shown with what is there by then, and they are `pending`. */
  readonly patience: Patience;
}

type Html = ReturnType<typeof html>;
type Page = (request: PageRequest) => Html | Promise<Html>;

export interface Asset {
  readonly text: string;
  readonly type: string;
}

const page =
  (title: string): Page =>
  ({ app }) =>
    html`<!doctype html><html lang="en"><head><title>${title} · ${app}</title></head><body><h1>${title}</h1></body></html>`;

/** By their paths below the base; what they show of bad input they say themselves. */
export const pages = {
  "/": page("Overview"),
  "/tasks": page("Tasks"),
  "/tasks/:id": page("Task"),
  "/workflows/:id": page("Workflow"),
  "/failures": page("Failures"),
  "/dead-letters": page("Dead letters"),
  "/beat": page("Beat"),
  "/call": page("Call"),
} as const satisfies Readonly<Record<string, Page>>;

/** A page that says why there is none: 404, or an error that concerns all of it. */
export const failed = (_: PageRequest, title: string, why: string): Html =>
  html`<!doctype html><html lang="en"><head><title>${title}</title></head><body><h1>${title}</h1><p>${why}</p></body></html>`;

/** A file that pages load, by the name under which they ask for it: with the hash of its content, to be kept for ever. */
export const findAsset = (_: string): Asset | undefined => undefined;
