/**
 * YAML 1.1, as PyYAML writes and reads it. The library composes the nodes; what they mean is made of them here, in time
 * in proportion to the text: the library compares each key with all others, and looks for what an alias means from the
 * beginning.
 */
import type { Alias, Document, Node, Pair, Scalar, ScalarTag, Tags, YAMLMap, YAMLSeq } from "yaml";
import { DecodeError } from "../errors.ts";
import { MAX_NESTING } from "./json.ts";
import { dateText, readTag } from "./values.ts";

type Library = typeof import("yaml");

/** What the library's nodes take, measured: 1.2 to 2.6 KB for a value, until they are collected. */
export const YAML_ITEM_BYTES = 1500;
/** What begins a value, or goes before one. */
export const YAML_MARKS = "[{,:\n";

/** A text may hold as many values as it has characters, and so many more that aliases say again. */
const FREE_REPEATS = 100_000;

/** For writing only: the version's own tags read. */
const NEVER = /^\b$/;

/** Floats as PyYAML takes them for floats: with a point always, so that 2^60 is no integer and 1e21 no text. */
const FLOAT: ScalarTag = {
  tag: "tag:yaml.org,2002:float",
  default: true,
  identify: (value) =>
    typeof value === "number" && Number.isFinite(value) && (!Number.isSafeInteger(value) || Object.is(value, -0)),
  test: NEVER,
  resolve: Number,
  stringify({ value }) {
    const text = Object.is(value, -0) ? "-0" : String(value);
    const [mantissa = "", exponent] = text.split("e");
    const pointed = mantissa.includes(".") ? mantissa : `${mantissa}.0`;
    return exponent === undefined ? pointed : `${pointed}e${exponent}`;
  },
};

