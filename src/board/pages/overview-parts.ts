/** The parts of the overview. */
import { html } from "hono/html";
import type { ByWorker, FunctionState, QueueState } from "../../control/inspect.ts";
import type { TaskInHand, WorkerInfo } from "../../control/rows.ts";
import type { FailureGroup } from "../../journal/failures.ts";
import type { Span } from "../data.ts";
import type { SummaryStep } from "../../journal/summary.ts";
import { act, badge, empty, type Html, href, mark, nothing, number, taskLink, type View, when } from "./parts.ts";
import { count, duration, line } from "./words.ts";

/** The head of a row in which a table's names stand, for the narrow form in which each value has its column's name. */
const cell = (name: string, content: Html | string | number, className = ""): Html =>
  html`<td data-name="${name}" class="${className}">${content}</td>`;

export function queuesTable(view: View, queues: readonly QueueState[]): Html {
  if (queues.length === 0)
    return empty("No queue yet", "A queue is there when the app declares it, or when the first task was sent to it.");
  return html`<div class="scroll"><table class="fold mid"><thead><tr><th>Queue</th><th class="num">Ready</th><th class="num">Delayed</th><th class="num">In flight</th><th class="num">Dead</th><th class="num">Oldest</th><th><span class="sr">Actions</span></th></tr></thead><tbody>${queues.map((queue) => queueRow(view, queue))}</tbody></table></div>`;
}

function queueRow(view: View, { queue, ready, delayed, inFlight, deadLetters, oldest, paused }: QueueState): Html {
  const name = line(queue, 80);
  const dead =
    deadLetters === 0
      ? number(0)
      : html`<a class="error" href="${href(view, "/dead-letters", { queue })}">${count(deadLetters)}</a>`;
  const state =
    paused === undefined
      ? nothing
      : html` ${badge("paused", { tone: "warn", mark: "pause" })} <span class="soft small">by ${line(paused.by, 60)}, ${when(view, paused.at)}</span>`;
  const button =
    paused === undefined
      ? act(view, {
          path: `/queues/${encodeURIComponent(queue)}/pause`,
          body: {},
          label: "Pause",
          name: `Pause ${queue}`,
          ask: `Pause ${queue}?`,
          why: "Nothing more of it is begun until it is resumed. What runs, runs on.",
          done: `${queue} is paused.`,
          slim: true,
        })
      : act(view, {
          path: `/queues/${encodeURIComponent(queue)}/resume`,
          body: {},
          label: "Resume",
          name: `Resume ${queue}`,
          done: `${queue} goes on.`,
          slim: true,
        });
  return html`<tr data-key="queue-${name}"><th scope="row" class="lead"><a href="${href(view, "/tasks", { queue })}">${name}</a>${state}</th>${cell("Ready", number(ready), "num")}${cell("Delayed", number(delayed), "num")}${cell("In flight", number(inFlight), "num")}${cell("Dead", dead, "num")}${cell("Oldest", oldest === undefined ? "" : duration(oldest), "num")}<td class="acts">${button}</td></tr>`;
}

export const spanTabs = (
  view: View,
  path: string,
  span: Span,
  query: Readonly<Record<string, string | undefined>> = {},
): Html =>
  html`<nav class="tabs" aria-label="Span of time">${(["hour", "day", "week"] as const).map((name) => html`<a href="${href(view, path, { ...query, ...(name !== "hour" && { span: name }) })}"${name === span ? html` aria-current="true"` : nothing}>Last ${name}</a>`)}</nav>`;

interface Line {
  readonly name: string;
  readonly color: string;
  readonly values: readonly (number | null)[];
  readonly fill?: boolean;
  /** Lengths of its strokes and gaps: lines are told apart by their form, too. */
  readonly dash?: readonly number[];
}

