/**
 * The forms a signature has, as Celery writes them in JSON: what is in them, how they are made, and what becomes of two
 * of them one after the other. Nothing here knows ids, queues or results.
 */
import { brief } from "../brief.ts";
import { ImproperlyConfigured } from "../errors.ts";
import type { SignatureData } from "../protocol/message.ts";
import { stringifyValue } from "../protocol/values.ts";

/** What a signature is of. */
export type Form = "task" | "chain" | "group" | "chord";

/** `celery.map`, `celery.starmap` and `celery.chunks` are tasks by form; what the last one sends is a group. */
export function formOf({ task, subtask_type }: Pick<SignatureData, "task" | "subtask_type">): Form {
  switch (subtask_type ?? task) {
    case "chain":
    case "celery.chain":
      return "chain";
    case "group":
    case "celery.group":
      return "group";
    case "chord":
    case "celery.chord":
      return "chord";
    default:
      return "task";
  }
}

/** Members of a group or a chain. */
export function tasksOf(signature: SignatureData): readonly SignatureData[] {
  const { tasks } = signature.kwargs;
  if (!Array.isArray(tasks)) throw wrong(signature.task, "must have a list of signatures as its kwargs.tasks");
  return tasks.map(readSignature);
}

/** The header of a chord as a group: it is written as one, as a list, or as one signature. */
export function headerOf(signature: SignatureData): SignatureData {
  const { header } = signature.kwargs;
  if (Array.isArray(header)) return groupData(header.map(readSignature));
  const only = normal(readSignature(header));
  return formOf(only) === "group" ? only : groupData([only]);
}

export function bodyOf(signature: SignatureData): SignatureData {
  const { body } = signature.kwargs;
  if (body === undefined || body === null) {
    throw wrong("chord", "has no body: give it the task that takes its results, or use a group");
  }
  return readSignature(body);
}

/** A signature out of JSON. Python needs no more of one than its task, and so do we. Throws `ImproperlyConfigured`. */
export function readSignature(value: unknown): SignatureData {
  if (!isObject(value) || typeof value["task"] !== "string" || value["task"] === "") {
    throw wrong(
      "signature",
      `must be an object that names a task, such as {"task": "tasks.add"}; given: ${show(value)}`,
    );
  }
  const { task, args = [], kwargs = {}, options = {} } = value;
  if (args !== null && !Array.isArray(args))
    throw wrong("signature", `args of ${task} must be a list; given: ${show(args)}`);
  if (kwargs !== null && !isObject(kwargs))
    throw wrong("signature", `kwargs of ${task} must be an object; given: ${show(kwargs)}`);
  if (options !== null && !isObject(options))
    throw wrong("signature", `options of ${task} must be an object; given: ${show(options)}`);
  return {
    ...value,
    task,
    args: args ?? [],
    kwargs: kwargs ?? {},
    options: options ?? {},
    subtask_type: typeof value["subtask_type"] === "string" ? value["subtask_type"] : null,
    immutable: value["immutable"] === true,
  };
}

/** Reads a signature and all that is in it. Throws `ImproperlyConfigured` for what is no canvas, and for one that contains itself. */
export function checkCanvas(value: unknown, above: readonly unknown[] = []): SignatureData {
  if (above.includes(value)) throw wrong("signature", "contains itself; a canvas that shall run again is sent again");
  if (above.length > MAX_LEVELS) throw tooDeep();
  const signature = readSignature(value);
  const within = [...above, value];
  const checkAll = (given: unknown) => {
    for (const inner of Array.isArray(given) ? given : [given]) checkCanvas(inner, within);
  };
  switch (formOf(signature)) {
    case "chain":
    case "group":
      tasksOf(signature);
      checkAll(signature.kwargs["tasks"]);
      break;
    case "chord":
      bodyOf(signature);
      checkAll(signature.kwargs["header"]);
      checkAll(signature.kwargs["body"]);
      break;
    default:
      if (signature.task === "celery.chunks") chunksOf(signature);
  }
  for (const link of ["link", "link_error"]) checkAll(signature.options[link] ?? []);
  return signature;
}

// ── making them ──────────────────────────────────────────────────────────────────────────────────────────────────────

const NOTHING = { args: [], kwargs: {}, options: {}, immutable: false } as const;

const chainData = (tasks: readonly SignatureData[]): SignatureData => ({
  ...NOTHING,
  task: "celery.chain",
  kwargs: { tasks },
  subtask_type: "chain",
});

export const groupData = (tasks: readonly SignatureData[], options: SignatureData["options"] = {}): SignatureData => ({
  ...NOTHING,
  task: "celery.group",
  kwargs: { tasks },
  options,
  subtask_type: "group",
});

