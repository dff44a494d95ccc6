/** What belongs together, put together: the tasks below one, with what each waits for. Pure. */
import { PENDING, STARTED } from "../states.ts";
import type { JournalEntry, JournalError } from "./entry.ts";
import { rootOf } from "./query.ts";

/** A task of a workflow. */
export interface WorkflowTask {
  /** The task's id. */
  readonly id: string;
  /** Absent where nothing has told of it yet. */
  readonly task?: string | undefined;
  /** `PENDING` where it has not begun, or nobody knows of it. */
  readonly state: string;
  /** The id of the task that all began with, by which the journal finds those of one workflow. Absent where nothing has told of it yet. */
  readonly root?: string | undefined;
  /** The queue that it came from. */
  readonly queue?: string | undefined;
  /** The worker that ran it. */
  readonly worker?: string | undefined;
  /** When its last run began and when it ended, in milliseconds since the epoch. */
  readonly started?: number | undefined;
  /** When it ended: milliseconds since 1970. */
  readonly ended?: number | undefined;
  /** Seconds of its last run, and from when it was due to its start. */
  readonly runtime?: number | undefined;
  /** Seconds from when it was due to its start. */
  readonly waited?: number | undefined;
  /** How many attempts were asked for again. */
  readonly retries: number;
  /** What it failed with. */
  readonly error?: JournalError | undefined;
  /** Its arguments, shortened. */
  readonly args?: string | undefined;
  /** Its keyword arguments, shortened. */
  readonly kwargs?: string | undefined;
  /** The group, or header of a chord, that it is a member of. */
  readonly group?: string | undefined;
  /** The ids of the tasks that it comes after: who sent it, and where it is the body of a chord, all members of that. */
  readonly after: readonly string[];
}

/** A group, or the header of a chord. */
export interface WorkflowGroup {
  /** The group's id. */
  readonly id: string;
  /** The ids of its members, as far as they are known. */
  readonly members: readonly string[];
  /** The id of the body, where it is a chord's: of the task that the body ends in. */
  readonly body?: string | undefined;
}

/** All tasks that one belongs to, or a group with what comes after it. */
export interface Workflow {
  /** The id that was asked for. */
  readonly id: string;
  /** Whoever comes after another stands behind it. */
  readonly tasks: readonly WorkflowTask[];
  /** Its groups and the headers of its chords. */
  readonly groups: readonly WorkflowGroup[];
  /** There are more tasks than are looked for, 10,000: some are missing, or `PENDING` here although they have begun. */
  readonly truncated: boolean;
}

/** What rows tell beside the journal. */
export interface Known {
  /** States of tasks by id: those whose rows are there. */
  readonly states: ReadonlyMap<string, string>;
  /** What tasks have sent, by the sender's id. */
  readonly children: ReadonlyMap<string, readonly string[]>;
  /** Members of groups by the group's id. */
  readonly members: ReadonlyMap<string, readonly string[]>;
}

interface Draft {
  readonly id: string;
  ended: JournalEntry | undefined;
  running: JournalEntry | undefined;
  parent: string | undefined;
  group: string | undefined;
  task: string | undefined;
  /** What a join calls it. */
  named: string | undefined;
}

