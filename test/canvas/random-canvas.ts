/** Random canvases, and what must come of them by Celery's rules. */
import fc from "fast-check";
import { expect } from "vitest";
import type { Broker } from "../../src/brokers/broker.ts";
import { membersRow } from "../../src/canvas/join-rows.ts";
import { chain, chord, group, Ignore, Lovage, type Signature } from "../../src/index.ts";
import type { SignatureData } from "../../src/protocol/message.ts";
import type { ResultTuple } from "../../src/protocol/meta.ts";
import { hostileBroker, type TestOptions, testApp } from "../../src/testing/index.ts";

/** How a task behaves: it may ask for attempts, be replaced by a canvas, fail, end in `Ignore`, expire, or be revoked before it is sent. */
export interface Op extends Linked {
  readonly type: "task";
  readonly label: number;
  readonly fate: "ok" | "fail" | "ignore" | "expire" | "revoke";
  readonly retries: number;
  readonly immutable: boolean;
  readonly becomes?: Node | undefined;
  /** It gives back what it gets. */
  readonly gathers?: true;
}

/** What is linked to a canvas, and how. */
interface Linked {
  /** The number of an errback that is linked to it. */
  readonly errback?: number | undefined;
  /** The number of a callback that is linked to it. A group has none. */
  readonly callback?: number | undefined;
  /** The links are options of it. */
  readonly set?: boolean | undefined;
  /** It was JSON in between. */
  readonly json?: boolean | undefined;
}

/** What is said of a canvas besides its parts. */
interface About extends Linked {
  /** Its members come from a generator. */
  readonly streamed?: boolean;
}

export type Node =
  | Op
  | (About & { readonly type: "chain" | "group"; readonly members: readonly Node[] })
  | (About & { readonly type: "chord"; readonly members: readonly Node[]; readonly body: Node });

/** What a canvas comes to: a value, or how it ends without one. */
export type End = { readonly value: unknown } | "failed" | "revoked" | "ignored";

/** Told of every errback and callback that is called, with what it was called for: a task, or a body that will not run. */
type Told = (errback: number, of: string) => void;

/** The whole of Celery's rules, by the values alone. */
function interpret(node: Node, input: unknown, told: Told): End {
  return run(stepsOf(node), input, told);
}

function run([step, ...rest]: readonly Node[], input: unknown, told: Told): End {
  if (step === undefined) return { value: input };
  if (step.type === "task") {
    const end = runOp(step, step.immutable ? null : input, told);
    if (typeof end === "string") return end;
    for (const callback of callbacksOf(step)) told(callback, `op-${step.label}`);
    return run(rest, end.value, told);
  }
  const results = joined(membersOf(step.members).map((member) => interpret(member, input, told)));
  // A group that is followed by anything is a chord's header, and what follows a chord follows its body.
  const then = [...(step.type === "chord" ? stepsOf(step.body) : []), ...rest];
  if (typeof results !== "string") return run(then, results.value, told);
  if (step.type !== "chord" && then.length === 0) return results;
  failed(then, told);
  return "failed";
}

function runOp(op: Op, input: unknown, told: Told): End {
  if (op.fate === "revoke" || op.fate === "expire") return "revoked";
  if (op.fate === "ignore") return "ignored";
  if (op.fate === "fail") {
    failed([op], told);
    return "failed";
  }
  if (op.gathers) return { value: input };
  if (op.becomes === undefined) return { value: [op.label, input] };
  const whole = built(op.becomes);
  const errbacks = errbacksOf(op);
  // A group that takes a task's place counts as one, and the errbacks are those of the one.
  const isGroup = whole.type === "group";
  const one = isGroup ? linked(countedAsOne(whole, op), errbacks) : countedAsOne(linked(whole, errbacks), op);
  return interpret(one, input, told);
}

/** A group that it ends in gives its results as one, by a task of Celery's that has the id of `op`. */
function countedAsOne(node: Node, op: Op): Node {
  if (node.type === "task") return node;
  if (node.type === "chord") return { ...node, body: countedAsOne(node.body, op) };
  if (node.type === "group") {
    const { label } = op;
    const body: Op = { type: "task", label, fate: "ok", retries: 0, immutable: false, gathers: true };
    return { ...node, type: "chord", body };
  }
  const last = node.members.length - 1;
  const members = node.members.map((member, index) => (index === last ? countedAsOne(member, op) : member));
  return { ...node, members };
}