export const chordData = (
  header: readonly SignatureData[] | SignatureData,
  body: SignatureData,
  options: SignatureData["options"] = {},
): SignatureData => ({
  ...NOTHING,
  task: "celery.chord",
  // What a group was given before it became a header is still its members'. Celery reads it of the chord alone.
  args: "args" in header ? header.args : [],
  kwargs: { kwargs: {}, header: "args" in header ? { ...header, args: [] } : header, body },
  options,
  subtask_type: "chord",
});

/** The same group, or a chord with the same header, of other members. */
export function withMembers(signature: SignatureData, tasks: readonly SignatureData[]): SignatureData {
  if (formOf(signature) === "group") return { ...signature, kwargs: { ...signature.kwargs, tasks } };
  return { ...signature, kwargs: { ...signature.kwargs, header: withMembers(headerOf(signature), tasks) } };
}

/** Celery's task that gives back the results of a header as one. */
export const ACCUMULATE: SignatureData = {
  ...NOTHING,
  task: "celery.accumulate",
  kwargs: { index: 0 },
  subtask_type: null,
};

/** The group of `celery.starmap` that chunks are sent as. */
export function chunksOf({ kwargs, options }: SignatureData): SignatureData {
  const { task, it, n } = kwargs;
  if (!Number.isInteger(n) || (n as number) < 1)
    throw wrong("chunks", `must have a size of 1 or more; given: ${show(n)}`);
  if (!Array.isArray(it)) throw wrong("chunks", `must have a list of argument lists; given: ${show(it)}`);
  const size = n as number;
  const parts = Array.from({ length: Math.ceil(it.length / size) }, (_, part): SignatureData => {
    const items: unknown[] = it.slice(part * size, (part + 1) * size);
    return {
      ...NOTHING,
      task: "celery.starmap",
      kwargs: { task: readSignature(task), it: items },
      subtask_type: null,
      immutable: true,
    };
  });
  return groupData(parts, options);
}

// ── one form of each ──

/**
 * The form that all else goes by, whoever wrote it: chunks are the group that they are sent as, and a group that is followed
 * by a further step, as Python sends it, is a chord.
 */
export function normal(signature: SignatureData): SignatureData {
  if (signature.task === "celery.chunks") return normal(chunksOf(signature));
  if (formOf(signature) !== "group") return signature;
  const { chain, ...options } = signature.options;
  const rest = signatures(chain);
  return rest.length === 0 ? signature : before({ ...signature, options }, rest);
}

/** Where a signature stands, in Python's spelling. It is said of one signature and not inherited by those within it. */
const PLACE: ReadonlySet<string> = new Set([
  "task_id",
  "group_id",
  "group_index",
  "chord",
  "chain",
  "root_id",
  "parent_id",
  "replaced_task_nesting",
]);

/** What was set on a canvas for those within it. */
export const inherited = (options: SignatureData["options"]): SignatureData["options"] =>
  Object.fromEntries(Object.entries(options).filter(([name]) => !PLACE.has(name)));

// ── changing them ────────────────────────────────────────────────────────────────────────────────────────────────────

/** Where a signature holds others, among its options … */
const LINKED = ["link", "link_error", "chain"] as const;

/** … and where a canvas does, among its arguments. */
const placesOf = (signature: SignatureData): readonly string[] =>
  ({ task: [], chain: ["tasks"], group: ["tasks"], chord: ["header", "body"] })[formOf(signature)];

/** Canvases in canvases, and callbacks of callbacks: what is done to them takes a part of the stack for each. */
const MAX_LEVELS = 500;

/**
 * A signature, and all that it holds. Throws `ImproperlyConfigured` for one that is nested too deep, as whatever else goes
 * through it calls itself.
 */
export function partsOf(canvas: SignatureData): readonly SignatureData[] {
  const all: SignatureData[] = [];
  let level: readonly SignatureData[] = [canvas];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_LEVELS) throw tooDeep();
    for (const part of level) all.push(part);
    level = level.flatMap((part) =>
      [...LINKED.map((place) => part.options[place]), ...placesOf(part).map((place) => part.kwargs[place])]
        .flat()
        .filter(isSignature)
        .map(readSignature),
    );
  }
  return all;
}

/** Throws `ImproperlyConfigured` for a canvas that is nested too deep. */
export const checkDepth = (canvas: SignatureData): void => void partsOf(canvas);

const tooDeep = (): ImproperlyConfigured =>
  wrong(
    "signature",
    `holds canvases in canvases, or callbacks of callbacks, more than ${MAX_LEVELS} levels deep: give one group, chord or chain all of its members or steps`,
  );

