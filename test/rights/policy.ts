/**
 * What IAM's policies say of a request, as AWS describes their evaluation: what is denied anywhere is denied, and what is
 * allowed nowhere is not allowed (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html).
 * Has of the language what Lovage's templates use, and throws at what it has not.
 */

/** The members of a condition's operator: `{ "aws:SourceArn": "arn:…" }`. */
type Conditions = Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;

export interface Statement {
  readonly Sid?: string;
  readonly Effect: "Allow" | "Deny";
  readonly Action?: string | readonly string[];
  readonly NotAction?: string | readonly string[];
  readonly Resource?: string | readonly string[];
  readonly NotResource?: string | readonly string[];
  readonly Principal?: "*" | Readonly<Record<string, string | readonly string[]>>;
  readonly Condition?: Conditions;
}

/** A right that a request takes. */
export interface Asked {
  readonly action: string;
  /** Its ARN; `*` for an action that takes none. */
  readonly resource: string;
  /** Keys of conditions, by AWS's names. */
  readonly context: Readonly<Record<string, string | readonly string[]>>;
}

/** `implicit`: no policy speaks of it. */
export type Decision = "allowed" | "denied" | "implicit";

/**
 * @param principal The ARN of who asks, for policies of resources.
 * @param identity The statements of the policies of who asks.
 * @param resource Those of the resource's own policy: within an account either of the two allows.
 */
export function decide(
  asked: Asked,
  principal: string,
  identity: readonly Statement[],
  resource: readonly Statement[] = [],
): Decision {
  const meant = [
    ...identity.filter((statement) => isMeant(statement, asked)),
    ...resource.filter((statement) => isMeant(statement, asked) && isPrincipal(statement, principal)),
  ];
  if (meant.some(({ Effect }) => Effect === "Deny")) return "denied";
  return meant.length > 0 ? "allowed" : "implicit";
}

/** Whether a statement speaks of a request, whatever it says of it. */
export const isMeant = (statement: Statement, asked: Asked): boolean =>
  isOneOf(statement.Action, statement.NotAction, asked.action.toLowerCase(), (text) => text.toLowerCase()) &&
  isOneOf(statement.Resource, statement.NotResource, asked.resource, (text) => text) &&
  Object.entries(statement.Condition ?? {}).every(([operator, keys]) =>
    Object.entries(keys).every(([key, values]) => holds(operator, [values].flat(), asked.context[key])),
  );

function isOneOf(
  given: string | readonly string[] | undefined,
  not: string | readonly string[] | undefined,
  value: string,
  spelled: (text: string) => string,
): boolean {
  const matches = (patterns: string | readonly string[]) =>
    [patterns].flat().some((pattern) => isLike(spelled(pattern), value));
  if (given !== undefined) return matches(given);
  // A policy of a key says `*` for itself, and one without either speaks of nothing.
  return not !== undefined && !matches(not);
}

function isPrincipal({ Principal }: Statement, principal: string): boolean {
  if (Principal === undefined) return false;
  if (Principal === "*") return true;
  const [, , , , account = ""] = principal.split(":");
  return [Principal["AWS"] ?? []]
    .flat()
    .some((one) => one === "*" || one === principal || one === account || one === `arn:aws:iam::${account}:root`);
}

/** The comparisons of values, by the operator's name: whether the request's value is one that the policy names. */
const OPERATORS: Readonly<Record<string, (wanted: string, given: string) => boolean>> = {
  StringEquals: (wanted, given) => wanted === given,
  StringLike: (wanted, given) => isLike(wanted, given),
  ArnEquals: (wanted, given) => isLikeArn(wanted, given),
  ArnLike: (wanted, given) => isLikeArn(wanted, given),
  Bool: (wanted, given) => wanted.toLowerCase() === given.toLowerCase(),
};

function holds(operator: string, wanted: readonly string[], given: string | readonly string[] | undefined): boolean {
  const [, quantifier, not, name = "", ifExists] =
    /^(?:(ForAllValues|ForAnyValue):)?(?:(?<=^|:)(String|Arn)Not)?(\w+?)(IfExists)?$/.exec(operator) ?? [];
  const compare = OPERATORS[not === undefined ? name : `${not}${name}`];
  if (compare === undefined) throw new Error(`the operator ${operator} is not known here: add it with a test`);
  const values = given === undefined ? [] : [given].flat();
  const one = (value: string) => wanted.some((pattern) => compare(pattern, value)) !== (not !== undefined);
  // All of none hold, whatever they are held against.
  if (quantifier === "ForAllValues") return values.every(one);
  if (quantifier === "ForAnyValue") return values.some(one);
  if (values.length === 0) return ifExists !== undefined || not !== undefined;
  if (values.length > 1) throw new Error(`${operator} compares one value, and the request has ${values.length}`);
  return values.every(one);
}

/** `*` is any text, `?` any sign, and `${*}`, `${?}`, `${$}` the sign itself. */
export function isLike(pattern: string, text: string): boolean {
  const source = pattern.replace(/\$\{([*?$])\}|([*?])|[\\^$.|+()[\]{}]/g, (sign, plain?: string, wild?: string) => {
    if (plain !== undefined) return `\\${plain}`;
    if (wild !== undefined) return wild === "*" ? ".*" : ".";
    return `\\${sign}`;
  });
  return new RegExp(`^${source}$`, "s").test(text);
}

/** Each of an ARN's six parts by itself: a `*` does not reach over a colon. */
function isLikeArn(pattern: string, arn: string): boolean {
  const parts = (text: string) => {
    const [a = "", b = "", c = "", d = "", e = "", ...rest] = text.split(":");
    return [a, b, c, d, e, rest.join(":")];
  };
  const given = parts(arn);
  return parts(pattern).every((part, index) => isLike(part, given[index] ?? ""));
}