/** Steps that will not run any more, because a header before them failed: whose errbacks are called. */
function failed([step, ...rest]: readonly Node[], told: Told): void {
  if (step === undefined) return;
  if (step.type === "task") for (const errback of errbacksOf(step)) told(errback, `op-${step.label}`);
  else if (step.type === "chord" && step.body.type === "task" && step.body.gathers)
    for (const member of membersOf(step.members)) failed(stepsOf(member), told);
  else if (step.type === "chord") failed([...stepsOf(step.body), ...rest], told);
  else if (rest.length > 0) failed(rest, told);
  else for (const member of membersOf(step.members)) failed(stepsOf(member), told);
}

const errbacksOf = (op: Op & { readonly errbacks?: readonly number[] }): readonly number[] => op.errbacks ?? [];
const callbacksOf = (op: Op & { readonly callbacks?: readonly number[] }): readonly number[] => op.callbacks ?? [];

/** A canvas as Celery's `|` and `link_error` make it: which errbacks are whose is seen at the tasks. */
function built(node: Node): Node {
  const made = builtOfParts(node);
  return node.callback === undefined ? made : called(made, node.callback);
}

function builtOfParts(node: Node): Node {
  const errbacks = node.errback === undefined ? [] : [node.errback];
  switch (node.type) {
    case "task":
      return linked(node, errbacks);
    case "chain":
      return linked(chained(node.members.map(built)), errbacks);
    case "group":
      return linked({ ...node, members: node.members.map(built) }, errbacks);
    default:
      return linked({ ...node, members: node.members.map(built), body: built(node.body) }, errbacks);
  }
}

/** One after the other: a group followed by anything is a chord, and what follows a chord follows its body. */
function chained(parts: readonly Node[]): Node {
  const steps: Node[] = [];
  for (const step of parts.flatMap(stepsOf)) {
    const last = steps.at(-1);
    if (last?.type === "group") steps.splice(-1, 1, { type: "chord", members: last.members, body: step });
    else if (last?.type === "chord") steps.splice(-1, 1, { ...last, body: chained([last.body, step]) });
    else steps.push(step);
  }
  const [only] = steps;
  return only !== undefined && only.type !== "task" && steps.length === 1 ? only : { type: "chain", members: steps };
}

/** What is linked to a chain is its steps', to a group its members', to a chord its body's. */
function linked(node: Node, errbacks: readonly number[]): Node {
  if (node.type === "task") return { ...node, errbacks: [...errbacksOf(node), ...errbacks] } as Op;
  if (node.type === "chord") return { ...node, body: linked(node.body, errbacks) };
  return { ...node, members: node.members.map((member) => linked(member, errbacks)) };
}

/** A callback of a canvas is that of the task that it ends in. */
function called(node: Node, callback: number): Node {
  switch (node.type) {
    case "task":
      return { ...node, callbacks: [...callbacksOf(node), callback] } as Op;
    case "chord":
      return { ...node, body: called(node.body, callback) };
    default: {
      const last = node.members.length - 1;
      return {
        ...node,
        members: node.members.map((member, index) => (index === last ? called(member, callback) : member)),
      };
    }
  }
}

function joined(ends: readonly End[]): End {
  const lost = ends.find((end) => typeof end === "string");
  return lost ?? { value: ends.map((end) => (end as { readonly value: unknown }).value) };
}

/** Chains in chains are one. */
const stepsOf = (node: Node): readonly Node[] => (node.type === "chain" ? node.members.flatMap(stepsOf) : [node]);

/** Groups in a group are one; a chain of one step is that step. */
function membersOf(members: readonly Node[]): readonly Node[] {
  return members.flatMap((member) => {
    const steps = stepsOf(member);
    const only = member.type === "chain" && steps.length === 1 ? (steps[0] as Node) : member;
    return only.type === "group" ? membersOf(only.members) : [only];
  });
}