/** The same with each signature in it, and each that is linked to it, changed. What is none stays as it is. */
export function changed(signature: SignatureData, change: (part: SignatureData) => SignatureData): SignatureData {
  const inner = (part: unknown): unknown => {
    if (Array.isArray(part)) return part.map(inner);
    return isSignature(part) ? change(readSignature(part)) : part;
  };
  const parts = (holder: Readonly<Record<string, unknown>>, places: readonly string[]) =>
    Object.fromEntries(
      Object.entries(holder).map(([name, part]) => [name, places.includes(name) ? inner(part) : part]),
    );
  return {
    ...signature,
    kwargs: parts(signature.kwargs, placesOf(signature)),
    options: parts(signature.options, LINKED),
  };
}

export const signatures = (value: unknown): readonly SignatureData[] =>
  value === undefined || value === null ? [] : (Array.isArray(value) ? value : [value]).map(readSignature);

/** Options over those that a signature has; links are added to its own, as Celery does where it has not the same already. */
export function withOptions(
  signature: SignatureData,
  { link, link_error, ...more }: SignatureData["options"],
): SignatureData {
  const options: Record<string, unknown> = { ...signature.options, ...more };
  for (const [name, given] of Object.entries({ link, link_error })) {
    const own = signatures(signature.options[name]);
    const known = new Set(own.map((link) => stringifyValue(link)));
    const all = [...own, ...signatures(given).filter((link) => !known.has(stringifyValue(link)))];
    if (all.length > 0) options[name] = all;
  }
  return { ...signature, options };
}

/** Arguments before those that a signature has, and keywords over them; an immutable one stays as it is. */
export function withArguments(
  signature: SignatureData,
  args: readonly unknown[],
  kwargs: SignatureData["kwargs"] = {},
): SignatureData {
  if (signature.immutable || (args.length === 0 && Object.keys(kwargs).length === 0)) return signature;
  const partial = { ...signature, args: [...args, ...signature.args] };
  // The kwargs of a canvas are its parts, not those of its tasks.
  return formOf(signature) === "task" ? { ...partial, kwargs: { ...signature.kwargs, ...kwargs } } : partial;
}

/**
 * The steps of a chain, with what is said of the chain as a whole put where Celery puts it: `link` on the last step,
 * `link_error` on every one, its id on the last, other options and its arguments on the first.
 */
export function stepsOf(chain: SignatureData): readonly SignatureData[] {
  const { link, link_error, task_id, group_id, group_index, chord, chain: rest, ...first } = chain.options;
  const steps = [...tasksOf(chain)];
  const last = steps.length - 1;
  return steps.map((step, index) => {
    let placed = step;
    if (index === 0) placed = withArguments(withOptions(placed, first), chain.args);
    if (index === 0 && chain.immutable) placed = { ...placed, immutable: true };
    if (link_error !== undefined) placed = withOptions(placed, { link_error });
    if (index === last) {
      const own = { link, group_id, group_index, chord, chain: rest, task_id: placed.options["task_id"] ?? task_id };
      placed = withOptions(placed, Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined)));
    }
    return placed;
  });
}

/** Groups in a group are taken apart: its members are their members too. */
export function membersOf(members: readonly SignatureData[]): readonly SignatureData[] {
  return members.flatMap((member) => {
    const group = normal(member);
    if (formOf(group) !== "group") return [group];
    const options = inherited(group.options);
    return membersOf(tasksOf(group)).map((inner, index) =>
      withArguments(withOptions(inner, nthOf(options, index)), group.args),
    );
  });
}

/** What was set for several messages, for one of them: each has a deduplication id of its own, or SQS would drop all but one. */
export function nthOf(options: SignatureData["options"], index: number): SignatureData["options"] {
  const { MessageDeduplicationId: id } = options;
  return typeof id === "string" ? { ...options, MessageDeduplicationId: `${id}.${index}` } : options;
}

/** One after the other, as Celery's `|` has it: a group followed by anything is a chord, whose body the next ones join. */
export function pipe(left: SignatureData, right: SignatureData, depth = 0): SignatureData {
  if (depth > MAX_LEVELS) throw tooDeep();
  switch (formOf(left)) {
    case "group":
      return chordData(left, right);
    case "chord":
      if (formOf(right) === "task") return withBody(left, (body) => pipe(body, right, depth + 1));
      return chainOf([left, right]);
    default:
      return chainOf([left, right]);
  }
}

/** All of them, each after the one before. */
export function chainOf(given: readonly SignatureData[]): SignatureData {
  const steps: SignatureData[] = [];
  for (const signature of given) append(steps, signature);
  const [only] = steps;
  if (only !== undefined && steps.length === 1 && formOf(only) !== "task") return only;
  flat.add(steps);
  return chainData(steps);
}

