/** A form for the arguments of a task, from the JSON Schema that its schema gives, where it gives one. */
import { html } from "hono/html";
import { type Content, type Html, nothing } from "./parts.ts";
import { line } from "./words.ts";

export type JsonSchema = Readonly<Record<string, unknown>>;

/** Deeper than that, or where a schema allows several forms, a value is written as JSON. */
const DEEPEST = 3;

const isObject = (value: unknown): value is JsonSchema =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const textOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

/** The fields of one value. `path`: where it goes. */
function schemaField(
  schema: unknown,
  path: readonly string[],
  label: string,
  required: boolean,
  root: JsonSchema,
  depth = 0,
): Html {
  const given = resolve(schema, root);
  const name = path.map(encodeURIComponent).join("/");
  const title = textOf(given["title"]) ?? label;
  const hint = textOf(given["description"]);
  const { properties } = given;
  if (isObject(properties) && Object.keys(properties).length > 0 && depth < DEEPEST) {
    const needed = Array.isArray(given["required"]) ? given["required"] : [];
    return html`<fieldset><legend>${line(title, 80)}</legend>${hint === undefined ? nothing : html`<p class="hint">${line(hint, 300)}</p>`}${Object.entries(properties).map(([key, inner]) => schemaField(inner, [...path, key], key, required && needed.includes(key), root, depth + 1))}</fieldset>`;
  }
  const isNeeded = required ? html` required` : nothing;
  const note: Content = [
    required ? nothing : html`<span class="hint">may be left empty</span>`,
    hint === undefined ? nothing : html`<span class="hint">${line(hint, 300)}</span>`,
  ];
  const wrap = (control: Html) => html`<label class="field"><span>${line(title, 80)} ${note}</span>${control}</label>`;
  const fallback = given["default"];
  const choices: unknown = given["enum"] ?? (given["const"] === undefined ? undefined : [given["const"]]);
  if (Array.isArray(choices) && choices.every((one) => typeof one === "string"))
    return wrap(
      html`<select name="${name}"${isNeeded}>${required ? nothing : html`<option value=""></option>`}${choices.map((one) => html`<option value="${one}"${one === fallback ? html` selected` : nothing}>${line(one, 100)}</option>`)}</select>`,
    );
  switch (given["type"]) {
    case "string":
      return wrap(
        html`<input name="${name}" data-kind="text"${inputType(given["format"])}${limit("minlength", given["minLength"])}${limit("maxlength", given["maxLength"])}${isNeeded} value="${textOf(fallback) ?? ""}" autocomplete="off">`,
      );
    case "integer":
    case "number":
      return wrap(
        html`<input name="${name}" type="number" data-kind="number" step="${given["type"] === "integer" ? "1" : "any"}"${limit("min", given["minimum"])}${limit("max", given["maximum"])}${isNeeded} value="${typeof fallback === "number" ? fallback : ""}">`,
      );
    case "boolean":
      return wrap(
        html`<select name="${name}" data-kind="boolean"${isNeeded}>${required ? nothing : html`<option value=""></option>`}<option value="true"${fallback === true ? html` selected` : nothing}>yes</option><option value="false"${fallback === false ? html` selected` : nothing}>no</option></select>`,
      );
    default: {
      const of = given["type"] === "array" ? "list" : given["type"] === "object" ? "object" : "any";
      return wrap(
        html`<textarea name="${name}" data-kind="json" data-of="${of}"${isNeeded} spellcheck="false" placeholder="JSON">${fallback === undefined ? "" : JSON.stringify(fallback, null, 2)}</textarea>`,
      );
    }
  }
}

const inputType = (format: unknown): Html | "" => {
  const types: Readonly<Record<string, string>> = { email: "email", uri: "url", date: "date" };
  const type = types[String(format)];
  return type === undefined ? nothing : html` type="${type}"`;
};

/** Whole numbers that `JSON.parse` did not make of something else; JavaScript's own limits say nothing. */
const limit = (name: string, value: unknown): Html | "" =>
  typeof value === "number" && Math.abs(value) < Number.MAX_SAFE_INTEGER ? html` ${name}="${value}"` : nothing;

/** Follows references within the document. One that goes in a circle, or elsewhere, is any JSON. */
function resolve(schema: unknown, root: JsonSchema, left = 10): JsonSchema {
  if (!isObject(schema)) return {};
  const reference = textOf(schema["$ref"]);
  if (reference === undefined) return schema;
  if (!reference.startsWith("#") || left === 0) return {};
  let at: unknown = root;
  for (const step of reference.slice(1).split("/").slice(1)) {
    const key = decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
    at = isObject(at) && Object.hasOwn(at, key) ? at[key] : undefined;
  }
  return resolve(at, root, left - 1);
}

/** The fields for a task: from the schema's list of arguments, or one argument, or as JSON. */
export function argumentFields(schema: JsonSchema | undefined, params: readonly string[] | undefined): Html {
  if (schema !== undefined) {
    const items = schema["prefixItems"] ?? (Array.isArray(schema["items"]) ? schema["items"] : undefined);
    if (Array.isArray(items)) {
      const least = typeof schema["minItems"] === "number" ? schema["minItems"] : items.length;
      return html`${items.map((item, at) => schemaField(item, ["args", String(at)], params?.[at] ?? `Argument ${at + 1}`, at < least, schema))}`;
    }
    if (schema["type"] !== "array") return schemaField(schema, ["args", "0"], params?.[0] ?? "Argument", true, schema);
  }
  const names =
    params === undefined || params.length === 0
      ? nothing
      : html` <span class="hint">${line(params.join(", "), 200)}</span>`;
  return html`<label class="field"><span>Positional arguments: a list of JSON${names}</span><textarea name="args" data-kind="json" data-of="list" spellcheck="false" placeholder="[1, &quot;two&quot;]"></textarea></label><label class="field"><span>Keyword arguments: an object of JSON <span class="hint">may be left empty</span></span><textarea name="kwargs" data-kind="json" data-of="object" spellcheck="false" placeholder="{&quot;width&quot;: 320}"></textarea></label>`;
}