/** Whether it ends in a group, so that its caller holds a group's results. */
function endsInGroup(node: Node): boolean {
  if (node.type === "group") return true;
  if (node.type === "chord") return endsInGroup(node.body);
  const last = node.type === "chain" ? stepsOf(node).at(-1) : undefined;
  return last !== undefined && endsInGroup(last);
}

/** The task that it ends in, if it is one. */
function endOf(node: Node): Op | undefined {
  if (node.type === "task") return node;
  if (node.type === "chord") return endOf(node.body);
  const steps = stepsOf(node);
  const last = node.type === "chain" ? steps.at(-1) : undefined;
  return last === undefined ? undefined : endOf(last);
}

/** Whether a task of it ends in `Ignore`. */
function waits(node: Node): boolean {
  if (node.type === "task") return node.fate === "ignore" || (node.becomes !== undefined && waits(node.becomes));
  return node.members.some(waits) || (node.type === "chord" && waits(node.body));
}

/** But for those of what takes a task's place, which are there only once it has run. */
const opsOf = (node: Node): readonly Op[] =>
  node.type === "task" ? [node] : [...node.members.flatMap(opsOf), ...(node.type === "chord" ? opsOf(node.body) : [])];

/** Tasks that can be anything a canvas asks of them. `told` is called with an errback's number. */
export function defineOps(app: Lovage, told: (errback: number) => void = () => {}) {
  const op = app.task("op", { bind: true }, (self, input: unknown, label: number, fate: string, retries: number) => {
    if (self.request.retries < retries) self.retry({ countdown: 0, maxRetries: null });
    if (fate === "fail") throw new RangeError(`op ${label}`);
    if (fate === "ignore") throw new Ignore();
    const becomes = replacements.get(label);
    if (becomes !== undefined) self.replace(make(becomes).clone([input]));
    return [label, input];
  });
  const replacements = new Map<number, Node>();
  const errback = app.task("told", (number: number) => told(number));
  type Any = Signature<never, unknown, unknown>;
  const make = (node: Node): Any => {
    let made = unlinked(node);
    const links = {
      ...(node.errback !== undefined && { linkError: errback.si(node.errback) }),
      ...(node.callback !== undefined && { link: errback.si(node.callback) }),
    };
    // A chain that comes to one canvas is that canvas, whose own links would be replaced.
    const isItself = node.type !== "chain" || stepsOf(node)[0]?.type === "task";
    if (node.set && isItself) made = made.set(links) as Any;
    else {
      if (links.linkError !== undefined) made = made.linkError(links.linkError) as Any;
      if (links.link !== undefined) made = made.link(links.link) as Any;
    }
    return node.json ? (app.signature(JSON.parse(JSON.stringify(made)) as SignatureData) as unknown as Any) : made;
  };
  const unlinked = (node: Node): Any => {
    switch (node.type) {
      case "task": {
        const { label, fate, retries, becomes } = node;
        // Labels come again from one canvas to the next.
        replacements.delete(label);
        if (becomes !== undefined) replacements.set(label, becomes);
        const made = node.immutable ? op.si(null, label, fate, retries) : op.s(label, fate, retries);
        return made.set({ taskId: `op-${label}`, ...(fate === "expire" && { expires: new Date(0) }) }) as Any;
      }
      // What fits what is the matter of the types' own tests.
      case "chain":
        return chain(...(node.members.map(make) as Signature[])) as unknown as Any;
      case "group":
        return group(membersFor(node)) as unknown as Any;
      case "chord":
        return chord(membersFor(node), make(node.body) as Signature) as Any;
      default:
        return node satisfies never;
    }
  };
  const membersFor = ({ members, streamed }: About & { readonly members: readonly Node[] }): Signature[] => {
    const made = members.map(make) as Signature[];
    // The types of both are the same but for what is asked of a list's members.
    return streamed ? (one(made) as unknown as Signature[]) : made;
  };
  return { op, make };
}

function* one<T>(items: readonly T[]): Generator<T> {
  yield* items;
}

