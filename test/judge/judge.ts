/** Holds a request against AWS's own model of the service: whoever sends what AWS would refuse learns it here, not there. */
import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { LIMITS } from "./limits.ts";
import { type Model, modelOf, type Operation, type Service, SERVICES } from "./model.ts";
import { faultsOf } from "./shape.ts";

export interface SentRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface Judgement {
  /** `SQS.SendMessageBatch`; `undefined` where the request is for none of the services that are judged. */
  readonly operation: string | undefined;
  /** The rules that it breaks, each with the place. */
  readonly faults: readonly string[];
}

const NOT_JUDGED: Judgement = { operation: undefined, faults: [] };

/** The services by the name that a request is signed for. */
const SIGNED: ReadonlyMap<string, Service> = new Map([
  ...SERVICES.map((service) => [service, service] as const),
  ["monitoring", "cloudwatch"],
]);

/** By what a target begins with. */
const TARGETS: ReadonlyMap<string, Service> = new Map([
  ["AmazonSQS", "sqs"],
  ["DynamoDB_20120810", "dynamodb"],
  ["AWSEvents", "events"],
]);

/** How the limits call the services. */
const NAMES: Readonly<Partial<Record<Service, string>>> = { sqs: "SQS", dynamodb: "DynamoDB", events: "AWSEvents" };

export function judge(request: SentRequest): Judgement {
  const scope = scopeOf(request.headers.authorization);
  const target = request.headers["x-amz-target"];
  if (typeof target === "string") {
    const [prefix = "", name = ""] = target.split(".");
    const service = TARGETS.get(prefix);
    // A target that nobody has is a fault only where the request is signed for a service that is judged.
    const meant = service ?? (scope === undefined ? undefined : SIGNED.get(scope.service));
    return meant === undefined ? NOT_JUDGED : judgeJson(meant, prefix, name, request, scope);
  }
  const service = scope === undefined ? undefined : SIGNED.get(scope.service);
  if (service === undefined) return NOT_JUDGED;
  switch (modelOf(service).metadata.protocol) {
    case "rest-json":
      return judgeRest(service, request, scope);
    case "rest-xml":
      return judgeObject(request, scope);
    case "query":
      return judgeQuery(service, request, scope);
    default:
      return NOT_JUDGED;
  }
}

function judgeJson(
  service: Service,
  prefix: string,
  name: string,
  request: SentRequest,
  scope: Scope | undefined,
): Judgement {
  const model = modelOf(service);
  const { targetPrefix, jsonVersion } = model.metadata;
  const operation = model.operations[name];
  const label = `${NAMES[service] ?? service}.${name}`;
  if (operation === undefined || prefix !== targetPrefix)
    return { operation: label, faults: [`x-amz-target: ${prefix}.${name} is no operation of ${service}`] };
  const faults = [...common(model, request, scope)];
  if (request.method !== "POST" || request.url !== "/") faults.push(`${request.method} ${request.url}: must be POST /`);
  const type = `application/x-amz-json-${jsonVersion}`;
  if (request.headers["content-type"] !== type)
    faults.push(`content-type: ${request.headers["content-type"]}, must be ${type}`);
  return { operation: label, faults: [...faults, ...judgeInput(model, label, operation, jsonOf(request.body))] };
}

function judgeRest(service: Service, request: SentRequest, scope: Scope | undefined): Judgement {
  const model = modelOf(service);
  const { pathname, searchParams } = new URL(request.url, "http://aws");
  const found = Object.values(model.operations).flatMap((operation) => {
    const named = operation.http.method === request.method ? matchPath(operation.http.requestUri, pathname) : undefined;
    return named === undefined ? [] : [{ operation, named }];
  });
  // The most literal of the paths that fit.
  const [best] = found.sort((a, b) => Object.keys(a.named).length - Object.keys(b.named).length);
  if (best === undefined)
    return { operation: `${service}.?`, faults: [`${request.method} ${pathname} is no operation of ${service}`] };
  const { operation, named } = best;
  const label = `${service}.${operation.name}`;
  const body = request.body.length === 0 ? {} : jsonOf(request.body);
  const shape = model.shapes[operation.input?.shape ?? ""];
  const members = Object.entries(shape?.members ?? {});
  const placed: Record<string, unknown> = {};
  const faults = [...common(model, request, scope)];
  for (const [name, { location, locationName = name, shape: type }] of members) {
    if (location === "uri" && named[locationName] !== undefined) placed[name] = named[locationName];
    const asked = location === "querystring" ? searchParams.get(locationName) : null;
    if (asked !== null) placed[name] = /^(integer|long)$/.test(model.shapes[type]?.type ?? "") ? Number(asked) : asked;
    if (location !== undefined && typeof body === "object" && body !== null && name in body)
      faults.push(`${name}: belongs into the ${location}, not into the body`);
  }
  const known = new Set(members.flatMap(([name, { locationName }]) => [name, locationName]));
  for (const name of searchParams.keys()) if (!known.has(name)) faults.push(`?${name}: the model has no such member`);
  const input = typeof body === "object" && body !== null ? { ...body, ...placed } : body;
  return { operation: label, faults: [...faults, ...judgeInput(model, label, operation, input)] };
}

