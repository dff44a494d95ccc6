/** Schedules: what beat will do, and what it did. */
import { html } from "hono/html";
import { parseTime } from "../../protocol/time.ts";
import type { BeatItem, BeatShown, SentSlot } from "../data.ts";
import { scheduleText } from "./schedule-text.ts";
import {
  act,
  at,
  badge,
  card,
  empty,
  type Html,
  href,
  note,
  nothing,
  state,
  taskLink,
  type View,
  when,
} from "./parts.ts";
import { duration, line, some } from "./words.ts";

export function beatContent(view: View, { entries: items, unreadable }: BeatShown, tasks: readonly string[]): Html {
  const list =
    items.length === 0
      ? empty(
          "No schedule",
          "Entries stand in the setting beatSchedule, or are put at run time: by app.beat.put, or below.",
        )
      : html`<div class="scroll"><table class="fold stack"><thead><tr><th>Entry</th><th>Schedule</th><th>Next runs</th><th>Last runs</th><th>Next change of the clock</th><th><span class="sr">Actions</span></th></tr></thead><tbody>${items.map((item) => beatRow(view, item))}</tbody></table></div>`;
  return html`${unreadable.map((one) => unreadableNote(view, one))}${card({ title: some(items.length, "entry", "entries") }, list)}${view.readOnly ? nothing : putForm(tasks)}`;
}

function unreadableNote(view: View, { name, problem }: BeatShown["unreadable"][number]): Html {
  const shown = line(name, 80);
  return note(
    "bad",
    "alert",
    html`<b>Nothing is sent of ${shown}.</b> ${line(problem, 600)} ${removeButton(view, name, shown)}`,
    `unreadable ${line(name, 200)}`,
  );
}

const removeButton = (view: View, name: string, shown: string): Html | "" =>
  act(view, {
    path: `/beat/${encodeURIComponent(name)}/remove`,
    body: {},
    label: `Remove ${shown}`,
    shown: "Remove",
    name: `Remove ${shown}`,
    ask: `Remove ${shown}?`,
    why: "It does not run any more.",
    done: `${shown} is removed.`,
    tone: "risk",
    slim: true,
  });

function beatRow(view: View, { plan, runtime, sent }: BeatItem): Html {
  const { name, task, enabled, schedule, zone, runs, change, warnings } = plan;
  const shown = line(runtime ?? name, 80);
  const next = !enabled
    ? badge("paused", { tone: "warn", mark: "pause" })
    : runs.length === 0
      ? html`<span class="soft">never again</span>`
      : html`<ul class="bare">${runs.slice(0, 3).map(({ utc }) => html`<li>${when({ ...view, zone }, parseTime(utc))}</li>`)}</ul>`;
  const last =
    sent.length === 0
      ? html`<span class="soft">none that the journal tells of</span>`
      : html`<ul class="bare">${sent.slice(0, 3).map((one) => html`<li>${one.state === undefined ? badge("sent", { tone: "idle", mark: "send" }) : state(one.state)} ${taskLink(view, one.id, "task")} ${when({ ...view, zone }, one.slot ?? one.sent)}${late(one)}</li>`)}</ul>`;
  const path = runtime === undefined ? undefined : `/beat/${encodeURIComponent(runtime)}`;
  const actions = html`<div class="row">${act(view, { path: "/beat/run", body: { name }, label: "Run now", name: `Run now: ${shown}`, ask: `Run ${shown} now?`, why: `${line(task, 80)} is sent once, beside its schedule.`, done: `${shown} is sent.`, slim: true })}${
    path === undefined
      ? nothing
      : html`${enabled ? act(view, { path: `${path}/pause`, body: {}, label: "Pause", name: `Pause ${shown}`, done: `${shown} is paused.`, slim: true }) : act(view, { path: `${path}/resume`, body: {}, label: "Resume", name: `Resume ${shown}`, done: `${shown} goes on.`, slim: true })}${removeButton(view, runtime as string, shown)}`
  }</div>`;
  const clock =
    change === null
      ? html`<span class="soft">none within a year</span>`
      : html`${at({ ...view, zone }, parseTime(change.at.utc))} <span class="soft small">${duration(Math.abs(change.minutes) * 60)} ${change.minutes > 0 ? "forward" : "back"}${change.effects.length === 0 ? nothing : html`: ${line(change.effects.join("; "), 200)}`}</span>`;
  return html`<tr data-key="${line(name, 200)}"><th scope="row" class="lead wrap">${shown} ${runtime === undefined ? nothing : html`<span class="soft small">put at run time</span>`}<br><a class="small" href="${href(view, "/tasks", { task })}">${line(task, 80)}</a>${warnings.map((warning) => html`<br><span class="small warn-text">${line(warning, 200)}</span>`)}</th><td data-name="Schedule" class="wrap">${scheduleText(schedule)}<br><span class="soft small">${zone}</span></td><td data-name="Next">${next}</td><td data-name="Last">${last}</td><td data-name="Clock" class="wrap">${clock}</td><td class="acts">${actions}</td></tr>`;
}

const late = ({ slot, sent }: SentSlot): Html | "" =>
  slot === undefined || sent - slot < 1_000
    ? nothing
    : html` <span class="soft small">sent ${duration((sent - slot) / 1000)} late</span>`;

const putForm = (tasks: readonly string[]): Html =>
  card(
    { title: "Put an entry", hint: "It is kept beside the queues, over one that was put under the same name." },
    html`<div class="in"><form class="form" method="post" data-send="${JSON.stringify({ path: "/beat/put", body: {}, label: "Put the entry", done: "The entry is put." })}">
<label class="field">Name<input name="name" required autocomplete="off"></label>
<label class="field">Task<select name="task" required><option value=""></option>${tasks.map((name) => html`<option value="${name}">${line(name, 100)}</option>`)}</select></label>
<label class="field"><span>Schedule <span class="hint">seconds, such as 30, or five fields of crontab, such as */15 * * * *</span></span><input name="schedule" required autocomplete="off" placeholder="*/15 * * * *"></label>
<label class="field">Positional arguments: a list of JSON<textarea name="args" data-kind="json" data-of="list" spellcheck="false"></textarea></label>
<div class="row"><button type="submit" class="main">Put the entry</button></div></form></div>`,
  );
