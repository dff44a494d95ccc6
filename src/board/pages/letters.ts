/** Messages that were given up. */
import { html } from "hono/html";
import type { ShownLetter } from "../../control/control.ts";
import type { Letters } from "../data.ts";
import {
  act,
  bulk,
  card,
  empty,
  type Html,
  href,
  nothing,
  taskLink,
  type View,
  when,
  note,
  plainCard,
} from "./parts.ts";
import { block, count, line, some } from "./words.ts";

export interface LettersPage extends Letters {
  readonly queue: string | undefined;
  readonly task: string | undefined;
  readonly error: string | undefined;
}

export function lettersContent(view: View, page: LettersPage): Html {
  const { letters, queue, task, error, more, queues } = page;
  const form = html`<form class="filters" method="get" autocomplete="off" action="${href(view, "/dead-letters")}" role="search" aria-label="Filter dead letters">
<label class="field">Queue<select name="queue"><option value="">Any</option>${queues.map((name) => html`<option value="${name}"${name === queue ? html` selected` : nothing}>${line(name, 60)}</option>`)}</select></label>
<label class="field">Task, or a pattern<input name="task" value="${task ?? ""}" autocomplete="off"></label>
<label class="field">Reason or error contains<input name="error" value="${error ?? ""}" autocomplete="off"></label>
<div class="row"><button type="submit" class="main">Show</button><a class="button" href="${href(view, "/dead-letters")}">Clear</a></div></form>`;
  const isAsked = queue !== undefined || task !== undefined || error !== undefined;
  const byQueue = Map.groupBy(letters, (letter) => letter.queue);
  const cards = [...byQueue].map(([name, some_]) => queueCard(view, name, some_));
  const none = card(
    { title: "Dead letters" },
    isAsked
      ? empty(
          "No dead letter matches",
          html`Take a filter away, or <a href="${href(view, "/dead-letters")}">show all</a>.`,
        )
      : empty(
          "No dead letters",
          "What cannot be read, is rejected, or kills its worker again and again is kept here, with the reason.",
        ),
  );
  return html`${plainCard(form)}${more ? note("info", "list", `The first ${count(letters.length)} are shown.`) : nothing}${letters.length === 0 ? none : cards}`;
}

function queueCard(view: View, queue: string, letters: readonly ShownLetter[]): Html {
  const rows = letters.map((letter) => letterRows(view, letter));
  const actions = view.readOnly
    ? nothing
    : html`<p class="sr" role="status" data-count></p><div class="bulk" hidden><b aria-hidden="true" data-count></b>${bulk({ path: "/dead-letters/redrive", each: "ids", body: { queue }, label: "Redrive {count} letters", ask: `Send {count} letters back to ${line(queue, 60)}?`, why: "They run again as they were sent.", done: "{count} letters are sent back.", tone: "main" })}${bulk({ path: "/dead-letters/delete", each: "ids", body: { queue }, label: "Delete {count} letters", ask: "Delete {count} letters for ever?", why: "Nothing of them is kept.", done: "{count} letters are deleted.", tone: "risk" })}</div>`;
  const pick = view.readOnly
    ? nothing
    : html`<th class="tight"><label><input type="checkbox" data-all><span class="sr">Choose all letters of ${line(queue, 60)}</span></label></th>`;
  return card(
    { title: html`${line(queue, 80)}: ${some(letters.length, "dead letter")}` },
    html`<div data-list><div class="scroll"><table class="fold stack"><thead><tr>${pick}<th>Task</th><th>Reason</th><th class="num">Deliveries</th><th>Sent</th><th>Dead</th><th><span class="sr">Actions</span></th></tr></thead><tbody>${rows}</tbody></table></div>${actions}</div>`,
  );
}

function letterRows(view: View, letter: ShownLetter): Html {
  const { message, task, id, error, reason, deliveries, sentAt, deadAt, body, queue } = letter;
  const name = line(task ?? "cannot be read", 80);
  const pick = view.readOnly
    ? nothing
    : html`<td class="tight"><label><input type="checkbox" data-pick value="${message}"><span class="sr">Choose ${name} ${line(message, 60)}</span></label></td>`;
  const one = { queue, ids: [message] };
  const actions = html`<div class="row">${act(view, { path: "/dead-letters/redrive", body: one, label: "Redrive 1 letter", shown: "Redrive", name: `Redrive ${name}`, ask: `Send it back to ${line(queue, 60)}?`, why: "It runs again as it was sent.", done: "{count} letters are sent back.", slim: true, tone: "main" })}${act(view, { path: "/dead-letters/delete", body: one, label: "Delete 1 letter", shown: "Delete", name: `Delete ${name}`, ask: "Delete this letter for ever?", why: "Nothing of it is kept.", done: "{count} letters are deleted.", slim: true, tone: "risk" })}</div>`;
  const change =
    view.readOnly || task === undefined
      ? nothing
      : html`<form class="form" method="post" data-send="${JSON.stringify({ path: "/dead-letters/redrive", body: one, label: "Redrive 1 letter", ask: `Send it back to ${line(queue, 60)} with these arguments?`, done: "{count} letters are sent back." })}"><fieldset><legend>Redrive with other arguments</legend><label class="field">Positional arguments: a list of JSON<textarea name="args" data-kind="json" data-of="list" spellcheck="false"></textarea></label><label class="field">Keyword arguments: an object of JSON<textarea name="kwargs" data-kind="json" data-of="object" spellcheck="false"></textarea></label><p class="hint">What is left empty stays as it was sent.</p><div class="row"><button type="submit">Redrive with these</button></div></fieldset></form>`;
  const told = [error, reason].filter((one_) => one_ !== undefined && one_ !== "").join(": ");
  return html`<tr data-key="${line(message, 200)}">${pick}<th scope="row" class="lead wrap">${name}${id === undefined ? nothing : html` <span class="small">${taskLink(view, id)}</span>`}</th><td data-name="Reason" class="wrap"><span class="error">${line(told === "" ? "not told" : told, 200)}</span><details><summary>Body</summary><pre tabindex="0">${block(body)}</pre>${change}</details></td><td data-name="Deliveries" class="num">${deliveries === undefined ? nothing : count(deliveries)}</td><td data-name="Sent" class="tight">${when(view, sentAt?.getTime())}</td><td data-name="Dead" class="tight">${when(view, deadAt?.getTime())}</td><td class="acts">${actions}</td></tr>`;
}
