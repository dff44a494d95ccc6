/** Whether a value is what a model says: members, types, what is required, enums, lengths, patterns, ranges. */
import type { Model, Shape } from "./model.ts";

/** What is wrong with a value, each with the path to it; an empty list where nothing is. */
export function faultsOf(model: Model, name: string, value: unknown, path = name): string[] {
  const shape = model.shapes[name];
  if (shape === undefined) return [`${path}: the model has no shape ${name}`];
  switch (shape.type) {
    case "structure":
      return structure(model, shape, value, path);
    case "list":
      if (!Array.isArray(value)) return [wrongType(path, shape, value)];
      return [
        ...bounded(path, shape, value.length, "entries"),
        ...value.flatMap((entry, index) => faultsOf(model, shape.member?.shape ?? "", entry, `${path}[${index}]`)),
      ];
    case "map": {
      if (!isObject(value)) return [wrongType(path, shape, value)];
      const entries = Object.entries(value);
      return [
        ...bounded(path, shape, entries.length, "entries"),
        ...entries.flatMap(([key, entry]) => [
          ...faultsOf(model, shape.key?.shape ?? "", key, `${path} key ${JSON.stringify(key)}`),
          ...faultsOf(model, shape.value?.shape ?? "", entry, `${path}.${key}`),
        ]),
      ];
    }
    case "string":
      return typeof value === "string" ? text(path, shape, value) : [wrongType(path, shape, value)];
    case "integer":
    case "long":
      return Number.isInteger(value) ? bounded(path, shape, value as number, "") : [wrongType(path, shape, value)];
    case "float":
    case "double":
      return typeof value === "number" ? bounded(path, shape, value, "") : [wrongType(path, shape, value)];
    case "boolean":
      return typeof value === "boolean" ? [] : [wrongType(path, shape, value)];
    case "blob":
      return isBase64(value)
        ? bounded(path, shape, Buffer.from(value, "base64").length, "bytes")
        : [wrongType(path, shape, value)];
    case "timestamp":
      // JSON protocols: seconds since the epoch, with a fraction.
      return typeof value === "number" && Number.isFinite(value) ? [] : [wrongType(path, shape, value)];
    default:
      return [`${path}: the type ${shape.type} is not known here`];
  }
}

function structure(model: Model, shape: Shape, value: unknown, path: string): string[] {
  if (!isObject(value)) return [wrongType(path, shape, value)];
  const members = shape.members ?? {};
  const given = Object.entries(value).filter(([, member]) => member !== undefined);
  const faults = given.flatMap(([name, member]) => {
    const reference = members[name];
    return reference === undefined
      ? [`${path}.${name}: the model has no such member`]
      : faultsOf(model, reference.shape, member, `${path}.${name}`);
  });
  for (const name of shape.required ?? []) if (!(name in value)) faults.push(`${path}.${name}: is required`);
  if (shape.union && given.length !== 1) faults.push(`${path}: exactly one member is to be given, not ${given.length}`);
  return faults;
}

function text(path: string, shape: Shape, value: string): string[] {
  const faults = bounded(path, shape, [...value].length, "characters");
  if (shape.enum !== undefined && !shape.enum.includes(value))
    faults.push(`${path}: ${JSON.stringify(value)} is none of ${shape.enum.join(", ")}`);
  if (shape.pattern !== undefined && !patternOf(shape.pattern).test(value))
    faults.push(`${path}: ${JSON.stringify(value.slice(0, 100))} does not match ${shape.pattern}`);
  return faults;
}

/** A pattern of a model is Java's, and holds for the whole text. */
const patternOf = (pattern: string): RegExp =>
  new RegExp(
    `^(?:${pattern.replaceAll("\\p{Print}", "[\\x20-\\x7E]").replaceAll("\\p{ASCII}", "[\\x00-\\x7F]")})$`,
    // Only there does JavaScript know of letters beyond a to z, and it then takes no escape that is not needed.
    pattern.includes("\\p{L}") ? "su" : "s",
  );

function bounded(path: string, { min, max }: Shape, size: number, unit: string): string[] {
  const said = unit === "" ? String(size) : `${size} ${unit}`;
  if (min !== undefined && size < min) return [`${path}: ${said}, at least ${min}`];
  if (max !== undefined && size > max) return [`${path}: ${said}, at most ${max}`];
  return [];
}

const wrongType = (path: string, { type }: Shape, value: unknown): string =>
  `${path}: ${JSON.stringify(value)?.slice(0, 100)} is no ${type}`;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isBase64 = (value: unknown): value is string =>
  typeof value === "string" && /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(value);
