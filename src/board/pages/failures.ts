/** What fails, grouped. */
import { html } from "hono/html";
import { spark } from "./graph.ts";
import { type Part, type SparkedGroup, type Span, SPANS } from "../data.ts";
import { spanTabs } from "./overview-parts.ts";
import { act, card, empty, type Html, href, isNamed, nothing, partOf, taskLink, type View, when } from "./parts.ts";
import { count, line, some } from "./words.ts";

/** What `retryFailed` finds a group by: the longest piece of its message that is the same in all, else the error's class. */
export function errorOf({ error }: Pick<SparkedGroup, "error">): string | undefined {
  if (error === undefined) return undefined;
  const pieces = error.message.split("…").map((piece) => piece.trim());
  const longest = pieces.reduce((best, piece) => (piece.length > best.length ? piece : best), "");
  return longest.length >= 8 ? longest : error.type;
}

export interface FailuresPage {
  readonly span: Span;
  readonly groups: Part<readonly SparkedGroup[]>;
  readonly task?: string | undefined;
}

export function failuresContent(view: View, { span, groups, task }: FailuresPage): Html {
  const total = "value" in groups ? groups.value.reduce((sum, group) => sum + group.count, 0) : 0;
  const title =
    "value" in groups && total > 0 ? `${some(total, "failure")} of ${some(groups.value.length, "kind")}` : "Failures";
  const hint =
    task === undefined
      ? undefined
      : html`Of <b>${line(task, 80)}</b> alone. <a href="${href(view, "/failures", { span })}">Show all tasks</a>`;
  return card(
    { title, id: "failures", hint, tools: spanTabs(view, "/failures", span, { task }) },
    partOf(groups, "What failed", (value) => groupsTable(view, value, span, task)),
  );
}

function groupsTable(view: View, groups: readonly SparkedGroup[], span: Span, task: string | undefined): Html {
  const from = view.now - SPANS[span];
  if (groups.length > 0)
    return html`<div class="scroll"><table class="fold stack"><thead><tr><th>Task and error</th><th class="num">Failures</th><th>Over the span</th><th>First</th><th>Last</th><th>Example</th><th><span class="sr">Actions</span></th></tr></thead><tbody>${groups.map((group) => groupRow(view, group, from, span))}</tbody></table></div>`;
  return task === undefined
    ? empty(`Nothing failed in the last ${span}`, "Look at a longer span.")
    : empty(
        `Nothing of ${line(task, 80)} failed in the last ${span}`,
        html`Look at a longer span, or at <a href="${href(view, "/failures", { span })}">all tasks</a>.`,
      );
}

function groupRow(view: View, group: SparkedGroup, from: number, span: Span): Html {
  const { task, error, count: many, first, last, example, spark: steps } = group;
  const name = line(task ?? "no task that could be read", 80);
  const sought = errorOf(group);
  const letter = example.kind === "deadLetter" || example.deadLetter === true;
  const retry = letter
    ? html`<a class="button slim" href="${href(view, "/dead-letters", { task })}">Dead letters</a>`
    : !isNamed(task)
      ? nothing
      : act(view, {
          path: "/failures/retry",
          body: { task, from, ...(sought !== undefined && { error: sought }) },
          label: "Retry {count} tasks",
          // How many tasks that will be, the question says: one may have failed several times, or have succeeded since.
          shown: "Retry all",
          name: `Retry all of ${name} that failed: ${line(error?.type ?? "", 80)}`,
          ask: `Retry {count} tasks of ${name}?`,
          why: `All that failed in the last ${span} with “${line(sought ?? "", 120)}”, and did not succeed since.`,
          done: "{count} tasks are sent again.",
          dry: true,
          tone: "main",
          slim: true,
        });
  return html`<tr data-key="${line(`${task}-${error?.type}-${error?.message}`, 300)}"><th scope="row" class="lead wrap"><a href="${href(view, "/tasks", { state: "FAILURE", task, text: sought })}">${name}</a><br><span class="error small">${line(`${error?.type ?? ""}: ${error?.message ?? ""}`, 200)}</span></th><td data-name="Failures" class="num">${count(many)}</td><td data-name="Over the span">${spark(steps, `${some(many, "failure")} over the last ${span}`)}</td><td data-name="First" class="tight">${when(view, first)}</td><td data-name="Last" class="tight">${when(view, last)}</td><td data-name="Example">${taskLink(view, example.id)}</td><td class="acts">${retry}</td></tr>`;
}
