/** What `params` says of a task's parameters, in Python's terms: how arguments of either spelling find their places. */
import type { Task } from "./task.ts";

type Kwargs = Readonly<Record<string, unknown>>;

interface Parameter {
  readonly name: string;
  /** Its place among the function's parameters. */
  readonly index: number;
  readonly kind: "positional" | "either" | "keyword";
  readonly required: boolean;
}

/** The signature of a function as Python has it. */
interface Parameters {
  readonly named: readonly Parameter[];
  /** Those that a position can fill, in their order. */
  readonly positional: readonly Parameter[];
  /** The place of what takes all further arguments, and whether the function takes them one by one. */
  readonly rest: { readonly index: number; readonly spread: boolean } | undefined;
  /** The place of what takes all further keyword arguments. */
  readonly catchAll: number | undefined;
}

/** What a parameter may be called, here or in Python. */
const NAME = /^[\p{ID_Start}_$][\p{ID_Continue}$]*$/u;
const REST = /^(?:\.\.\.|\*)(?!\*)/;

const bare = (entry: string): string => entry.replace(/^(?:\.\.\.|\*{1,2})|\?$/g, "");
const isRest = (entry: string): boolean => REST.test(entry) && entry !== "*";

/** What is wrong with the value of `params`, if anything is. */
export function wrongParams(value: unknown): string | undefined {
  const shape =
    'must be a list of parameter names, such as ["x", "y"]; "y?" may be left out, "...args" takes all further arguments, "**kwargs" all further keywords, and Python\'s marks "/" and "*" stand between names';
  if (!Array.isArray(value)) return shape;
  const entries: readonly unknown[] = value;
  if (!entries.every((entry) => typeof entry === "string")) return shape;
  const marks = entries.filter((entry) => entry === "/" || entry === "*");
  const names = entries.filter((entry) => entry !== "/" && entry !== "*").map(bare);
  if (!names.every((name) => NAME.test(name))) return shape;
  if (new Set(names).size < names.length || new Set(marks).size < marks.length) return "names a parameter twice";
  const rests = entries.filter((entry) => entry === "*" || isRest(entry));
  if (rests.length > 1) return 'can have one "*" or "...args", after which all parameters are given by keyword';
  const catchAll = entries.findIndex((entry) => entry.startsWith("**"));
  if (catchAll !== -1 && catchAll < entries.length - 1) return 'must have "**kwargs" as the last';
  const slash = entries.indexOf("/");
  if (slash !== -1 && rests[0] !== undefined && entries.indexOf(rests[0]) < slash) return 'must have "/" before "*"';
  return undefined;
}

const known = new WeakMap<Task, Parameters>();

/** What a task declares of its parameters; `undefined`: nothing. */
function parametersOf(task: Task): Parameters | undefined {
  const { params, bind } = task.options;
  if (params === undefined) return undefined;
  const found = known.get(task);
  if (found !== undefined) return found;
  // A function's length counts its parameters up to the first that has a default. What can only be given by keyword may be
  // required after that, which the marks of those before it tell.
  const required = task.fn.length - (bind === true ? 1 : 0);
  const optional = params.findIndex((entry) => entry.endsWith("?"));
  const slash = params.indexOf("/");
  const entries = params.filter((entry) => entry !== "/" && entry !== "*");
  const star = params.findIndex((entry) => entry === "*" || isRest(entry));
  const named = params.flatMap((entry, at): Parameter[] => {
    const index = entries.indexOf(entry);
    if (index === -1 || isRest(entry) || entry.startsWith("**")) return [];
    const kind = at < slash ? "positional" : star !== -1 && at > star ? "keyword" : "either";
    const isRequired = index < required || (kind === "keyword" && optional !== -1 && optional < at);
    return [{ name: bare(entry), index, kind, required: isRequired && !entry.endsWith("?") }];
  });
  const rest = entries.findIndex(isRest);
  const catchAll = entries.findIndex((entry) => entry.startsWith("**"));
  const parameters: Parameters = {
    named,
    positional: named.filter(({ kind }) => kind !== "keyword"),
    rest: rest === -1 ? undefined : { index: rest, spread: rest === entries.length - 1 },
    catchAll: catchAll === -1 ? undefined : catchAll,
  };
  known.set(task, parameters);
  return parameters;
}