/** Canvases of a depth, each task with a number of its own. */
export function canvases(depth: number): fc.Arbitrary<Node> {
  return canvasesOf(depth, 1)
    .map((node) => numbered(node, { next: 1 }))
    .filter((node) => node.type === "task" || (opsOf(node).length > 0 && node.members.every(hasOps)));
}

/** @param nesting How often what takes a task's place may be replaced itself. */
function canvasesOf(depth: number, nesting: number): fc.Arbitrary<Node> {
  const links = {
    errback: fc.option(fc.constant(0), { freq: 4, nil: undefined }),
    callback: fc.option(fc.constant(0), { freq: 5, nil: undefined }),
    set: fc.nat(3).map((n) => n === 3),
    json: fc.nat(7).map((n) => n === 7),
  };
  const becomes = (nesting === 0 ? fc.constant(undefined) : canvasesOf(Math.min(depth, 1), nesting - 1)).map((node) =>
    node === undefined || !hasOps(node) || opsOf(node).length === 0 ? undefined : unrevoked(node),
  );
  const op: fc.Arbitrary<Op> = fc.record({
    ...links,
    becomes: fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: becomes }),
    type: fc.constant("task" as const),
    label: fc.constant(0),
    fate: fc.oneof(
      { weight: 14, arbitrary: fc.constant("ok" as const) },
      ...(["fail", "revoke", "expire", "ignore"] as const).map((fate) => ({
        weight: 1,
        arbitrary: fc.constant(fate),
      })),
    ),
    retries: fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(1, 2) }),
    immutable: fc.nat(7).map((n) => n === 0),
  });
  const about = fc.record({
    ...links,
    streamed: fc.nat(3).map((n) => n === 0),
    /** Its first member comes again, under the same id. */
    again: fc.nat(5).map((n) => n === 0),
  });
  const at = (left: number): fc.Arbitrary<Node> => {
    if (left === 0) return op;
    const inner = at(left - 1);
    const some = (minLength: number) => fc.array(inner, { minLength, maxLength: 4 });
    return fc.oneof(
      { weight: 2, arbitrary: op },
      {
        weight: 3,
        arbitrary: fc
          .tuple(some(1), about)
          .map(([members, { streamed: _, ...rest }]): Node => ({ type: "chain", members, ...rest })),
      },
      {
        weight: 2,
        arbitrary: fc.tuple(some(0), about).map(([members, rest]): Node => ({ type: "group", members, ...rest })),
      },
      {
        weight: 2,
        arbitrary: fc
          .tuple(some(0), inner, about)
          .map(([members, body, rest]): Node => ({ type: "chord", members, body, ...rest })),
      },
    );
  };
  return at(depth);
}

/** What takes a task's place ends under its id, so that nobody could revoke its end beforehand. */
function unrevoked(node: Node): Node {
  if (node.type === "task") return { ...node, fate: node.fate === "revoke" ? "expire" : node.fate };
  const members = node.members.map(unrevoked);
  return node.type === "chord" ? { ...node, members, body: unrevoked(node.body) } : { ...node, members };
}

/** What has no task has no app to be sent by. */
const hasOps = (node: Node): boolean =>
  (node.type === "group" && membersOf(node.members).length === 0) || opsOf(node).length > 0;

function numbered(node: Node & { readonly again?: boolean }, count: { next: number }): Node {
  const errback = node.errback === undefined ? undefined : count.next++;
  const callback = node.callback === undefined || endsInGroup(node) ? undefined : count.next++;
  if (node.type === "task") {
    // What does not run is not replaced either.
    const becomes = node.fate === "ok" && node.becomes ? numbered(node.becomes, count) : undefined;
    return { ...node, errback, callback, becomes, label: count.next++ };
  }
  const members = node.members.map((member) => numbered(member, count));
  const [first] = members;
  const all = node.type !== "chain" && node.again && first?.type === "task" ? [...members, first] : members;
  return node.type === "chord"
    ? { ...node, errback, callback, members: all, body: numbered(node.body, count) }
    : { ...node, errback, callback, members: all };
}

