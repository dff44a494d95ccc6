/** The overview: what waits, what ran, what fails, who works, what comes. */
import { html } from "hono/html";
import type { ComingSlot, Overview, Span } from "../data.ts";
import { failing, functionsTable, plots, queuesTable, spanTabs, tiles, workersTable } from "./overview-parts.ts";
import { card, empty, type Html, href, nothing, partOf, type View, when } from "./parts.ts";
import { line } from "./words.ts";

export function overviewContent(
  view: View,
  span: Span,
  { queues, workers, functions, active, coming, told }: Overview,
): Html {
  const steps = "value" in told ? told.value.steps : undefined;
  return html`${"value" in queues ? tiles(queues.value, steps, span) : nothing}
${card(
  { title: "Queues", id: "queues" },
  partOf(queues, "The queues", (value) => queuesTable(view, value)),
)}
${card({ title: "What ran", id: "ran", tools: spanTabs(view, "/", span) }, "pending" in told ? plotsToCome() : partOf(told, "What ran", (value) => plots(view, value.steps)))}
<div class="cols" id="columns">${card(
    { title: "What fails most", id: "failing", hint: `In the last ${span}` },
    partOf(told, "What fails", ({ failures }) => failing(view, failures.slice(0, 6), span === "hour" ? {} : { span })),
  )}<div>
${card(
  { title: isNone(functions) ? "Workers" : "Workers and functions", id: "workers" },
  html`${partOf(workers, "The workers", (value) => workersTable(view, value, isNone(functions), "value" in active ? active.value : {}))}${partOf(functions, "The functions", (value) => functionsTable(view, value))}`,
)}
${card(
  { title: "Next by beat", id: "coming" },
  partOf(coming, "The schedule", (value) => comingTable(view, value)),
)}</div></div>`;
}

const isNone = (functions: Overview["functions"]): boolean => "value" in functions && functions.value.length === 0;

/** So high as they will be, so that nothing moves. */
const plotsToCome = (): Html =>
  html`<div class="plots soft" aria-busy="true"><div class="plot to-come">The plots are being made …</div></div>`;

function comingTable(view: View, slots: readonly ComingSlot[]): Html {
  if (slots.length === 0)
    return empty(
      "Nothing is scheduled",
      html`Entries stand in the setting beatSchedule, or are put at run time: see <a href="${href(view, "/beat")}">Beat</a>.`,
    );
  return html`<div class="scroll"><table class="fold"><thead><tr><th>Entry</th><th>When</th></tr></thead><tbody>${slots.map(({ entry, task, at }) => html`<tr data-key="${line(`comes-${at}-${entry}`, 200)}"><th scope="row" class="lead wrap"><a href="${href(view, "/beat")}">${line(entry, 80)}</a> <span class="soft small">${line(task, 80)}</span></th><td data-name="When">${when(view, at)}</td></tr>`)}</tbody></table></div>`;
}
