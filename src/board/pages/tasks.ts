/** The journal as a list, by filters that stand in the URL. */
import { html } from "hono/html";
import type { JournalEntry } from "../../journal/entry.ts";
import type { TasksFound, TasksQuery } from "../data.ts";
import {
  act,
  at,
  badge,
  bulk,
  card,
  type Content,
  empty,
  type Html,
  href,
  isNamed,
  lookOf,
  mark,
  nothing,
  plainCard,
  type View,
  state,
  taskLink,
  took,
  when,
} from "./parts.ts";
import { count, line, some } from "./words.ts";

/** What is asked, as it stands in the URL. */
export interface AskedTasks {
  readonly state: readonly string[];
  readonly task?: string | undefined;
  readonly queue?: string | undefined;
  readonly worker?: string | undefined;
  readonly text?: string | undefined;
  readonly root?: string | undefined;
  /** `1h`, `2d`: how far back; or an instant. */
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  /** Where the page before ended. */
  readonly cursor?: string | undefined;
}

const STATES = ["SUCCESS", "FAILURE", "RETRY", "REVOKED", "IGNORED", "REPLACED"] as const;
const SPANS: readonly (readonly [string, string])[] = [
  ["", "All that is kept"],
  ["15m", "Last 15 minutes"],
  ["1h", "Last hour"],
  ["6h", "Last 6 hours"],
  ["1d", "Last day"],
  ["7d", "Last week"],
];

const field = (label: string, name: string, value: string | undefined, more: Content = ""): Html =>
  html`<label class="field">${label}<input name="${name}" value="${value ?? ""}" autocomplete="off"${more}></label>`;

function filters(
  view: View,
  query: AskedTasks,
  names: { readonly tasks: readonly string[]; readonly queues: readonly string[] },
): Html {
  const chosen = new Set(query.state);
  const custom = query.state.filter((one) => !(STATES as readonly string[]).includes(one));
  return html`<form class="filters" method="get" autocomplete="off" action="${href(view, "/tasks")}" role="search" aria-label="Filter tasks">
<fieldset class="chips wide"><legend>State</legend>${[...STATES, ...custom].map((name) => html`<label class="chip ${chosen.has(name) ? lookOf(name).tone : ""}"><input type="checkbox" name="state" value="${name}"${chosen.has(name) ? html` checked` : nothing}>${mark(lookOf(name).mark)}${line(name, 40)}</label>`)}</fieldset>
${field("Contains", "text", query.text, html` type="search" placeholder="id, argument or error"`)}
${field("Task, or a pattern", "task", query.task, html` list="tasks" placeholder="media.*"`)}
<label class="field">Queue<select name="queue"><option value="">Any</option>${withOwn(names.queues, query.queue).map((name) => html`<option value="${name}"${name === query.queue ? html` selected` : nothing}>${line(name, 60)}</option>`)}</select></label>
${field("Worker", "worker", query.worker)}
<label class="field">Time<select name="from">${withOwn(
    SPANS.map(([value]) => value),
    query.from,
  ).map(
    (value) =>
      html`<option value="${value}"${value === (query.from ?? "") ? html` selected` : nothing}>${SPANS.find(([one]) => one === value)?.[1] ?? `From ${line(value, 40)}`}</option>`,
  )}</select></label>
${query.root === undefined ? nothing : field("Root of the workflow", "root", query.root)}
<div class="row"><button type="submit" class="main">Show</button><a class="button" href="${href(view, "/tasks")}">Clear</a></div>
<datalist id="tasks">${names.tasks.map((name) => html`<option value="${name}"></option>`)}</datalist>
</form>`;
}

const withOwn = (all: readonly string[], own: string | undefined): readonly string[] =>
  own === undefined || all.includes(own) ? all : [...all, own];

function tasksTable(view: View, entries: readonly JournalEntry[]): Html {
  const rows = entries.map((entry) => taskRow(view, entry));
  const actions = view.readOnly
    ? nothing
    : html`<p class="sr" role="status" data-count></p><div class="bulk" hidden><b aria-hidden="true" data-count></b>${bulk({ path: "/tasks/retry", each: "ids", body: {}, label: "Retry {count} tasks", ask: "Retry {count} tasks?", why: "Each runs again under its own id. Those that have not failed are left out.", done: "{count} tasks are sent again.", tone: "main" })}${bulk({ path: "/tasks/revoke", each: "ids", body: {}, label: "Revoke {count} tasks", ask: "Revoke {count} tasks?", why: "They do not start any more. What runs, runs on.", done: "{count} tasks are revoked.", tone: "risk" })}${bulk({ path: "/tasks/forget", each: "ids", body: {}, label: "Forget {count} tasks", ask: "Forget {count} tasks?", why: "Their results are deleted, and they cannot be run again. The journal keeps what happened.", done: "{count} tasks are forgotten.", tone: "risk" })}</div>`;
  const pick = view.readOnly
    ? nothing
    : html`<th class="tight"><label><input type="checkbox" data-all><span class="sr">Choose all tasks of this page</span></label></th>`;
  return html`<div data-list id="list"><div class="scroll"><table class="fold stack"><thead><tr>${pick}<th>State</th><th>Task</th><th>Id</th><th>Arguments or error</th><th class="num">Ran</th><th class="num">Waited</th><th>Ended</th></tr></thead><tbody>${rows}</tbody></table></div>${actions}</div>`;
}

