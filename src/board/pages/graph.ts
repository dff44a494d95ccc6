/** A workflow as a drawing: laid out by dagre, with what is many of one kind as one node that counts. */
import { graphlib, layout } from "@dagrejs/dagre";
import { html, raw } from "hono/html";
import type { Workflow, WorkflowTask } from "../../journal/workflow.ts";
import { type Html, href, lookOf, mark, nothing, shortId, taskPath, type View } from "./parts.ts";
import { count, duration, line } from "./words.ts";

/** So many tasks of one name that come after the same ones are drawn each for itself; where there are more, they are counted. */
const MOST_ALIKE = 6;
/** A drawing with more nodes is read by nobody. */
const MOST_NODES = 120;

const WIDTH = 206;
const HEIGHT = 54;

interface Node {
  readonly key: string;
  readonly tasks: readonly WorkflowTask[];
  readonly after: ReadonlySet<string>;
}

/** Who has not been told of yet is called what all others of its group are called. */
export function named(tasks: readonly WorkflowTask[]): readonly WorkflowTask[] {
  const names = new Map<string, string | undefined>();
  for (const { group, task } of tasks) {
    if (group === undefined || task === undefined) continue;
    names.set(group, !names.has(group) || names.get(group) === task ? task : undefined);
  }
  return tasks.map((task) => (task.task === undefined ? { ...task, task: names.get(task.group ?? "") } : task));
}

/** The nodes of a drawing: tasks, or tasks that are alike. Pure. */
export function nodesOf({ tasks: told }: Pick<Workflow, "tasks">, most = MOST_ALIKE): readonly Node[] {
  const tasks = named(told);
  const place = new Map<string, string>();
  const alike = new Map<string, { readonly tasks: WorkflowTask[]; readonly after: Set<string> }>();
  // Whoever comes after another stands behind it, so that the places of those before it are known.
  for (const task of tasks) {
    const after = new Set(task.after.flatMap((id) => place.get(id) ?? []));
    const key = JSON.stringify([task.task, task.group !== undefined, [...after].sort()]);
    const known = alike.get(key) ?? { tasks: [], after };
    known.tasks.push(task);
    alike.set(key, known);
    place.set(task.id, key);
  }
  if (most >= 1 && alike.size > MOST_NODES) return nodesOf({ tasks: tasks.slice(0, MOST_NODES) }, 1);
  const isOne = (key: string) => (alike.get(key)?.tasks.length ?? 0) > most;
  const keyOf = (id: string): string | undefined => {
    const key = place.get(id);
    return key === undefined ? undefined : isOne(key) ? key : id;
  };
  const nodes: Node[] = [];
  for (const [key, { tasks: same }] of alike) {
    const afterOf = (some: readonly WorkflowTask[]) =>
      new Set(some.flatMap(({ after }) => after.flatMap((id) => keyOf(id) ?? [])).filter((one) => one !== key));
    if (isOne(key)) nodes.push({ key, tasks: same, after: afterOf(same) });
    else for (const task of same) nodes.push({ key: task.id, tasks: [task], after: afterOf([task]) });
  }
  return nodes;
}

interface Placed {
  readonly node: Node;
  readonly width: number;
  readonly height: number;
  readonly x: number;
  readonly y: number;
}

interface Point {
  readonly x: number;
  readonly y: number;
}

/** What is used of dagre's graph: its own declarations cannot be read by TypeScript in modules of Node. */
interface LayoutGraph {
  setGraph(label: Readonly<Record<string, string | number>>): void;
  setDefaultEdgeLabel(label: () => object): void;
  setNode(key: string, label: Pick<Placed, "node" | "width" | "height">): void;
  setEdge(from: string, to: string): void;
  /** The rest is there when it is laid out. */
  graph(): { readonly width?: number; readonly height?: number };
  nodes(): readonly string[];
  node(key: string): Placed;
  edges(): readonly object[];
  edge(edge: object): { readonly points?: readonly Point[] };
}

