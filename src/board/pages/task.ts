/** One task: what is stored of it, what became of it, and what belongs to it. */
import { html } from "hono/html";
import type { Relative, TaskDetail, TaskError } from "../data.ts";
import { timeLine } from "./attempts.ts";
import {
  act,
  card,
  type Content,
  empty,
  type Html,
  href,
  nothing,
  plainCard,
  state,
  taskLink,
  type View,
  when,
  workflowPath,
} from "./parts.ts";
import { waitText } from "./tasks.ts";
import { block, line } from "./words.ts";

/** Characters of arguments that a form holds. */
const MOST_EDITED = 50_000;

const ENDED = new Set(["SUCCESS", "FAILURE", "REVOKED", "IGNORED"]);

export function taskContent(view: View, task: TaskDetail): Html {
  const { id, state: name, entries, error, result, children, parent, root, group } = task;
  const fact = (title: string, content: Content, whole = false) =>
    content === undefined || content === ""
      ? nothing
      : html`<div class="${whole ? "whole" : ""}"><dt>${title}</dt><dd>${content}</dd></div>`;
  const isUnknown = task.row === undefined && entries.length === 0;
  if (isUnknown)
    return plainCard(
      html`${empty(
        "Nothing is stored of it",
        html`It waits in its queue and was not begun, was never sent, or ended so long ago that it has expired. <a href="${href(view, "/tasks", { text: id })}">Look for the id</a> in the list of tasks.`,
      )}<div class="in row center">${actions(view, task)}</div>`,
    );
  const workflow = root ?? id;
  return html`${plainCard(html`<div class="in"><div class="row between"><div class="row">${state(name)}</div><div class="row">${actions(view, task)}</div></div></div><div class="in"><dl class="facts">
${fact("Queue", task.queue === undefined ? undefined : html`<a href="${href(view, "/tasks", { queue: task.queue })}">${line(task.queue)}</a>`)}
${fact("Worker", task.worker === undefined ? undefined : html`<a href="${href(view, "/tasks", { worker: task.worker })}">${line(task.worker)}</a>`)}
${fact("Waits", task.waits === undefined ? undefined : waitText(view, task.waits))}
${fact("Stored", when(view, task.stored))}
${fact("Kept until", when(view, task.expires))}
${fact("Called by", parent === undefined ? undefined : relative_(view, parent))}
${fact("Workflow", html`<a href="${workflowPath(view, workflow)}">${root === undefined || root === id ? "begins with this task" : "open it"}</a>`)}
${fact("Group", group === undefined ? undefined : html`<a class="mono" href="${workflowPath(view, group)}">${line(group, 60)}</a>`)}
${fact("Arguments", task.args === undefined ? undefined : html`<pre tabindex="0">${block(task.args)}</pre>`, true)}
${fact("Keyword arguments", task.kwargs === undefined || task.kwargs === "{}" ? undefined : html`<pre tabindex="0">${block(task.kwargs)}</pre>`, true)}
</dl></div>`)}
${error === undefined ? nothing : card({ title: html`<span class="error">${line(error.type, 100)}</span>` }, html`<div class="in">${errorText(error)}</div>`)}
${error !== undefined || result === undefined ? nothing : card({ title: "Result" }, html`<div class="in"><pre tabindex="0">${block(result)}</pre></div>`)}
${card({ title: "Attempts", hint: "How long it waited, how long it ran, and how long it waited again." }, timeLine(view, entries))}
${children.length === 0 ? nothing : card({ title: "What it called" }, html`<div class="in"><ul class="bare">${children.slice(0, 50).map((child) => html`<li>${relative_(view, child)}</li>`)}</ul>${children.length > 50 ? html`<p><a href="${workflowPath(view, workflow)}">All ${children.length} are in the workflow</a></p>` : nothing}</div>`)}
${retryForm(view, task)}
${card({ title: "Raw" }, html`${raw_("Headers", task.headers)}${raw_("Message", task.message)}${raw_("Row", task.row)}`)}`;
}

const relative_ = (view: View, { id, task, state: name }: Relative): Html =>
  html`${state(name)} ${taskLink(view, id, task ?? id)}`;

const raw_ = (title: string, text: string | undefined): Html | "" =>
  html`<details><summary>${title}</summary>${text === undefined ? html`<p class="soft">It is not kept: a message is kept with a task that failed, and with a dead letter.</p>` : html`<pre tabindex="0">${block(text)}</pre>`}</details>`;

function errorText({ message, traceback }: TaskError): Html {
  return html`<p class="wrap">${block(message, 2_000)}</p>${traceback === null || traceback === "" ? nothing : html`<pre tabindex="0">${block(traceback)}</pre>`}`;
}

function actions(view: View, { id, state: name, retryable }: TaskDetail): Html {
  const one = { ids: [id] };
  const ended = ENDED.has(name);
  return html`${
    retryable
      ? act(view, {
          path: "/tasks/retry",
          body: one,
          label: "Retry this task",
          ask: "Retry this task?",
          why: "It runs again under its own id. What waits for it goes on when it succeeds.",
          done: "It is sent again.",
          tone: "main",
        })
      : nothing
  }${
    ended
      ? act(view, {
          path: "/tasks/forget",
          body: one,
          label: "Forget its result",
          ask: "Forget the result of this task?",
          why: "It is deleted, and the task cannot be run again.",
          done: "It is forgotten.",
          tone: "risk",
        })
      : html`${act(view, { path: "/tasks/revoke", body: one, label: "Revoke this task", ask: "Revoke this task?", why: "It does not start any more. If it runs, it runs on.", done: "It is revoked.", tone: "risk" })}${act(view, { path: "/tasks/revoke", body: { ...one, terminate: true }, label: "Terminate this task", ask: "Terminate this task?", why: "It does not start any more, and if it runs, its signal is aborted.", done: "It is terminated.", tone: "risk" })}`
  }`;
}

/** A new task, as the arguments are others. */
function retryForm(view: View, { task, args, kwargs, queue, retryable }: TaskDetail): Html | "" {
  if (view.readOnly || task === undefined || !retryable) return nothing;
  if ((args?.length ?? 0) + (kwargs?.length ?? 0) > MOST_EDITED)
    return card(
      { title: "Retry with other arguments" },
      html`<p class="in soft">Its arguments are too long to be changed here. Send it by the command line: <code>lovage call</code></p>`,
    );
  const send = {
    path: "/tasks",
    body: { task, ...(queue !== undefined && { queue }) },
    label: "Send it with these arguments",
    ask: `Send ${line(task, 60)} with these arguments?`,
    why: "It is a new task, with an id of its own. The failed one stays as it is.",
    done: "It is sent.",
    go: "/tasks/{id}",
  };
  return card(
    { title: "Retry with other arguments" },
    html`<div class="in"><form class="form" method="post" data-send="${JSON.stringify(send)}"><label class="field">Positional arguments: a list of JSON<textarea name="args" data-kind="json" data-of="list" spellcheck="false">${args ?? ""}</textarea></label><label class="field">Keyword arguments: an object of JSON<textarea name="kwargs" data-kind="json" data-of="object" spellcheck="false">${kwargs === "{}" ? "" : (kwargs ?? "")}</textarea></label><div class="row"><button type="submit">Send it with these arguments</button></div></form></div>`,
  );
}