/** To YAML 1.1 some of them are line breaks, others no characters at all; a mark of byte order is one at a start only, and PyYAML reads no bare tab. */
const ESCAPED = /[\t\r\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/g;

/** Texts that PyYAML would read as something else where they stand bare: "merge", "default value", and what it escapes itself. */
const QUOTED: ScalarTag = {
  tag: "tag:yaml.org,2002:str",
  default: true,
  identify: (value) => typeof value === "string" && (value === "<<" || value === "=" || value.search(ESCAPED) >= 0),
  test: NEVER,
  resolve: String,
  stringify: ({ value }) =>
    JSON.stringify(value).replace(ESCAPED, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`),
};

const DATE =
  /^(?=\d{4}-\d\d-\d\d$|.*:)(\d{4})-(\d\d?)-(\d\d?)(?:(?:[tT]|[ \t]+)(\d\d?):(\d\d):(\d\d)(?:\.(\d*))?(?:[ \t]*(?:Z|([-+])(\d\d?)(?::?(\d\d))?))?)?$/;

/** The library's own reads the years to 99 as those from 1900 on, and forgets microseconds and the zone. */
const TIMESTAMP: ScalarTag = {
  tag: "tag:yaml.org,2002:timestamp",
  default: true,
  identify: (value) => value instanceof Date,
  test: DATE,
  resolve(text) {
    const [
      ,
      year,
      month = "",
      day = "",
      hour = "0",
      minute = "00",
      second = "00",
      fraction,
      sign,
      hours = "",
      minutes = "00",
    ] = DATE.exec(text) ?? [];
    const two = (digits: string) => digits.padStart(2, "0");
    const micros = fraction === undefined || fraction === "" ? "" : `.${fraction.slice(0, 6).padEnd(6, "0")}`;
    const zone = sign === undefined ? "+00:00" : `${sign}${two(hours)}:${minutes}`;
    return readTag("datetime", `${year}-${two(month)}-${two(day)}T${two(hour)}:${minute}:${second}${micros}${zone}`);
  },
  stringify: ({ value }) => dateText(value as Date) ?? String(value),
};

/** The text of a tree of plain values, dates and bytes. */
export const writeYaml = ({ stringify }: Library, tree: unknown): string =>
  stringify(tree, {
    version: "1.1",
    aliasDuplicateObjects: false,
    customTags: (tags) => [FLOAT, QUOTED, TIMESTAMP, ...tags.filter((tag) => !isTagged(tag, "merge", "timestamp"))],
  });

const isTagged = (tag: string | { readonly tag: string }, ...names: readonly string[]): boolean =>
  names.includes((typeof tag === "string" ? tag : tag.tag).replace("tag:yaml.org,2002:", ""));

/**
 * How a bare text looks that PyYAML takes for one of these, and writes so where it is one. To the library `y` is `true` as well,
 * `08` and `1e5` are numbers, and `E10` is none.
 */
const BARE: Readonly<Record<string, string>> = {
  bool: "^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$",
  int: "^(?:[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$",
  float:
    "^(?:[-+]?[0-9][0-9_]*\\.[0-9_]*(?:[eE][-+][0-9]+)?|\\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\\.[0-9_]*|[-+]?\\.(?:inf|Inf|INF)|\\.(?:nan|NaN|NAN))$",
};

/** The library's tag, for no text but those that PyYAML takes for it. */
function asPyYaml(tag: Tags[number]): Tags[number] {
  if (typeof tag === "string" || !("test" in tag) || tag.test === undefined) return tag;
  const bare = BARE[tag.tag.replace("tag:yaml.org,2002:", "")];
  return bare === undefined ? tag : { ...tag, test: new RegExp(`(?=${bare})${tag.test.source}`) };
}

/** Python's collections that JSON has no form for; the library takes the square of their length to read them. */
const FOREIGN = ["set", "omap", "pairs"] as const;

/** The tree of a text: plain values, dates and bytes, integers as bigints. Throws `DecodeError`, or what the library throws. */
export function readYaml(yaml: Library, text: string): unknown {
  const document = compose(yaml, text);
  const anchors = new Map<string, { readonly value: unknown; readonly weight: number } | undefined>();
  const most = FREE_REPEATS + text.length;
  /** How many values have been made so far, those that aliases say again included. */
  let weight = 0;
  const spend = (count: number) => {
    weight += count;
    if (weight > most) throw new DecodeError("the YAML data expands itself: its aliases say too much again");
  };

  const read = (node: unknown, depth: number): unknown => {
    if (!yaml.isNode(node)) return null;
    if (yaml.isAlias(node)) return readAlias(node);
    const before = weight;
    const { anchor } = node as Scalar | YAMLMap | YAMLSeq;
    // Until it is whole it means nothing: nothing contains itself.
    if (anchor !== undefined) anchors.set(anchor, undefined);
    const value = readOwn(node, depth);
    if (anchor !== undefined) anchors.set(anchor, { value, weight: weight - before });
    return value;
  };
  const readAlias = ({ source }: Alias): unknown => {
    const meant = anchors.get(source);
    if (meant === undefined)
      throw new DecodeError(`the YAML data has an alias of nothing whole: ${source.slice(0, 100)}`);
    spend(meant.weight);
    return meant.value;
  };
  const readOwn = (node: Node, depth: number): unknown => {
    if (depth > MAX_NESTING) throw new DecodeError(`the data is nested more than ${MAX_NESTING} levels deep`);
    spend(1);
    if (yaml.isScalar(node)) return typeof node.value === "symbol" ? node.value.description : node.value;
    if (FOREIGN.some((name) => node.tag?.endsWith(`:${name}`)))
      throw new DecodeError(`the YAML data holds a type that JSON has no form for: ${node.tag}`);
    if (yaml.isSeq(node)) return node.items.map((item) => read(item, depth + 1));
    if (yaml.isMap(node)) return readMap(node, depth);
    throw new DecodeError("the YAML data holds what is neither a value, a list nor a map");
  };
  const readMap = ({ items }: YAMLMap, depth: number): unknown => {
    const own = new Map<string, unknown>();
    const merged = new Map<string, unknown>();
    for (const { key, value } of items as Pair[]) {
      if (isMerge(key)) {
        const given = read(value, depth + 1);
        for (const source of Array.isArray(given) ? (given as unknown[]) : [given]) {
          if (typeof source !== "object" || source === null || Array.isArray(source))
            throw new DecodeError("the YAML data merges what is no map");
          for (const [name, member] of Object.entries(source)) {
            spend(1);
            if (!merged.has(name)) merged.set(name, member);
          }
        }
      } else own.set(nameOf(read(key, depth + 1)), read(value, depth + 1));
    }
    return Object.fromEntries([...merged, ...own]);
  };
  const isMerge = (key: unknown): boolean => yaml.isScalar(key) && typeof key.value === "symbol";

  return read(document.contents, 0);
}

/** What a key is called, as JSON has it. */
function nameOf(key: unknown): string {
  if (key instanceof Date) return dateText(key) ?? "";
  if (typeof key === "object" && key !== null) throw new DecodeError("the YAML data has a key that is no text");
  return String(key);
}

/** The only document of a text. Ends at the first fault: a text may have one for each character. */
function compose({ Composer, Parser }: Library, text: string): Document {
  const composer = new Composer({
    version: "1.1",
    intAsBigInt: true,
    logLevel: "silent",
    prettyErrors: false,
    uniqueKeys: false,
    customTags: (tags) => [TIMESTAMP, ...tags.filter((tag) => !isTagged(tag, "timestamp", ...FOREIGN)).map(asPyYaml)],
  });
  let document: Document | undefined;
  const take = (documents: Iterable<Document>) => {
    for (const next of documents) {
      const [error] = next.errors;
      if (error !== undefined) throw error;
      if (document !== undefined) throw new DecodeError("the YAML data has more than one document");
      document = next;
    }
  };
  for (const token of new Parser().parse(text)) {
    if (token.type === "error") throw new DecodeError(`the YAML data cannot be read: ${token.message}`);
    take(composer.next(token));
  }
  take(composer.end(true, text.length));
  if (document === undefined) throw new DecodeError("the YAML data is empty");
  return document;
}