export function drawGraph(view: View, workflow: Workflow): Html {
  const nodes = nodesOf(workflow);
  const graph = new graphlib.Graph() as LayoutGraph;
  graph.setGraph({ rankdir: "LR", nodesep: 18, ranksep: 46, marginx: 4, marginy: 4 });
  graph.setDefaultEdgeLabel(() => ({}));
  // Keys of dagre are plain numbers: what a message calls itself may be anything.
  const numbers = new Map(nodes.map(({ key }, index) => [key, String(index)]));
  for (const node of nodes) graph.setNode(numbers.get(node.key) as string, { node, width: WIDTH, height: HEIGHT });
  for (const { key, after } of nodes) {
    for (const before of after) {
      const from = numbers.get(before);
      if (from !== undefined) graph.setEdge(from, numbers.get(key) as string);
    }
  }
  layout(graph);
  const { width = WIDTH, height = HEIGHT } = graph.graph();

  const edges = graph.edges().map((edge) => {
    return html`<path class="edge" d="${curve(graph.edge(edge).points ?? [])}" marker-end="url(#head)"/>`;
  });
  const names = new Map(nodes.map(({ key, tasks }) => [key, line(tasks[0]?.task ?? "not told yet", 60)]));
  const shown = graph.nodes().map((number) => drawNode(view, workflow, graph.node(number), names));
  return html`<div class="graph-box" tabindex="0" role="region" aria-label="The workflow as a drawing: each task is a link that says after which it comes"><svg class="graph" width="${Math.ceil(width)}" height="${Math.ceil(height)}" viewBox="0 0 ${Math.ceil(width)} ${Math.ceil(height)}"><defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>${edges}${shown}</svg></div>`;
}

function curve(points: readonly Point[]): string {
  const [first, ...rest] = points;
  const last = rest.at(-1);
  if (first === undefined || last === undefined) return "";
  const at = ({ x, y }: Point) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  if (rest.length === 1) return `M${at(first)}L${at(last)}`;
  // Through the middles of the pieces, with the points between as handles: smooth, and never beside the way.
  const middle = rest.slice(0, -1).map((point, index) => {
    const next = rest[index + 1] ?? last;
    const to = index === rest.length - 2 ? last : { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 };
    return `Q${at(point)} ${at(to)}`;
  });
  return `M${at(first)}${middle.join("")}`;
}

/** States in the order in which they are counted. */
const ORDER = ["SUCCESS", "FAILURE", "RETRY", "STARTED", "REVOKED", "PENDING"];

export interface Tally {
  readonly state: string;
  readonly many: number;
}

/** How many are in each state. */
export function tally(tasks: readonly { readonly state: string }[]): readonly Tally[] {
  const found = new Map<string, number>();
  for (const { state } of tasks) found.set(state, (found.get(state) ?? 0) + 1);
  const rank = (state: string) => (ORDER.includes(state) ? ORDER.indexOf(state) : ORDER.length);
  return [...found].map(([state, many]) => ({ state, many })).sort((a, b) => rank(a.state) - rank(b.state));
}

/** What it comes after, for who does not see the arrows. */
function afterText({ after }: Node, names: ReadonlyMap<string, string>): string {
  const all = [...new Set([...after].flatMap((key) => names.get(key) ?? []))];
  const shown = all.length > 5 ? [...all.slice(0, 4), `${count(all.length - 4)} others`] : all;
  return shown.length === 0 ? "" : `, after ${shown.join(", ")}`;
}

