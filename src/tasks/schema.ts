/** From what a message carries to what the function gets: keyword arguments find their place, the schema checks. */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { ValidationError } from "../errors.ts";
import type { MaybePromise } from "../protocol/serializers.ts";
import type { TaskSchema } from "./options.ts";
import { placeByParams } from "./params.ts";
import type { Task } from "./task.ts";

type Kwargs = Readonly<Record<string, unknown>>;

/**
 * What `delay` of a task with this schema takes: the tuple's elements where it is a tuple, else one argument.
 */
export type SchemaInput<S extends TaskSchema> =
  StandardSchemaV1.InferInput<S> extends infer I ? (I extends readonly unknown[] ? I : [I]) : never;

/** What its function gets. */
export type SchemaOutput<S extends TaskSchema> =
  StandardSchemaV1.InferOutput<S> extends infer O ? (O extends readonly unknown[] ? O : [O]) : never;

/** Checks what is about to be sent. Throws `ValidationError`. What travels is the input, not the schema's output. */
export function checkInput(task: Task, args: readonly unknown[], kwargs: Kwargs): Promise<unknown> | undefined {
  return task.options.schema === undefined ? undefined : validate(task, placeArguments(task, args, kwargs));
}

/**
 * The same at once, for where nothing can wait, and of keyword arguments that have no place too. A schema that answers
 * later is not waited for: the call asks it again.
 */
export function checkInputNow(task: Task, args: readonly unknown[], kwargs: Kwargs): void {
  const placed = placeArguments(task, args, kwargs);
  const standard = task.options.schema?.["~standard"];
  if (standard === undefined) return;
  const asOne = placed.length === 1 ? standard.validate(placed[0]) : undefined;
  if (asOne instanceof Promise || (asOne !== undefined && asOne.issues === undefined)) return;
  const asList = standard.validate(placed);
  if (asList instanceof Promise || asList.issues === undefined) return;
  throw refused(task, placed, asOne?.issues, asList.issues);
}

/**
 * The arguments that a task's function is called with. Throws `TypeError` in Python's words where arguments find
 * no place or are missing, and `ValidationError` where the schema refuses them.
 */
export function resolveInput(task: Task, args: readonly unknown[], kwargs: Kwargs): MaybePromise<readonly unknown[]> {
  const placed = placeArguments(task, args, kwargs);
  return task.options.schema === undefined ? placed : validate(task, placed);
}

function placeArguments(task: Task, args: readonly unknown[], kwargs: Kwargs): readonly unknown[] {
  const { params, schema } = task.options;
  if (params !== undefined) return placeByParams(task, args, kwargs);
  const names = Object.keys(kwargs);
  if (names.length === 0) return args;
  // The keywords are the keys of the one object that the schema describes; the schema says whether they are right.
  if (schema !== undefined && args.length === 0) return [kwargs];
  if (schema !== undefined && args.length === 1 && isObject(args[0])) return [{ ...args[0], ...kwargs }];
  throw new TypeError(
    `${task.name}() was called with the keyword arguments ${names.join(", ")}, and does not say where they belong: declare params: [${names.map((n) => JSON.stringify(n)).join(", ")}] in their order, or a schema`,
  );
}

const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value);

async function validate(task: Task, args: readonly unknown[]): Promise<readonly unknown[]> {
  const schema = task.options.schema as TaskSchema;
  const standard = schema["~standard"];
  // A tuple's schema takes the list; any other takes the one argument. Trying says which it is.
  const asOne = args.length === 1 ? await standard.validate(args[0]) : undefined;
  if (asOne !== undefined && asOne.issues === undefined) return [asOne.value];
  const asList = await standard.validate(args);
  if (asList.issues === undefined && Array.isArray(asList.value)) return asList.value;
  throw refused(task, args, asOne?.issues, asList.issues);
}

type Issues = readonly StandardSchemaV1.Issue[] | undefined;

const isOfAll = ({ path = [] }: StandardSchemaV1.Issue) => path.length === 0;

/**
 * Where both refuse, one may only say that it is no list, or that it is one; the other then says what is wrong within, or that
 * the list is too short or too long. That it is to be a list, libraries say by one of two words.
 */
const isOfList = (asOne: Issues, asList: Issues): boolean =>
  asOne === undefined ||
  (asOne.some(isOfAll) &&
    (asList?.every((issue) => !isOfAll(issue)) || asOne.some(({ message }) => /array|tuple/i.test(message))));

function refused(task: Task, args: readonly unknown[], asOne: Issues, asList: Issues): ValidationError {
  const ofList = isOfList(asOne, asList);
  const issues = (ofList ? asList : asOne) ?? [
    { message: "must describe the arguments as a list or the one argument" },
  ];
  return new ValidationError(
    task.name,
    issues.map(({ message, path = [] }) => ({
      message,
      path: path.map((segment) => String(typeof segment === "object" ? segment.key : segment)).join("."),
    })),
    // That the list as a whole is wrong is likely to be for their number.
    ofList && issues.some(isOfAll) ? args.length : undefined,
  );
}
