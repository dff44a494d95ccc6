/** What became of a task, attempt by attempt, on one time line. */
import { html } from "hono/html";
import type { JournalEntry } from "../../journal/entry.ts";
import { drawLane, type Lane } from "./graph.ts";
import { at, empty, type Html, nothing, state, took, type View, when } from "./parts.ts";
import { kindBadge, waitText } from "./tasks.ts";
import { count, duration, line } from "./words.ts";

interface Attempt extends Lane {
  readonly entry: JournalEntry;
}

/** Entries of attempts, the oldest first, as lanes: how long each waited and ran. */
export function attemptsOf(entries: readonly JournalEntry[], now: number): readonly Attempt[] {
  const sorted = [...entries].sort((a, b) => a.time - b.time);
  const ended = sorted.filter(({ kind }) => kind === "task").map((entry) => attempt(entry, entry.time));
  const last = sorted.at(-1);
  return last?.kind === "running" ? [...ended, attempt(last, now)] : ended;
}

function attempt(entry: JournalEntry, end: number): Attempt {
  const { time, runtime, waited, state: name = "STARTED", kind } = entry;
  const start = runtime === undefined ? undefined : time - runtime * 1000;
  const from = waited === undefined ? undefined : (start ?? time) - waited * 1000;
  return { entry, start, from, end, state: kind === "running" ? "STARTED" : name };
}

export function timeLine(view: View, entries: readonly JournalEntry[]): Html {
  const attempts = attemptsOf(entries, view.now);
  const others = entries.filter(({ kind }) => kind !== "task" && kind !== "running");
  if (attempts.length === 0 && others.length === 0)
    return empty(
      "The journal tells nothing of it",
      "It has not been begun, its entries have expired, or no journal is kept.",
    );
  const first = Math.min(...attempts.map(({ from, start, end }) => from ?? start ?? end));
  const last = Math.max(...attempts.map(({ end }) => end));
  const rows = attempts.map((one, index) => {
    const { entry, start, from } = one;
    const before = attempts[index - 1];
    const begun = from ?? start;
    const gap = before === undefined || begun === undefined ? undefined : (begun - before.end) / 1000;
    const { worker, error, runtime, waited, runs } = entry;
    const under =
      error === undefined
        ? nothing
        : html`<tr class="under"><td></td><td colspan="6" class="error small wrap">${line(`${error.type}: ${error.message}`, 300)}</td></tr>`;
    return html`<tr class="${error === undefined ? "" : "has-under"}"><td data-name="Attempt" class="tight">${count(index + 1)}</td><td data-name="State" class="tight">${state(entry.kind === "running" ? "STARTED" : entry.state)}${runs === undefined ? nothing : html` <span class="soft small">begun ${count(runs)} times</span>`}</td><td class="lane-cell">${drawLane(one, first, last)}</td><td data-name="Paused" class="num">${gap === undefined || gap < 0.001 ? nothing : duration(gap)}</td><td data-name="Waited" class="num">${took(waited)}</td><td data-name="Ran" class="num">${took(runtime)}</td><td data-name="Ended" class="tight">${when(view, entry.time)}<br><span class="soft small">${line(worker ?? "", 60)}</span></td></tr>${under}`;
  });
  const scale =
    attempts.length === 0
      ? nothing
      : html`<div class="scale"><span>${at(view, first)}</span><span class="soft">${duration((last - first) / 1000)}</span><span>${at(view, last)}</span></div>`;
  return html`${
    attempts.length === 0
      ? nothing
      : html`<div class="scroll" tabindex="0" role="region" aria-label="Attempts"><table class="fold"><thead><tr><th>Attempt</th><th>State</th><th class="lane-cell"><span class="sr">Time line</span>${scale}</th><th class="num">Paused</th><th class="num">Waited</th><th class="num">Ran</th><th>Ended, by</th></tr></thead><tbody>${rows}</tbody></table></div>`
  }${
    others.length === 0
      ? nothing
      : html`<ul class="events">${others.map((entry) => html`<li>${kindBadge(entry)} ${when(view, entry.time)} ${entry.kind === "waiting" ? waitText(view, entry) : nothing}${entry.by === undefined ? nothing : html`<span class="soft">by ${line(entry.by, 80)}</span>`} ${entry.error === undefined ? nothing : html`<span class="error">${line(`${entry.error.type}: ${entry.error.message}`, 160)}</span>`}</li>`)}</ul>`
  }`;
}
