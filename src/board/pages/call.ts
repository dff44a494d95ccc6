/** Sending a task by hand. */
import { html } from "hono/html";
import type { Registered } from "../data.ts";
import { argumentFields } from "./schema-form.ts";
import { card, empty, type Html, href, nothing, note, type View } from "./parts.ts";
import { line } from "./words.ts";

export function callContent(view: View, tasks: readonly Registered[], chosen: string | undefined): Html {
  if (view.readOnly) return note("info", "pause", "This board is read-only: nothing can be sent from it.");
  if (tasks.length === 0)
    return card(
      { title: "Tasks" },
      empty(
        "No task is registered here",
        "The app that the board was started with registers none: start it with the module that declares them.",
        "lovage board -A ./tasks.ts",
      ),
    );
  const names = tasks.map(({ name }) => name);
  const task = tasks.find(({ name }) => name === chosen) ?? (chosen === undefined ? tasks[0] : undefined);
  const choice = html`<form class="filters" method="get" autocomplete="off" action="${href(view, "/call")}"><label class="field">Task<select name="task">${names.map((name) => html`<option value="${name}"${name === task?.name ? html` selected` : nothing}>${line(name, 100)}</option>`)}</select></label><div class="row"><button type="submit">Choose</button></div></form>`;
  if (task === undefined)
    return html`${card({ title: "Task" }, choice)}${note("warn", "alert", `No task is registered under the name ${line(chosen ?? "", 100)}.`)}`;
  const send = {
    path: "/tasks",
    body: { task: task.name },
    label: `Send ${line(task.name, 60)}`,
    done: `${line(task.name, 60)} is sent.`,
    go: "/tasks/{id}",
  };
  return html`${card({ title: "Task" }, choice)}${card(
    {
      title: line(task.name, 100),
      hint:
        task.schema === undefined
          ? "It has no schema that says what it takes: give its arguments as JSON."
          : "The fields are those of its schema.",
    },
    html`<div class="in"><form class="form" method="post" id="call-${line(task.name, 100)}" data-send="${JSON.stringify(send)}">${argumentFields(task.schema, task.params)}<details><summary>Options</summary><div class="form"><label class="field"><span>Queue <span class="hint">left empty: ${line(task.queue ?? "by its routes", 60)}</span></span><input name="queue" autocomplete="off"></label><label class="field"><span>Countdown <span class="hint">seconds until it may start</span></span><input name="countdown" type="number" data-kind="number" min="0" step="any"></label></div></details><div class="row"><button type="submit" class="main">Send ${line(task.name, 60)}</button></div></form></div>`,
  )}`;
}
