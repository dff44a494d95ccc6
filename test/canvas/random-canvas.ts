/** Random canvases, and what must come of them by Celery's rules. */
import fc from "fast-check";
import { expect } from "vitest";
import type { Broker } from "../../src/brokers/broker.ts";
import { chain, chord, group, Lovage, type Signature } from "../../src/index.ts";
import { hostileBroker, type TestOptions, testApp } from "../../src/testing/index.ts";

/** How a task behaves: it may ask for attempts, fail, or be revoked before it is sent. */
export interface Op {
  readonly type: "task";
  readonly label: number;
  readonly fate: "ok" | "fail" | "revoke";
  readonly retries: number;
  readonly immutable: boolean;
}

export type Node =
  | Op
  | { readonly type: "chain" | "group"; readonly members: readonly Node[] }
  | { readonly type: "chord"; readonly members: readonly Node[]; readonly body: Node };

/** What a canvas comes to: a value, or how it ends without one. */
export type End = { readonly value: unknown } | "failed" | "revoked";

/** The whole of Celery's rules, by the values alone. */
const interpret = (node: Node, input: unknown): End => run(stepsOf(node), input);

function run([step, ...rest]: readonly Node[], input: unknown): End {
  if (step === undefined) return { value: input };
  if (step.type === "task") {
    if (step.fate !== "ok") return step.fate === "fail" ? "failed" : "revoked";
    return run(rest, [step.label, step.immutable ? null : input]);
  }
  const results = joined(membersOf(step.members).map((member) => interpret(member, input)));
  // A group that is followed by anything is a chord's header, and what follows a chord follows its body.
  const after = step.type === "chord" ? stepsOf(step.body) : [];
  const then = after.length === 1 && rest.length > 0 ? [...unrolled(after[0] as Node), ...rest] : [...after, ...rest];
  if (typeof results === "string") return step.type === "chord" || then.length > 0 ? "failed" : results;
  return run(then, results.value);
}

function joined(ends: readonly End[]): End {
  const lost = ends.find((end) => typeof end === "string");
  return lost ?? { value: ends.map((end) => (end as { readonly value: unknown }).value) };
}

/** Chains in chains are one; a group of one in a chain is its member, and a group of none is nothing. */
function stepsOf(node: Node): readonly Node[] {
  if (node.type !== "chain") return [node];
  return node.members.flatMap(stepsOf).flatMap(unrolled);
}

function unrolled(step: Node): readonly Node[] {
  const members = step.type === "group" ? membersOf(step.members) : [];
  return step.type !== "group" || members.length > 1 ? [step] : members.flatMap(stepsOf);
}

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

const opsOf = (node: Node): readonly Op[] =>
  node.type === "task" ? [node] : [...node.members.flatMap(opsOf), ...(node.type === "chord" ? opsOf(node.body) : [])];

/** Tasks that can be anything a canvas asks of them. */
export function defineOps(app: Lovage) {
  const op = app.task("op", { bind: true }, (self, input: unknown, label: number, fate: string, retries: number) => {
    if (self.request.retries < retries) self.retry({ countdown: 0, maxRetries: null });
    if (fate === "fail") throw new RangeError(`op ${label}`);
    return [label, input];
  });
  const make = (node: Node): Signature<never, unknown, unknown> => {
    switch (node.type) {
      case "task": {
        const { label, fate, retries } = node;
        const made = node.immutable ? op.si(null, label, fate, retries) : op.s(label, fate, retries);
        return made.set({ taskId: `op-${label}` }) as Signature<never, unknown, unknown>;
      }
      // What fits what is the matter of the types' own tests.
      case "chain":
        return chain(...(node.members.map(make) as Signature[])) as unknown as Signature<never, unknown, unknown>;
      case "group":
        return group(node.members.map(make)) as unknown as Signature<never, unknown, unknown>;
      case "chord":
        return chord(node.members.map(make) as Signature[], make(node.body) as Signature) as Signature<
          never,
          unknown,
          unknown
        >;
      default:
        return node satisfies never;
    }
  };
  return { op, make };
}