function plot(title: string, view: View, unit: string, times: readonly number[], series: readonly Line[]): Html {
  const rounded = series.map((one) => ({
    ...one,
    values: one.values.map((value) => (value === null ? null : Number(value.toPrecision(4)))),
  }));
  const data = JSON.stringify({ unit, zone: view.zone, times, series: rounded });
  const told = series.map(({ name, values }) => `${name}: now ${values.at(-1) ?? "none"}`).join("; ");
  return html`<figure><figcaption>${title}</figcaption><div class="plot" role="img" aria-label="${title}. ${told}" data-plot="${data}"></div><ul class="legend" aria-hidden="true">${series.map(({ name, color, dash = [] }) => html`<li class="s-${color}"><svg viewBox="0 0 22 10"><path d="M0 5h22" stroke="currentColor" stroke-width="3"${dash.length === 0 ? nothing : html` stroke-dasharray="${dash.join(" ")}"`}/></svg>${name}</li>`)}</ul><details data-keep><summary>${title} as a table</summary><div class="scroll" tabindex="0" role="region" aria-label="${title} as a table"><table aria-label="${title}"></table></div></details></figure>`;
}

export function plots(view: View, steps: readonly SummaryStep[]): Html {
  const ended = steps.reduce((sum, step) => sum + step.ended, 0);
  if (ended === 0)
    return empty(
      "Nothing ran in this span",
      "When tasks run, their number and times are drawn here.",
      "lovage worker -A ./tasks.ts",
    );
  const times = steps.map(({ time }) => Math.round(time / 1000));
  const perMinute = (of: (step: SummaryStep) => number) =>
    steps.map((step) => (step.ended === 0 ? 0 : (of(step) * step.throughput * 60) / step.ended));
  return html`<div class="plots">${plot("Tasks a minute", view, "", times, [
    { name: "succeeded", color: "ok", values: perMinute(({ succeeded }) => succeeded), fill: true },
    { name: "failed", color: "bad", dash: [7, 3], values: perMinute(({ failed }) => failed) },
    { name: "retried", color: "warn", dash: [2, 3], values: perMinute(({ retried }) => retried) },
  ])}${plot("Runtime", view, "s", times, [
    { name: "p50", color: "info", values: steps.map(({ runtime }) => runtime.p50), fill: true },
    { name: "p95", color: "odd", dash: [7, 3], values: steps.map(({ runtime }) => runtime.p95) },
  ])}${plot("Waited before the start", view, "s", times, [
    { name: "p50", color: "info", values: steps.map(({ waited }) => waited.p50), fill: true },
    { name: "p95", color: "odd", dash: [7, 3], values: steps.map(({ waited }) => waited.p95) },
  ])}</div>`;
}

export function workersTable(
  view: View,
  workers: readonly WorkerInfo[],
  isAlone: boolean,
  active: ByWorker<readonly TaskInHand[]>,
): Html {
  const runs = Object.entries(active).flatMap(([name, tasks]) => tasks.map((task) => ({ name, ...task })));
  const running = runs.length === 0 ? nothing : runningTable(view, runs.slice(0, 10));
  if (workers.length === 0 && (running !== nothing || !isAlone)) return html`${running}`;
  if (workers.length === 0)
    return empty(
      "No long-lived worker",
      "Nothing takes the messages of the queues. To start a worker here:",
      "lovage worker -A ./tasks.ts",
    );
  return html`<div class="scroll"><table class="fold stack"><thead><tr><th>Worker</th><th>Queues</th><th class="num">Runs</th><th class="num">Done</th><th>Seen</th></tr></thead><tbody>${workers.map(
    (worker) =>
      html`<tr data-key="worker-${line(worker.name, 200)}"><th scope="row" class="lead wrap"><a href="${href(view, "/tasks", { worker: worker.name })}">${line(worker.name, 80)}</a> ${worker.version === undefined ? nothing : html`<br><span class="soft small">${line(worker.version, 40)}</span>`}</th>${cell("Queues", line(worker.queues.join(", "), 80), "wrap")}${cell("Runs", `${count(worker.running)} of ${count(worker.concurrency)}`, "num")}${cell("Done", count(worker.done), "num")}${cell("Seen", when(view, worker.seen))}</tr>`,
  )}</tbody></table></div>${running}`;
}

