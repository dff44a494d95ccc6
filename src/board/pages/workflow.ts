/** What belongs together: the drawing, and the same as a list. */
import { html } from "hono/html";
import type { Workflow } from "../../journal/workflow.ts";
import { FAILURE } from "../../states.ts";
import { isOpen } from "../actions.ts";
import { drawGraph, named, tally } from "./graph.ts";
import {
  act,
  badge,
  card,
  empty,
  type Html,
  href,
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
  const numberOf = (of: (state: string) => boolean) =>
    states.reduce((sum, { state: name, many }) => sum + (of(name) ? many : 0), 0);
  const failed = numberOf((one) => one === FAILURE);
  const open = numberOf(isOpen);
  const body = { workflow: id };
  const retry =
    failed === 0
      ? nothing
      : act(view, {
          path: "/tasks/retry",
          body,
          label: "Retry {count} tasks",
          shown: `Retry ${some(failed, "task")}`,
          ask: "Retry {count} tasks of this workflow?",
          why: "All that failed. What waits for them, such as the body of a chord, goes on when they succeed.",
          done: "{count} tasks are sent again.",
          dry: true,
          tone: "main",
        });
  const revoke =
    open === 0
      ? nothing
      : act(view, {
          path: "/tasks/revoke",
          body,
          label: "Revoke {count} tasks",
          shown: `Revoke ${some(open, "task")}`,
          ask: "Revoke {count} tasks of this workflow?",
          why: "All that have not ended. They do not start any more, and what follows from them fails.",
          done: "{count} tasks are revoked.",
          dry: true,
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
  return html`${truncated ? note("warn", "alert", "It has more tasks than are looked for, 10,000: some are missing, or shown as pending although they have begun.") : nothing}
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