function taskRow(view: View, entry: JournalEntry): Html {
  const { id, task, error, args, kwargs, runtime, waited, time, queue, kind, retries } = entry;
  const name = line(task ?? "", 80);
  const given = [args, kwargs === "{}" ? undefined : kwargs].filter((one) => one !== undefined).join(" ");
  const pick = view.readOnly
    ? nothing
    : html`<td class="tight">${!isNamed(id) ? nothing : html`<label><input type="checkbox" data-pick value="${id}"><span class="sr">Choose ${name} ${line(id, 60)}</span></label>`}</td>`;
  const told =
    kind === "waiting"
      ? waitText(view, entry)
      : error === undefined
        ? html`<span class="soft mono">${line(given, 120)}</span>`
        : html`<span class="error">${line(`${error.type}: ${error.message}`, 140)}</span>`;
  return html`<tr data-key="${line(`${id ?? ""}-${time}-${kind}`, 200)}">${pick}<td data-name="State">${kindBadge(entry)}</td><th scope="row" data-name="Task" class="wrap">${task === undefined ? nothing : html`<a href="${href(view, "/tasks", { task })}">${name}</a> `}<span class="soft small">${line(queue ?? "", 60)}${retries === undefined || retries === 0 ? nothing : `, attempt ${count(retries + 1)}`}</span></th><td data-name="Id">${taskLink(view, id)}</td><td data-name="Told" class="clip">${told}</td><td data-name="Ran" class="num">${took(runtime)}</td><td data-name="Waited" class="num">${took(waited)}</td><td data-name="Ended" class="tight">${when(view, time)}</td></tr>`;
}

/** What it waits for, and until when. */
export const waitText = (view: View, { limit = "limit", until }: JournalEntry): Html =>
  html`<span class="soft">waits for its <code>${line(limit, 40)}</code></span> ${until === undefined ? nothing : html`until ${at(view, until)}`}`;

const KINDS: Readonly<Record<string, string>> = {
  deadLetter: "dead letter",
  unsent: "not sent",
  revoke: "revoke",
  slot: "beat",
  control: "operator",
  join: "chord",
};

export function kindBadge({ kind, state: name, action }: JournalEntry): Html | "" {
  if (kind === "task") return state(name);
  if (kind === "running") return state("STARTED");
  if (kind === "waiting") return state("PENDING");
  const text = kind === "control" ? (action ?? "operator") : (KINDS[kind] ?? kind);
  const bad = kind === "deadLetter" || kind === "unsent";
  return badge(
    text,
    bad ? { tone: "bad", mark: kind === "unsent" ? "alert" : "skull" } : { tone: "odd", mark: "star" },
  );
}

export interface TasksPage extends TasksFound {
  readonly query: AskedTasks;
  /** The same as it is asked. */
  readonly filter: TasksQuery;
  readonly names: { readonly tasks: readonly string[]; readonly queues: readonly string[] };
}

export function tasksContent(view: View, { query, filter, entries, next, searchedTo, names }: TasksPage): Html {
  const { cursor, ...kept } = query;
  const isAsked = Object.values(kept).some((value) => value !== undefined && value.length > 0);
  const list =
    entries.length > 0
      ? tasksTable(view, entries)
      : searchedTo !== undefined
        ? empty("Nothing found yet", "The search goes on with older entries: see below.")
        : isAsked
          ? empty("Nothing matches", html`Take a filter away, or <a href="${href(view, "/tasks")}">show all</a>.`)
          : empty(
              "Nothing has run yet",
              "Send a task, and start a worker that runs it:",
              "lovage worker -A ./tasks.ts",
            );
  const older =
    next === undefined
      ? html`<span>No older ones</span>`
      : html`<a href="${href(view, "/tasks", { ...kept, cursor: next })}">${searchedTo === undefined ? "Older →" : html`Search on, before ${at(view, searchedTo)} →`}</a>`;
  const first =
    cursor === undefined
      ? html`<span>The newest first</span>`
      : html`<a href="${href(view, "/tasks", kept)}">← The newest</a>`;
  return html`${plainCard(filters(view, query, names))}${card(
    {
      title: entries.length === 0 ? "Tasks" : some(entries.length, "entry", "entries"),
      tools: isAsked ? allOf(view, query, filter) : undefined,
    },
    html`${list}<div class="pager">${first}${older}</div>`,
  )}`;
}

/** Actions on all that match, however many pages they fill. How many they are is counted first. */
function allOf(view: View, { state, ...query }: AskedTasks, filter: TasksQuery): Html {
  const { cursor: _, limit: __, ...body } = filter;
  const isRetry =
    (state.length === 0 || state.includes("FAILURE")) && query.worker === undefined && query.root === undefined;
  const { task, queue, text, from, to } = body;
  return html`<div class="row">${
    isRetry
      ? act(view, {
          path: "/failures/retry",
          body: { task, queue, text, from, to },
          label: "Retry {count} tasks",
          shown: "Retry all that failed",
          ask: "Retry {count} tasks?",
          why: "All that match this filter, have failed, and did not succeed since.",
          done: "{count} tasks are sent again.",
          dry: true,
          slim: true,
        })
      : nothing
  }${act(view, { path: "/tasks/revoke", body, label: "Revoke {count} tasks", shown: "Revoke all", ask: "Revoke {count} tasks?", why: "All whose latest entry matches this filter and that have not ended. They do not start any more.", done: "{count} tasks are revoked.", dry: true, tone: "risk", slim: true })}${act(view, { path: "/tasks/forget", body, label: "Forget {count} tasks", shown: "Forget all", ask: "Forget {count} tasks?", why: "All whose latest entry matches this filter. Their results are deleted, and they cannot be run again.", done: "{count} tasks are forgotten.", dry: true, tone: "risk", slim: true })}</div>`;
}