function drawNode(view: View, workflow: Workflow, { x, y, node }: Placed, names: ReadonlyMap<string, string>): Html {
  const [task] = node.tasks;
  if (task === undefined) return html``;
  const left = x - WIDTH / 2;
  const top = y - HEIGHT / 2;
  const name = line(task.task ?? "not told yet", 26);
  const after = afterText(node, names);
  if (node.tasks.length === 1) {
    const { tone, mark: sign } = lookOf(task.state);
    const under = [task.state, task.runtime === undefined ? shortId(task.id) : duration(task.runtime)].join(" · ");
    const current = task.id === workflow.id ? html` aria-current="true"` : nothing;
    return html`<a class="node s-${tone}" href="${taskPath(view, task.id)}"${current}><title>${line(task.task ?? "", 200)} ${line(task.id, 200)}: ${task.state}${after}</title><rect x="${left}" y="${top}" width="${WIDTH}" height="${HEIGHT}" rx="8"/><svg x="${left + 10}" y="${top + 11}" width="15" height="15">${mark(sign)}</svg><text x="${left + 32}" y="${top + 23}" font-size="13" font-weight="600">${name}</text><text class="less" x="${left + 32}" y="${top + 41}" font-size="11.5">${line(under, 30)}</text></a>`;
  }
  const states = tally(node.tasks);
  const worst = states.find(({ state }) => state === "FAILURE") ?? states[0];
  const { tone } = lookOf(worst?.state ?? "PENDING");
  const full = WIDTH - 20;
  let from = left + 10;
  const bars = states.map(({ state, many }) => {
    const wide = (full * many) / node.tasks.length;
    const bar = html`<rect class="bar s-${lookOf(state).tone}" x="${from.toFixed(1)}" y="${top + 42}" width="${wide.toFixed(1)}" height="5"/>`;
    from += wide;
    return bar;
  });
  const told = states.map(({ state, many }) => `${count(many)} ${state}`).join(", ");
  const short = states.map(({ state, many }) => `${SIGNS[state] ?? "★"} ${count(many)}`).join("  ");
  const target = href(view, "/tasks", {
    // The id that was asked for is one of a task further down, or of a group, as it may be.
    root: node.tasks.find(({ root }) => root !== undefined)?.root ?? workflow.id,
    ...(task.task !== undefined && { task: task.task }),
  });
  return html`<a class="node many s-${tone}" href="${target}"><title>${line(task.task ?? "", 200)}: ${told}${after}</title><rect x="${left + 4}" y="${top - 4}" width="${WIDTH}" height="${HEIGHT}" rx="8"/><rect x="${left}" y="${top}" width="${WIDTH}" height="${HEIGHT}" rx="8"/><text x="${left + 10}" y="${top + 18}" font-size="13" font-weight="600">${count(node.tasks.length)} × ${line(task.task ?? "not told yet", 22)}</text><text class="less" x="${left + 10}" y="${top + 34}" font-size="11.5">${short}</text>${bars}</a>`;
}

const SIGNS: Readonly<Record<string, string>> = {
  SUCCESS: "✓",
  FAILURE: "✕",
  RETRY: "↻",
  STARTED: "▶",
  REVOKED: "⊘",
  PENDING: "○",
};

/** A small plot of counts: a bar for each step. */
export function spark(counts: readonly number[], label: string): Html {
  const most = Math.max(1, ...counts);
  const wide = 120 / Math.max(1, counts.length);
  const bars = counts
    .map((many, index) => {
      if (many === 0) return "";
      const tall = Math.max(1.5, (many / most) * 26);
      return `<rect x="${(index * wide).toFixed(2)}" y="${(27 - tall).toFixed(2)}" width="${Math.max(1, wide - 0.8).toFixed(2)}" height="${tall.toFixed(2)}"/>`;
    })
    .join("");
  return html`<svg class="spark bars" viewBox="0 0 120 28" role="img" aria-label="${label}"><path d="M0 27.5h120" stroke="currentColor" stroke-width="0.6" opacity="0.4"/>${raw(bars)}</svg>`;
}

/** A lane of the time line: it waited, and it ran. In milliseconds since the epoch. */
export interface Lane {
  readonly from: number | undefined;
  readonly start: number | undefined;
  readonly end: number;
  readonly state: string;
}

/** One lane of a time line that goes from one instant to another. */
export function drawLane({ from, start, end, state }: Lane, first: number, last: number): Html {
  const span = Math.max(1, last - first);
  const place = (time: number) => ((time - first) / span) * 1000;
  const bar = (className: string, begin: number, until: number) => {
    const wide = Math.max(4, place(until) - place(begin));
    return `<rect class="${className}" x="${Math.min(1000 - wide, place(begin)).toFixed(1)}" y="2" width="${wide.toFixed(1)}" height="10" rx="1"/>`;
  };
  const begun = start ?? end;
  const waited = from === undefined || begun - from < span / 1000 ? "" : bar("wait", from, begun);
  return html`<svg class="lane s-${lookOf(state).tone}" viewBox="0 0 1000 14" preserveAspectRatio="none" aria-hidden="true">${raw(waited + bar("run", begun, end))}</svg>`;
}