/** A tree of texts, by what stands between the dots of their names: `Tags.member.1.Key`. */
type Tree = string | Branch;
interface Branch {
  [name: string]: Tree;
}

function judgeQuery(service: Service, request: SentRequest, scope: Scope | undefined): Judgement {
  const model = modelOf(service);
  const given: Branch = {};
  for (const [path, value] of new URLSearchParams(request.body.toString("utf8"))) {
    const names = path.split(".");
    const last = names.pop() as string;
    const place = names.reduce<Branch>((branch, name) => {
      branch[name] ??= {};
      return branch[name] as Branch;
    }, given);
    place[last] = value;
  }
  const { Action, Version, ...input } = given;
  const operation = model.operations[String(Action)];
  const label = `${service}.${Action}`;
  if (operation === undefined) return { operation: label, faults: [`Action: ${Action} is no operation of ${service}`] };
  const faults = common(model, request, scope);
  if (request.method !== "POST" || request.url !== "/") faults.push(`${request.method} ${request.url}: must be POST /`);
  const [type] = String(request.headers["content-type"]).split(";");
  if (type !== "application/x-www-form-urlencoded")
    faults.push(`content-type: ${type}, must be application/x-www-form-urlencoded`);
  const { apiVersion } = model.metadata;
  if (Version !== apiVersion) faults.push(`Version: ${Version}, must be ${apiVersion}`);
  const asked = operation.input === undefined ? input : ofQuery(model, operation.input.shape, input);
  return { operation: label, faults: [...faults, ...judgeInput(model, label, operation, asked)] };
}

/** What a tree of texts is by the model: numbers, truths and lists. */
function ofQuery(model: Model, name: string, tree: Tree): unknown {
  const { type = "", member, members = {} } = model.shapes[name] ?? {};
  if (typeof tree === "string") {
    if (/^(integer|long)$/.test(type)) return Number(tree);
    return type === "boolean" && /^(true|false)$/.test(tree) ? tree === "true" : tree;
  }
  if (type === "list")
    return Object.values(tree["member"] ?? {}).map((one) => ofQuery(model, member?.shape ?? "", one));
  return Object.fromEntries(
    Object.entries(tree).map(([key, one]) => [key, ofQuery(model, members[key]?.shape ?? "", one)]),
  );
}

/** Headers of S3 that are of the protocol, and no members. */
const S3_HEADERS =
  /^x-amz-(date|content-sha256|security-token|user-agent|trailer|decoded-content-length|sdk-checksum-algorithm|checksum-.*)$/;