/** Of Lambda; with their last hour where CloudWatch was asked. */
export function functionsTable(view: View, functions: readonly FunctionState[]): Html {
  if (functions.length === 0) return html``;
  const hasHour = functions.some(({ lastHour }) => lastHour !== undefined);
  const hour = hasHour
    ? html`<th class="num">Runs in the last hour</th><th class="num">Errors</th><th class="num">Throttled</th>`
    : nothing;
  return html`<div class="scroll"><table class="fold stack"><thead><tr><th>Function</th><th>Queue</th><th>Is given messages</th><th class="num">At a time</th>${hour}</tr></thead><tbody>${functions.map(
    ({ name, queue, state, maxConcurrency, losesMessages, lastHour }) =>
      html`<tr data-key="function-${line(name, 200)}"><th scope="row" class="lead wrap">${line(name, 80)}</th>${cell("Queue", html`<a href="${href(view, "/tasks", { queue })}">${line(queue, 60)}</a>`, "wrap")}${cell("Is given messages", html`${badge(state, state === "Enabled" ? { tone: "ok", mark: "check" } : { tone: "warn", mark: "pause" })}${losesMessages ? html`<br><span class="small">Loses tasks that it hands back: its event source mapping has no ReportBatchItemFailures</span>` : nothing}`)}${cell("At a time", maxConcurrency === undefined ? "any" : `at most ${count(maxConcurrency)}`, "num")}${hasHour ? html`${cell("Runs in the last hour", lastHour === undefined ? "–" : count(lastHour.invocations), "num")}${cell("Errors", lastHour === undefined ? "–" : count(lastHour.errors), "num")}${cell("Throttled", lastHour === undefined ? "–" : count(lastHour.throttles), "num")}` : nothing}</tr>`,
  )}</tbody></table></div>`;
}

interface Running extends TaskInHand {
  readonly name: string;
}

/** What runs now, also on functions of Lambda. */
const runningTable = (view: View, runs: readonly Running[]): Html =>
  html`<div class="scroll"><table class="fold"><thead><tr><th>Runs now</th><th>Worker</th><th>Since</th></tr></thead><tbody>${runs.map(({ id, task, name, started }) => html`<tr data-key="runs-${line(id, 200)}"><th scope="row" class="lead wrap">${taskLink(view, id, task)}</th><td data-name="Worker" class="wrap">${line(name, 80)}</td><td data-name="Since">${when(view, started)}</td></tr>`)}</tbody></table></div>`;

export function failing(view: View, groups: readonly FailureGroup[], query: Readonly<Record<string, string>>): Html {
  if (groups.length === 0) return html`<div class="empty">${mark("check")} <b>Nothing failed</b>in this span.</div>`;
  return html`<div class="scroll"><table class="fold"><thead><tr><th>Task and error</th><th class="num">Failures</th><th>Last</th></tr></thead><tbody>${groups.map(
    ({ task, error, count: many, last }) =>
      html`<tr data-key="${line(`fails-${task}-${error?.type}-${error?.message}`, 300)}"><th scope="row" class="lead wrap"><a href="${href(view, "/failures", { ...query, ...(task !== undefined && { task }) })}">${line(task ?? "no task that could be read", 80)}</a><br><span class="error small">${line(`${error?.type ?? ""}: ${error?.message ?? ""}`, 120)}</span></th>${cell("Failures", count(many), "num")}${cell("Last", when(view, last))}</tr>`,
  )}</tbody></table></div>`;
}

export const tiles = (queues: readonly QueueState[], steps: readonly SummaryStep[] | undefined, span: Span): Html => {
  const sum = (of: (queue: QueueState) => number) => queues.reduce((all, queue) => all + of(queue), 0);
  const dead = sum(({ deadLetters }) => deadLetters);
  const ended = steps?.reduce((all, step) => all + step.ended, 0);
  const failed = steps?.reduce((all, step) => all + step.failed, 0);
  const tile = (name: string, value: string, tone = "") =>
    html`<li class="tile ${tone}"><span>${name}</span><b>${value}</b></li>`;
  return html`<ul class="tiles">${tile("Ready", count(sum(({ ready }) => ready)))}${tile("In flight", count(sum(({ inFlight }) => inFlight)))}${tile("Delayed", count(sum(({ delayed }) => delayed)))}${tile("Dead letters", count(dead), dead > 0 ? "bad" : "")}${ended === undefined ? nothing : tile(`Attempts, last ${span}`, count(ended))}${failed === undefined ? nothing : tile(`Failed, last ${span}`, count(failed), failed > 0 ? "bad" : "")}</ul>`;
};
