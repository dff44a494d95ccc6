/** The pages by their paths. */
import { html } from "hono/html";
import type { BoardData, Patience, Span, TasksQuery } from "../data.ts";
import { parseTime } from "../../protocol/time.ts";
import { beatContent } from "./beat.ts";
import { callContent } from "./call.ts";
import { failuresContent } from "./failures.ts";
import { layout, type Page } from "./layout.ts";
import { lettersContent } from "./letters.ts";
import { overviewContent } from "./overview.ts";
import { empty, type Html, href, plainCard } from "./parts.ts";
import { taskContent } from "./task.ts";
import { type AskedTasks, tasksContent } from "./tasks.ts";
import { line } from "./words.ts";
import { workflowContent } from "./workflow.ts";

export { findAsset } from "../assets/assets.ts";

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

/** Seconds between two updates of what costs a request for each queue, or reads through the journal, on AWS or not. */
const SELDOM = 15;

/** The same of what reads through the journal: half as often, where it is often. */
const less = (refresh: number): number => Math.max(refresh, Math.min(2 * refresh, 5));

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `2h` is two hours ago; else an instant in ISO 8601, or milliseconds since the epoch. Throws `DecodeError`. */
function timeOf(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  const [, many, unit = ""] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (many !== undefined) return now - Number(many) * (UNITS[unit] ?? 0);
  return /^\d{1,16}$/.test(text) ? Number(text) : parseTime(text);
}

const spanOf = ({ query }: PageRequest): Span => {
  const span = query.get("span");
  return span === "day" || span === "week" ? span : "hour";
};
const asked = ({ query }: PageRequest, name: string): string | undefined => query.get(name) || undefined;
const names = ({ data }: PageRequest): readonly string[] => data.registered().map(({ name }) => name);

async function overview(request: PageRequest): Promise<Page> {
  const { data, patience } = request;
  const span = spanOf(request);
  const found = await data.overview(span, patience);
  // What is not there yet comes with the first update.
  const later = Object.values(found).some((part) => "pending" in part);
  return {
    title: "Overview",
    refresh: data.refresh,
    plots: true,
    later,
    content: overviewContent(request, span, found),
  };
}

async function tasks(request: PageRequest): Promise<Page> {
  const { data, now, patience } = request;
  const query: AskedTasks = {
    state: request.query.getAll("state").filter((one) => one !== ""),
    task: asked(request, "task"),
    queue: asked(request, "queue"),
    worker: asked(request, "worker"),
    text: asked(request, "text"),
    root: asked(request, "root"),
    from: asked(request, "from"),
    to: asked(request, "to"),
    cursor: asked(request, "cursor"),
  };
  const { state, from, to, ...rest } = query;
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  const filter: TasksQuery = {
    ...given,
    ...(state.length > 0 && { state }),
    from: timeOf(from, now),
    to: timeOf(to, now),
  };
  const [found, queues] = await Promise.all([data.tasks(filter), data.queues(patience)]);
  const known = { tasks: names(request), queues: "value" in queues ? queues.value.map(({ queue }) => queue) : [] };
  return {
    title: "Tasks",
    refresh: less(data.refresh),
    content: tasksContent(request, { query, filter, ...found, names: known }),
  };
}

async function task(request: PageRequest): Promise<Page> {
  const found = await request.data.task(request.id);
  return {
    title: found.task ?? "Task",
    sub: html`<span class="mono">${line(found.id, 200)}</span>`,
    refresh: less(request.data.refresh),
    content: taskContent(request, found),
  };
}

async function workflow(request: PageRequest): Promise<Page> {
  const { id, data } = request;
  return {
    title: "Workflow",
    sub: html`<span class="mono">${line(id, 200)}</span>`,
    refresh: less(data.refresh),
    content: workflowContent(request, await data.workflow(id)),
  };
}

async function failures(request: PageRequest): Promise<Page> {
  const { data, patience } = request;
  const span = spanOf(request);
  const about = asked(request, "task");
  const groups = await data.failures(span, patience, about);
  return {
    title: "Failures",
    refresh: less(data.refresh),
    later: "pending" in groups,
    content: failuresContent(request, { span, task: about, groups }),
  };
}

async function deadLetters(request: PageRequest): Promise<Page> {
  const query = { queue: asked(request, "queue"), task: asked(request, "task"), error: asked(request, "error") };
  const found = await request.data.deadLetters(query);
  // Each look hides them from others for a while.
  return {
    title: "Dead letters",
    refresh: Math.max(request.data.refresh, SELDOM),
    content: lettersContent(request, { ...query, ...found }),
  };
}

async function beat(request: PageRequest): Promise<Page> {
  return {
    title: "Beat",
    refresh: Math.max(request.data.refresh, SELDOM),
    content: beatContent(request, await request.data.beat(), names(request)),
  };
}

function call(request: PageRequest): Page {
  return { title: "Call", content: callContent(request, request.data.registered(), asked(request, "task")) };
}

const page =
  (make: (request: PageRequest) => Page | Promise<Page>) =>
  async (request: PageRequest): Promise<Html> =>
    layout({ ...request, where: request.data.where() }, await make(request));

/** By their paths below the base. */
export const pages: Readonly<Record<string, (request: PageRequest) => Promise<Html>>> = {
  "/": page(overview),
  "/tasks": page(tasks),
  "/tasks/:id": page(task),
  "/workflows/:id": page(workflow),
  "/failures": page(failures),
  "/dead-letters": page(deadLetters),
  "/beat": page(beat),
  "/call": page(call),
};

/** A page that says why there is none: 404, or an error that concerns all of it. It looks again by itself. */
export const failed = (request: PageRequest, title: string, why: string): Html =>
  layout(
    { ...request, where: undefined },
    {
      title,
      refresh: 10,
      content: plainCard(
        empty(
          line(why, 600),
          html`Go to the <a href="${href(request, "/")}">overview</a>, or wait: the page looks again by itself.`,
        ),
      ),
    },
  );