/** A broker that is hostile from some time on. */
function turning(seed: number) {
  let isHostile = false;
  return {
    turn: () => {
      isHostile = true;
    },
    wrap(broker: Broker): Broker {
      const hostile = hostileBroker(broker, seed);
      return new Proxy(broker, { get: (_, name) => Reflect.get(isHostile ? hostile : broker, name) });
    },
  };
}

/** Where a canvas runs; default: in memory. */
type Stores = Pick<TestOptions, "config" | "now">;

/** What has come of a canvas. */
interface Came {
  /** Unknown of a group that Python has sent. */
  readonly end: End | "waiting" | undefined;
  /** How often each errback was called. */
  readonly told: ReadonlyMap<number, number>;
  /** States of its tasks, in order. */
  readonly states: readonly string[];
}

/** Rows of a chord have so few members here that small canvases have several. */
const LEAF_SIZE = 2;

/** Runs canvases, and holds what comes of them to what the interpreter says. */
export function canvasRunner() {
  const app = new Lovage("random");
  app.engine.leafSize = LEAF_SIZE;
  const told = new Map<number, number>();
  const { make } = defineOps(app, (errback) => void told.set(errback, (told.get(errback) ?? 0) + 1));

  async function outcomeOf(node: Node, seed: number | undefined, options: Stores = {}): Promise<Came> {
    told.clear();
    const transport = turning(seed ?? 0);
    await using t = testApp(app, {
      ...options,
      broker: transport.wrap,
      seed: seed ?? 1,
      concurrency: seed === undefined ? 1 : 3,
    });
    for (const { fate, label } of opsOf(node)) if (fate === "revoke") await app.result(`op-${label}`).revoke();
    const result = (await make(node).applyAsync(["in"])) as { get(options: object): Promise<unknown> };
    if (seed === undefined) await t.drain();
    else {
      transport.turn();
      await t.advance({ hours: 2 });
    }
    const states = await Promise.all(opsOf(node).map(({ label }) => app.result(`op-${label}`).state()));
    try {
      return { end: { value: await result.get({ timeout: 0 }) }, told, states };
    } catch (error) {
      const { name } = error as Error;
      if (name === "TimeoutError") {
        if (waits(node)) return { end: "waiting", told, states };
        throw new Error(`it hangs: ${(error as Error).message}\n${t.log.map(({ line }) => line).join("\n")}`);
      }
      return { end: name === "TaskRevokedError" ? "revoked" : "failed", told, states };
    }
  }

  /** Runs a chord as Python sends it: its body, and what follows, are in the members' messages as Python wrote them. */
  async function foreignOutcome({ members, body, rest }: Foreign): Promise<Came> {
    told.clear();
    await using t = testApp(app);
    const ids = { next: 1 };
    const frozenBody = frozen(make(body).toJSON(), ids);
    const chain = rest.map((step) => frozen(make(step).toJSON(), ids)).reverse();
    const after = { ...frozenBody, options: { ...frozenBody.options, ...(chain.length > 0 ? { chain } : {}) } };
    for (const { fate, label } of [...members, ...[body, ...rest].flatMap(opsOf)])
      if (fate === "revoke") await app.result(`op-${label}`).revoke();
    const header = members.map(({ label }): ResultTuple => [[`op-${label}`, null], null]);
    const { engine } = app;
    const backend = await engine.backend();
    await backend.apply([
      await membersRow("header", header, { now: engine.clock.now(), ttl: undefined, codec: engine.codec }),
    ]);
    for (const [index, member] of members.entries()) await t.put(pythonMessage(make(member).toJSON(), index, after));
    await t.drain();
    const ops = [body, ...rest].flatMap(opsOf);
    const states = await Promise.all(ops.map(({ label }) => app.result(`op-${label}`).state()));
    const last = endOf(rest.at(-1) ?? body);
    if (last === undefined) return { end: undefined, told, states };
    try {
      return { end: { value: await app.result(`op-${last.label}`).get({ timeout: 0 }) }, told, states };
    } catch (error) {
      const { name } = error as Error;
      if (name === "TimeoutError") {
        if ([...members, body, ...rest].some(waits)) return { end: "waiting", told, states };
        throw new Error(`it hangs\n${t.log.map(({ line }) => line).join("\n")}`);
      }
      return { end: name === "TaskRevokedError" ? "revoked" : "failed", told, states };
    }
  }

  return {
    /** `seed`: the broker is hostile by it; none: it is well. */
    async run(node: Node, seed?: number, options?: Stores): Promise<void> {
      check(node, await outcomeOf(node, seed, options));
    },
    async runForeign(foreign: Foreign): Promise<void> {
      const { members, body, rest } = foreign;
      check({ type: "chain", members: [{ type: "chord", members, body }, ...rest] }, await foreignOutcome(foreign));
    },
  };
}