/** A text that is put or got. What else S3 is asked (a bucket for a test) is not Lovage's. */
function judgeObject(request: SentRequest, scope: Scope | undefined): Judgement {
  const { method, url, headers, body } = request;
  const { pathname, searchParams } = new URL(url, "http://aws");
  const name = { GET: "GetObject", PUT: "PutObject" }[method];
  const model = modelOf("s3");
  const operation = model.operations[name ?? ""];
  const named = operation === undefined ? undefined : matchPath(operation.http.requestUri, pathname);
  if (operation === undefined || named === undefined) return NOT_JUDGED;
  const faults = common(model, request, scope);
  const members = Object.entries(model.shapes[operation.input?.shape ?? ""]?.members ?? {});
  const placed: Record<string, unknown> = { ...named };
  for (const [member, { location, locationName = member, shape }] of members) {
    const text = location === "header" ? headers[locationName.toLowerCase()] : undefined;
    const asked = location === "querystring" ? searchParams.get(locationName) : undefined;
    // Times and numbers are texts here; the model has no bounds for those that are sent.
    const isText = model.shapes[shape]?.type === "string";
    if (isText && typeof (text ?? asked) === "string") placed[member] = text ?? asked;
  }
  const known = new Set(members.map(([member, { locationName = member }]) => locationName.toLowerCase()));
  for (const header of Object.keys(headers))
    if (header.startsWith("x-amz-") && !known.has(header) && !S3_HEADERS.test(header))
      faults.push(`${header}: the model has no such member`);
  for (const query of searchParams.keys())
    if (query !== "x-id" && !known.has(query.toLowerCase())) faults.push(`?${query}: the model has no such member`);
  const hash = String(headers["x-amz-content-sha256"]);
  const isStreamed = /^(UNSIGNED-PAYLOAD|STREAMING-[A-Z0-9-]+)$/.test(hash);
  if (!isStreamed && hash !== createHash("sha256").update(body).digest("hex"))
    faults.push("x-amz-content-sha256: is not the hash of the body");
  if (method === "PUT" && headers["content-length"] === undefined) faults.push("content-length: is required");
  const label = `s3.${operation.name}`;
  return { operation: label, faults: [...faults, ...judgeInput(model, label, operation, placed)] };
}

function judgeInput(model: Model, label: string, operation: Operation, input: unknown): string[] {
  if (input === undefined) return ["the body is no JSON"];
  const shape = operation.input?.shape;
  if (shape === undefined) return [];
  const faults = faultsOf(model, shape, input, operation.name);
  // A limit speaks of what the model has found to be there.
  if (faults.length > 0) return faults;
  return LIMITS.filter((limit) => limit.operation === label && limit.broken(input)).map(
    ({ rule, page }) => `${rule} (${page})`,
  );
}

interface Scope {
  readonly region: string;
  readonly service: string;
  readonly signed: readonly string[];
}

/** What a request is signed for: `AWS4-HMAC-SHA256 Credential=<key>/<day>/<region>/<service>/aws4_request, SignedHeaders=…`. */
function scopeOf(authorization: string | undefined): Scope | undefined {
  const found =
    /^AWS4-HMAC-SHA256 Credential=[^/]+\/\d{8}\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=[0-9a-f]{64}$/.exec(
      authorization ?? "",
    );
  const [, region, service, signed] = found ?? [];
  if (region === undefined || service === undefined || signed === undefined) return undefined;
  return { region, service, signed: signed.split(";") };
}

function common({ metadata }: Model, { headers }: SentRequest, scope: Scope | undefined): string[] {
  if (scope === undefined) return ["authorization: is no signature of version 4"];
  const faults: string[] = [];
  const name = metadata.signingName ?? metadata.endpointPrefix;
  if (scope.service !== name) faults.push(`authorization: signed for ${scope.service}, must be ${name}`);
  const wanted = ["host", ...Object.keys(headers).filter((header) => header.startsWith("x-amz-"))];
  for (const header of wanted)
    if (!scope.signed.includes(header)) faults.push(`authorization: ${header} is not signed`);
  if (!/^\d{8}T\d{6}Z$/.test(String(headers["x-amz-date"]))) faults.push("x-amz-date: must be YYYYMMDDTHHMMSSZ");
  return faults;
}

/** `/schedules/{Name}` against a path: what stands in its places, decoded. */
function matchPath(template: string, path: string): Record<string, string> | undefined {
  const [wanted = ""] = template.split("?");
  const named: Record<string, string> = {};
  const parts = wanted.split("/");
  // The last place of some takes all that is left.
  const isGreedy = wanted.endsWith("+}");
  const split = path.split("/");
  const given = isGreedy ? [...split.slice(0, parts.length - 1), split.slice(parts.length - 1).join("/")] : split;
  if (parts.length !== given.length) return undefined;
  for (const [index, part] of parts.entries()) {
    const place = /^\{([^}+]+)\+?\}$/.exec(part)?.[1];
    const text = given[index] ?? "";
    if (place === undefined ? part !== text : text === "") return undefined;
    if (place !== undefined) named[place] = decodeURIComponent(text);
  }
  return named;
}

function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    return undefined;
  }
}