/** The graph of what entries and rows tell of the workflow of a task; of a group, its members and what comes after them. */
export function workflowOf(id: string, entries: readonly JournalEntry[], known: Known, truncated = false): Workflow {
  const drafts = new Map<string, Draft>();
  const draft = (of: string): Draft => {
    const found = drafts.get(of);
    if (found !== undefined) return found;
    const made: Draft = {
      id: of,
      ended: undefined,
      running: undefined,
      parent: undefined,
      group: undefined,
      task: undefined,
      named: undefined,
    };
    drafts.set(of, made);
    return made;
  };
  const members = new Map<string, Set<string>>();
  const bodies = new Map<string, string>();
  /** What the bodies begin with, where that is not what they end in. */
  const beginnings = new Map<string, readonly string[]>();
  /** What was told of the steps of a chain, by what it ends in. */
  const steps = new Map<string, JournalEntry[]>();
  const join = (group: string, member: string) => {
    const all = members.get(group);
    if (all === undefined) members.set(group, new Set([member]));
    else all.add(member);
  };

  for (const entry of entries) {
    const { kind, id: of, parent, group, chord, chain } = entry;
    if (of === undefined || kind === "control" || kind === "slot") continue;
    const task = draft(of);
    if (kind === "join") {
      if (group !== undefined) bodies.set(group, of);
      if (group !== undefined && entry.begins !== undefined) beginnings.set(group, entry.begins);
      else task.named ??= entry.task;
      if (entry.state !== "SUCCESS") task.ended = newer(task.ended, entry);
      continue;
    }
    task.task ??= entry.task;
    task.parent ??= parent;
    task.group ??= group;
    if (group !== undefined) join(group, of);
    if (group !== undefined && chord !== undefined) bodies.set(group, chord);
    if (chain !== undefined) {
      const told = steps.get(chain);
      if (told === undefined) steps.set(chain, [entry]);
      else told.push(entry);
    }
    if (kind === "running") task.running = newer(task.running, entry);
    else if (kind !== "waiting") task.ended = newer(task.ended, entry);
  }
  for (const [group, ids] of known.members) {
    for (const member of ids) {
      join(group, member);
      draft(member).group ??= group;
    }
  }
  for (const [parent, ids] of known.children) for (const child of ids) draft(child).parent ??= parent;
  for (const body of bodies.values()) draft(body);
  for (const [end, told] of steps) {
    // A group that has begun.
    if (members.has(end)) continue;
    const passed = new Set(told.map(({ parent }) => parent));
    // Between the two there may be others, which nobody knows of yet.
    const last = told.filter(({ id: step }) => !passed.has(step)).reduce(newer, undefined as JournalEntry | undefined);
    draft(end).parent ??= last?.id;
  }
  for (const of of known.states.keys()) draft(of);

  const headers = new Map<string, string[]>();
  for (const [group, body] of bodies) {
    // In Celery's messages the body has the group's id too.
    members.get(group)?.delete(body);
    const header = [...(members.get(group) ?? [])];
    for (const first of beginnings.get(group) ?? [body]) headers.set(first, [...(headers.get(first) ?? []), ...header]);
  }
  const afterOf = ({ id: of, parent }: Draft): readonly string[] => {
    const header = headers.get(of) ?? [];
    return [...new Set(header.length > 0 ? header : parent === undefined ? [] : [parent])].filter((one) => one !== of);
  };
  const after = new Map([...drafts.values()].map((task) => [task.id, afterOf(task)]));
  const within = descendants(after.has(id) ? lineage(id, after) : (members.get(id) ?? []), after);
  const tasks = inOrder(within, after).map((of) => taskOf(draft(of), after.get(of) ?? [], known.states.get(of)));
  const groups = [...members].flatMap(([group, ids]): WorkflowGroup[] => {
    const inside = [...ids].filter((member) => within.has(member));
    const body = bodies.get(group);
    return inside.length === 0 ? [] : [{ id: group, members: inside, ...(body !== undefined && { body }) }];
  });
  return { id, tasks, groups, truncated };
}

const newer = (one: JournalEntry | undefined, other: JournalEntry): JournalEntry =>
  one === undefined || other.time > one.time ? other : one;

/** A task and all that it comes after, as far as they are known. */
function lineage(id: string, after: ReadonlyMap<string, readonly string[]>): ReadonlySet<string> {
  const found = new Set([id]);
  for (const of of found) for (const before of after.get(of) ?? []) if (after.has(before)) found.add(before);
  return found;
}

/** These, and all that come after them. */
function descendants(ids: Iterable<string>, after: ReadonlyMap<string, readonly string[]>): ReadonlySet<string> {
  const followers = new Map<string, string[]>();
  for (const [of, before] of after) {
    for (const one of before) {
      const list = followers.get(one);
      if (list === undefined) followers.set(one, [of]);
      else list.push(of);
    }
  }
  const found = new Set(ids);
  for (const of of found) for (const follower of followers.get(of) ?? []) found.add(follower);
  return found;
}

/** Everybody behind those that they come after. What is told by a foreign message may go in a circle: that is cut. */
function inOrder(ids: ReadonlySet<string>, after: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const ordered = new Set<string>();
  const visiting = new Set<string>();
  // A chain of thousands is deeper than a stack.
  const stack = [...ids].reverse();
  for (let of = stack.at(-1); of !== undefined; of = stack.at(-1)) {
    const open = ordered.has(of) || visiting.has(of) ? [] : (after.get(of) ?? []);
    const before = open.filter((one) => ids.has(one) && !ordered.has(one) && !visiting.has(one));
    if (before.length > 0) {
      visiting.add(of);
      stack.push(...before.reverse());
      continue;
    }
    ordered.add(of);
    stack.pop();
  }
  return [...ordered];
}

function taskOf(draft: Draft, after: readonly string[], stored: string | undefined): WorkflowTask {
  const { id, ended, running } = draft;
  const isRunning = running !== undefined && (ended === undefined || running.time > ended.time);
  const told = isRunning ? running : ended;
  const started = told?.runtime === undefined ? undefined : Math.round(told.time - told.runtime * 1000);
  return {
    id,
    task: draft.task ?? draft.named,
    // The row is the truth, and the journal what is left when it has expired.
    state: stored ?? (isRunning ? STARTED : (ended?.state ?? PENDING)),
    root: told && rootOf(told),
    queue: told?.queue,
    worker: told?.worker,
    started,
    ended: isRunning ? undefined : ended?.time,
    runtime: told?.runtime,
    waited: told?.waited,
    retries: told?.retries ?? 0,
    error: isRunning ? undefined : ended?.error,
    args: told?.args,
    kwargs: told?.kwargs,
    group: draft.group,
    after,
  };
}

/** The ids that the workflow of an id may be told under. */
export const isAbout = (id: string, entry: JournalEntry): boolean =>
  entry.id === id || entry.group === id || entry.chord === id || entry.chain === id || rootOf(entry) === id;