/** A chord of Python's, and the steps that follow its body. */
export interface Foreign {
  readonly members: readonly Op[];
  readonly body: Node;
  readonly rest: readonly Node[];
}

export function foreignChords(depth: number): fc.Arbitrary<Foreign> {
  const isOp = (node: Node): node is Op => node.type === "task";
  const chordOf = fc.tuple(
    fc.array(canvases(0), { minLength: 1, maxLength: 3 }),
    canvases(depth),
    fc.array(canvases(1), { maxLength: 2 }),
  );
  return chordOf.map(([members, body, rest]) => {
    const count = { next: 1 };
    const all = (nodes: readonly Node[]) => nodes.map((node) => numbered(node, count));
    return { members: all(members).filter(isOp), body: numbered(body, count), rest: all(rest) };
  });
}

/** A canvas as Python has it when it has frozen it: with all ids, and all that is set where it was set. */
function frozen(signature: SignatureData, count: { next: number }): SignatureData {
  const task_id = signature.options["task_id"] ?? `canvas-${count.next++}`;
  const inner = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map((one) => frozen(one as SignatureData, count))
      : frozen(value as SignatureData, count);
  const kwargs = Object.fromEntries(
    Object.entries(signature.kwargs).map(([name, value]) => [
      name,
      ["tasks", "header", "body"].includes(name) ? inner(value) : value,
    ]),
  );
  return { ...signature, kwargs, options: { ...signature.options, task_id } };
}

function pythonMessage(
  { task, args, kwargs, options, immutable }: SignatureData,
  index: number,
  chord: SignatureData,
): string {
  const id = String(options["task_id"]);
  const body = [
    immutable ? args : ["in", ...args],
    kwargs,
    { callbacks: options["link"] ?? null, errbacks: options["link_error"] ?? null, chain: null, chord },
  ];
  return JSON.stringify({
    body: JSON.stringify(body),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    headers: {
      lang: "py",
      task,
      id,
      root_id: id,
      parent_id: null,
      group: "header",
      group_index: index,
      retries: 0,
      eta: null,
      expires: options["expires"] ?? null,
    },
    properties: {
      correlation_id: id,
      delivery_info: { exchange: "", routing_key: "celery" },
      body_encoding: "utf-8",
      delivery_tag: id,
    },
  });
}

function check(node: Node, { end, told, states }: Came): void {
  const calls = new Set<string>();
  const expected = interpret(built(node), "in", (errback, of) => calls.add(`${errback} of ${of}`));
  const times = new Map<number, number>();
  for (const call of calls) times.set(Number.parseInt(call, 10), (times.get(Number.parseInt(call, 10)) ?? 0) + 1);
  expect(Object.fromEntries(told)).toEqual(Object.fromEntries(times));
  // Nobody waits for ever, whichever of the tasks it is for: but for what follows `Ignore`, which has no outcome to share.
  if (!waits(node)) expect(states).not.toContain("PENDING");
  if (end === undefined) return;
  // Which member's end is seen first is nobody's promise.
  if (endsInGroup(node) && typeof expected === "string") expect(typeof end).toBe("string");
  // A reader is told of a step that was revoked beforehand, too.
  else if (expected === "ignored")
    expect(opsOf(node).some(({ fate }) => fate === "revoke") ? ["waiting", "revoked"] : ["waiting"]).toContain(end);
  // What was revoked stays so, whatever comes before it.
  else expect(end).toEqual(endOf(node)?.fate === "revoke" ? "revoked" : expected);
}