/** By place, what the function of a task that declares `params` is called with. Throws `TypeError` in Python's words. */
export function placeByParams(task: Task, given: readonly unknown[], kwargs: Kwargs): readonly unknown[] {
  const parameters = parametersOf(task) as Parameters;
  const { positional, rest, catchAll } = parameters;
  // A caller here, by the function's types, gives what stands in for further keywords as one object at its place.
  const last = catchAll === undefined || rest !== undefined || given.length !== catchAll + 1 ? undefined : given.at(-1);
  const more = isObject(last) ? last : {};
  const args = isObject(last) ? given.slice(0, -1) : given;
  if (rest === undefined && args.length > positional.length) throw tooMany(task, parameters, args.length);
  const placed: unknown[] = [];
  const filled = new Set<number>();
  const put = (index: number, value: unknown) => {
    placed[index] = value;
    filled.add(index);
  };
  for (const [at, { index }] of positional.slice(0, args.length).entries()) put(index, args[at]);
  const others: Record<string, unknown> = { ...more };
  for (const [name, value] of Object.entries(kwargs)) {
    const parameter = parameters.named.find((one) => one.name === name && one.kind !== "positional");
    if (parameter === undefined) {
      if (catchAll === undefined)
        throw new TypeError(
          `${task.name}() got an unexpected keyword argument '${name}'; it takes ${(task.options.params ?? []).join(", ")}`,
        );
      Object.defineProperty(others, name, { value, enumerable: true, writable: true, configurable: true });
      continue;
    }
    if (filled.has(parameter.index)) throw new TypeError(`${task.name}() got multiple values for argument '${name}'`);
    put(parameter.index, value);
  }
  // Whether the arguments are enough and not too many is the schema's matter where there is one.
  if (task.options.schema === undefined) refuseMissing(task, parameters, filled);
  if (catchAll !== undefined) put(catchAll, others);
  if (rest !== undefined) {
    const further = args.slice(positional.length);
    if (!rest.spread) put(rest.index, further);
    else for (const [at, value] of further.entries()) placed[rest.index + at] = value;
  }
  // A hole would be skipped by spread and rest alike: what was not given is undefined, so that defaults apply.
  return Array.from(placed, (value) => value);
}

/** The same check where a task is called, as Celery makes it: what is no list, or no object, is refused with the call's other options. */
export function checkByParams(task: Task, args: unknown, kwargs: unknown = {}): void {
  if (task.options.params !== undefined && Array.isArray(args) && isObject(kwargs)) placeByParams(task, args, kwargs);
}

function tooMany(task: Task, { positional }: Parameters, given: number): TypeError {
  const most = positional.length;
  const least = positional.filter(({ required }) => required).length;
  const taken = least < most ? `from ${least} to ${most}` : String(most);
  const were = given === 1 ? "was" : "were";
  return new TypeError(
    `${task.name}() takes ${taken} positional argument${taken === "1" ? "" : "s"} but ${given} ${were} given`,
  );
}

function refuseMissing(task: Task, { named }: Parameters, filled: ReadonlySet<number>): void {
  const missing = named.filter(({ index, required }) => required && !filled.has(index));
  const positional = missing.filter(({ kind }) => kind !== "keyword");
  const told = positional.length > 0 ? positional : missing;
  if (told.length === 0) return;
  const what = positional.length > 0 ? "positional" : "keyword-only";
  throw new TypeError(
    `${task.name}() missing ${told.length} required ${what} argument${told.length === 1 ? "" : "s"}: ${listed(told.map(({ name }) => `'${name}'`))}`,
  );
}

/** As Python lists names: `'x'`, `'x' and 'y'`, `'x', 'y', and 'z'`. */
const listed = (names: readonly string[]): string =>
  names.length < 3 ? names.join(" and ") : `${names.slice(0, -1).join(", ")}, and ${names.at(-1)}`;

/**
 * The arguments of the next attempt, where `retry()` gives them in one spelling and the call had the same parameters in the
 * other: as in Celery from 5.7 on, what is given replaces them, and the rest stays.
 */
export function argumentsOfRetry(
  task: Task,
  before: { readonly args: readonly unknown[]; readonly kwargs: Kwargs },
  { args, kwargs }: { readonly args?: readonly unknown[] | undefined; readonly kwargs?: Kwargs | undefined },
): { readonly args?: readonly unknown[]; readonly kwargs?: Kwargs } {
  const positional = parametersOf(task)?.positional ?? [];
  if (args !== undefined && kwargs === undefined) {
    const replaced = positional.slice(0, args.length).filter(({ kind }) => kind === "either");
    const isReplaced = (key: string) => replaced.some(({ name }) => name === key);
    if (!Object.keys(before.kwargs).some(isReplaced)) return { args };
    return { args, kwargs: Object.fromEntries(Object.entries(before.kwargs).filter(([key]) => !isReplaced(key))) };
  }
  if (kwargs !== undefined && args === undefined) {
    const at = (key: string) => positional.findIndex(({ name, kind }) => name === key && kind === "either");
    const isPlaced = (key: string) => at(key) !== -1 && at(key) < before.args.length;
    const moved = Object.keys(kwargs).filter(isPlaced);
    if (moved.length === 0) return { kwargs };
    const next = [...before.args];
    for (const key of moved) next[at(key)] = kwargs[key];
    return { args: next, kwargs: Object.fromEntries(Object.entries(kwargs).filter(([key]) => !isPlaced(key))) };
  }
  return { ...(args === undefined ? {} : { args }), ...(kwargs === undefined ? {} : { kwargs }) };
}

const isObject = (value: unknown): value is Kwargs =>
  typeof value === "object" &&
  value !== null &&
  !Array.isArray(value) &&
  (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null);