/** Canvases of a depth, each task with a number of its own. */
export function canvases(depth: number): fc.Arbitrary<Node> {
  const op = fc.record({
    type: fc.constant("task" as const),
    label: fc.constant(0),
    fate: fc.oneof(
      { weight: 14, arbitrary: fc.constant("ok" as const) },
      { weight: 1, arbitrary: fc.constant("fail" as const) },
      { weight: 1, arbitrary: fc.constant("revoke" as const) },
    ),
    retries: fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(1, 2) }),
    immutable: fc.nat(7).map((n) => n === 0),
  });
  const at = (left: number): fc.Arbitrary<Node> => {
    if (left === 0) return op;
    const inner = at(left - 1);
    const some = (minLength: number) => fc.array(inner, { minLength, maxLength: 3 });
    return fc.oneof(
      { weight: 2, arbitrary: op },
      { weight: 3, arbitrary: some(1).map((members): Node => ({ type: "chain", members })) },
      { weight: 2, arbitrary: some(0).map((members): Node => ({ type: "group", members })) },
      {
        weight: 2,
        arbitrary: fc.tuple(some(0), inner).map(([members, body]): Node => ({ type: "chord", members, body })),
      },
    );
  };
  return at(depth)
    .map((node) => numbered(node, { next: 1 }))
    .filter((node) => isWhole(node));
}

function numbered(node: Node, count: { next: number }): Node {
  if (node.type === "task") return { ...node, label: count.next++ };
  const members = node.members.map((member) => numbered(member, count));
  return node.type === "chord" ? { ...node, members, body: numbered(node.body, count) } : { ...node, members };
}

/** Chains need a step, and what a chord ends in must be something. */
function isWhole(node: Node): boolean {
  if (node.type === "task") return true;
  if (node.type === "chain" && stepsOf(node).length === 0) return false;
  if (node.type === "chord" && (!isWhole(node.body) || isNothing(node.body))) return false;
  return node.members.every(isWhole);
}

const isNothing = (node: Node): boolean =>
  (node.type === "group" && membersOf(node.members).length === 0) ||
  (node.type === "chain" && stepsOf(node).some(isNothing));

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

/** Runs canvases, and holds what comes of them to what the interpreter says. */
export function canvasRunner() {
  const app = new Lovage("random");
  const { make } = defineOps(app);
  const failures: string[] = [];
  const told = app.task("told", (id: string) => void failures.push(id));

  async function outcomeOf(
    node: Node,
    seed: number | undefined,
    options: Stores = {},
  ): Promise<{ end: End; told: number }> {
    failures.length = 0;
    const transport = turning(seed ?? 0);
    await using t = testApp(app, {
      ...options,
      broker: transport.wrap,
      seed: seed ?? 1,
      concurrency: seed === undefined ? 1 : 3,
    });
    for (const { fate, label } of opsOf(node)) if (fate === "revoke") await app.result(`op-${label}`).revoke();
    const result = (await make(node).linkError(told.s()).applyAsync(["in"])) as {
      get(options: object): Promise<unknown>;
    };
    if (seed === undefined) await t.drain();
    else {
      transport.turn();
      await t.advance({ hours: 2 });
    }
    try {
      return { end: { value: await result.get({ timeout: 0 }) }, told: failures.length };
    } catch (error) {
      const { name } = error as Error;
      if (name === "TimeoutError")
        throw new Error(`it hangs: ${(error as Error).message}\n${t.log.map(({ line }) => line).join("\n")}`);
      return { end: name === "TaskRevokedError" ? "revoked" : "failed", told: failures.length };
    }
  }

  return {
    /** `seed`: the broker is hostile by it; none: it is well. */
    async run(node: Node, seed?: number, options?: Stores): Promise<void> {
      check(node, await outcomeOf(node, seed, options));
    },
  };
}

function check(node: Node, { end, told: calls }: { end: End; told: number }): void {
  const expected = interpret(node, "in");
  if (endsInGroup(node) && typeof expected === "string") {
    // Which member's end is seen first is nobody's promise.
    expect(typeof end).toBe("string");
    return;
  }
  // What was revoked stays so, whatever comes before it.
  expect(end).toEqual(endOf(node)?.fate === "revoke" ? "revoked" : expected);
  if (!endsInGroup(node)) expect(calls).toBe(expected === "failed" ? 1 : 0);
}