/** Steps of chains that were made here: none is a chain itself, or joins the one before it. */
const flat = new WeakSet<object>();

/** Whether the steps of a chain can be taken as they are. */
const isFlat = ({ args, kwargs: { tasks }, options, immutable }: SignatureData): boolean =>
  Array.isArray(tasks) && flat.has(tasks) && args.length === 0 && Object.keys(options).length === 0 && !immutable;

function append(steps: SignatureData[], next: SignatureData): void {
  const step = normal(next);
  const last = steps.at(-1);
  if (isFlat(step) && (last === undefined || formOf(last) === "task")) {
    // Where a chain is made step by step, all that it has would be looked at with each.
    for (const inner of step.kwargs["tasks"] as readonly SignatureData[]) steps.push(inner);
  } else if (formOf(step) === "chain") {
    for (const inner of stepsOf(step)) append(steps, inner);
  } else if (last !== undefined && formOf(last) === "group") {
    steps.pop();
    append(steps, chordData(last, step));
  } else if (last !== undefined && formOf(last) === "chord") {
    steps[steps.length - 1] = withBody(last, (body) => pipe(body, step));
  } else {
    steps.push(step);
  }
}

/** The same chord with another body, made of the one that it has. */
function withBody(chord: SignatureData, change: (body: SignatureData) => SignatureData): SignatureData {
  // What is linked to a chord is linked to the body that it has now, and not to what follows.
  const { link, link_error, ...options } = chord.options;
  const body = change(withOptions(bodyOf(chord), { link, link_error }));
  return { ...chord, kwargs: { ...chord.kwargs, body }, options };
}

/**
 * Links callbacks and errbacks, where Celery looks for them: of a group they are its members', of a chord its body's, and
 * errbacks with `onHeader` its header's too.
 */
export function linkedTo(
  signature: SignatureData,
  links: SignatureData["options"],
  onHeader: boolean,
  depth = 0,
): SignatureData {
  if (depth > MAX_LEVELS) throw tooDeep();
  if (formOf(signature) === "group") {
    const members = tasksOf(signature);
    // Those of a generator are still to come.
    if (members.length === 0) return withOptions(signature, links);
    return withMembers(
      signature,
      members.map((member) => linkedTo(member, links, onHeader, depth + 1)),
    );
  }
  if (formOf(signature) !== "chord") return withOptions(signature, links);
  const { link_error } = links;
  const header = headerOf(signature);
  const kwargs = onHeader ? { ...signature.kwargs, header: withOptions(header, { link_error }) } : signature.kwargs;
  return withBody({ ...signature, kwargs }, (body) => linkedTo(body, links, onHeader, depth + 1));
}

/** A frozen canvas, and then the rest of the chain that it stands in; `rest` is as it travels, its next step last. */
export function before(signature: SignatureData, rest: readonly SignatureData[]): SignatureData {
  const next = rest.at(-1);
  if (next === undefined) return signature;
  if (formOf(signature) === "group") {
    return chordData(signature, before(next, rest.slice(0, -1)), { task_id: signature.options["task_id"] });
  }
  if (endsInGroup(signature)) {
    if (formOf(signature) === "chord") {
      return withBody(signature, (body) => before(body, rest));
    }
    const tasks = stepsOf(signature);
    return {
      ...signature,
      args: [],
      kwargs: { tasks: tasks.map((task, at) => (at === tasks.length - 1 ? before(task, rest) : task)) },
      options: {},
    };
  }
  const own = Array.isArray(signature.options["chain"]) ? signature.options["chain"] : [];
  return { ...signature, options: { ...signature.options, chain: [...rest, ...own] } };
}

/** Whether what comes of it is a group's results. */
function endsInGroup(signature: SignatureData): boolean {
  switch (formOf(signature)) {
    case "group":
      return true;
    case "chord":
      return endsInGroup(bodyOf(signature));
    case "chain": {
      const last = tasksOf(signature).at(-1);
      return last !== undefined && endsInGroup(last);
    }
    default:
      return false;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Whether a value names a task, as each signature does. */
const isSignature = (value: unknown): boolean => isObject(value) && typeof value["task"] === "string";

/** Of a callback of a group. */
export const noLinkToGroup = (): ImproperlyConfigured =>
  wrong("link", "Cannot add link to group: use a chord, whose body gets all results; a group has no single one");

const wrong = (what: string, why: string) => new ImproperlyConfigured(what, why);

const show = (value: unknown): string => brief(value, 200);
