/** What belongs together: the drawing, and the same as a list. */
import { html } from "hono/html";
import type { Workflow } from "../../journal/workflow.ts";
import { drawGraph, named, tally } from "./graph.ts";
import {
  act,
  badge,
  card,
  empty,
  type Html,
  href,
  isNamed,
  lookOf,
  nothing,
  note,
  state,
  taskLink,
  taskPath,
  took,
  type View,
  when,
} from "./parts.ts";
import { count, line, some } from "./words.ts";

/** Tasks that one button is for: their ids are in the page. */
const MOST_ACTED = 1_000;

/** More rows than that nobody reads; the list of tasks has filters. */
const MOST_ROWS = 50;

export function workflowContent(view: View, workflow: Workflow): Html {
  const { id, groups, truncated } = workflow;
  const tasks = named(workflow.tasks);
  if (tasks.length === 0)
    return empty(
      "Nothing is known of it",
      html`Its entries have expired, or it was never sent. <a href="${href(view, "/tasks", { text: id })}">Look for the id</a> in the list of tasks.`,
    );
  const states = tally(tasks);
  const idsOf = (of: (state: string) => boolean) =>
    tasks
      .filter((task) => of(task.state) && isNamed(task.id))
      .slice(0, MOST_ACTED)
      .map((task) => task.id);
  const failed = idsOf((one) => one === "FAILURE");
  const open = idsOf((one) => one === "PENDING" || one === "RETRY" || one === "STARTED");
  const retry =
    failed.length === 0
      ? nothing
      : act(view, {
          path: "/tasks/retry",
          each: "ids",
          body: { ids: failed },
          label: `Retry ${some(failed.length, "task")}`,
          ask: `Retry ${some(failed.length, "failed task")} of this workflow?`,
          why: "What waits for them, such as the body of a chord, goes on when they succeed.",
          done: "{count} tasks are sent again.",
          tone: "main",
        });
  const revoke =
    open.length === 0
      ? nothing
      : act(view, {
          path: "/tasks/revoke",
          each: "ids",
          body: { ids: open },
          label: `Revoke ${some(open.length, "task")}`,
          ask: `Revoke ${some(open.length, "task")} that ${open.length === 1 ? "has" : "have"} not ended?`,
          why: "They do not start any more. What follows from them fails.",
          done: "{count} tasks are revoked.",
          tone: "risk",
        });
  const marks = states.map(({ state: name, many }) => html`${badge(`${count(many)} ${name}`, lookOf(name))} `);
  // What wants to be looked at first.
  const rank = (name: string) => ["FAILURE", "RETRY", "STARTED", "PENDING", "REVOKED"].indexOf(name);
  const listed = [...tasks]
    .map((task, at) => ({ task, at }))
    .sort((a, b) => ((rank(a.task.state) + 6) % 6) - ((rank(b.task.state) + 6) % 6) || a.at - b.at)
    .slice(0, MOST_ROWS)
    .map(({ task }) => task);
  return html`${truncated ? note("warn", "alert", "It has more tasks than are looked for: 10,000 of them are shown.") : nothing}
${card({ title: some(tasks.length, "task"), hint: marks, tools: html`<div class="row">${retry}${revoke}</div>` }, drawGraph(view, workflow))}
${card(
  {
    title: "Tasks",
    hint:
      tasks.length > listed.length
        ? html`${count(listed.length)} of ${count(tasks.length)}: failed ones first. <a href="${href(view, "/tasks", { root: id })}">All of them</a>`
        : groups.length > 0
          ? some(groups.length, "group")
          : undefined,
  },
  html`<div class="scroll"><table class="fold"><thead><tr><th>State</th><th>Task</th><th>Id</th><th>Arguments or error</th><th class="num">Ran</th><th>Ended</th></tr></thead><tbody>${listed.map(
    ({ id: of, task, state: name, args, error, runtime, ended }) =>
      html`<tr data-key="${line(of, 200)}"><td data-name="State">${state(name)}</td><th scope="row" data-name="Task" class="wrap"><a href="${taskPath(view, of)}">${line(task ?? "not told yet", 80)}</a></th><td data-name="Id">${taskLink(view, of)}</td><td data-name="Told" class="clip">${error === undefined ? html`<span class="soft mono">${line(args ?? "", 100)}</span>` : html`<span class="error">${line(`${error.type}: ${error.message}`, 120)}</span>`}</td><td data-name="Ran" class="num">${took(runtime)}</td><td data-name="Ended">${when(view, ended)}</td></tr>`,
  )}</tbody></table></div>`,
)}`;
}
