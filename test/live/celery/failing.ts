/** A chord whose header fails, in all its shapes: what its tasks end as, and how often its errback is called. */
import { setTimeout as sleep } from "node:timers/promises";
import { chain, chord, group, type Signature } from "lovage";
import type { Fleet } from "./fleet.ts";
import type { Side } from "./matrix.ts";

type Any = Signature<never, unknown, unknown>;

/** Bodies by what they are, and the names of their tasks. */
const BODIES: Readonly<Record<string, { make(task: (name: string) => Any): Any; readonly tasks: readonly string[] }>> =
  {
    "a task": { make: (task) => task("b"), tasks: ["b"] },
    "a chain": { make: (task) => chain(task("b"), task("c")) as unknown as Any, tasks: ["b", "c"] },
    "a group": { make: (task) => group([task("b"), task("c")]) as unknown as Any, tasks: ["b", "c"] },
    "a chord": { make: (task) => chord([task("b"), task("c")], task("d") as Signature) as Any, tasks: ["b", "c", "d"] },
  };

const PLACES = ["the member that fails", "the header, a group", "the body"] as const;
type Place = (typeof PLACES)[number];

/** Headers by what they are: how many members they have beside the one that fails, which an empty one has not. */
const HEADERS = {
  "two members": 1,
  "one member": 0,
  "no member": undefined,
  "more members than are counted in one row": 4,
  "a generator": 1,
} as const satisfies Record<string, number | undefined>;

/** So many members are counted in one row here, in place of 100. */
export const LEAF_SIZE = 3;

export interface Shape {
  readonly header: keyof typeof HEADERS;
  readonly body: string;
  readonly errback: Place;
}

export const BY_BODY: readonly Shape[] = Object.keys(BODIES).flatMap((body) =>
  PLACES.map((errback): Shape => ({ header: "two members", body, errback })),
);

export const BY_HEADER: readonly Shape[] = (Object.keys(HEADERS) as Shape["header"][])
  .slice(1)
  .flatMap((header) => ["a task", "a chord"].map((body): Shape => ({ header, body, errback: "the body" })));

/** Sends a shape. Resolves when its header has ended. */
export async function failing(
  fleet: Fleet,
  { header: kind, body, errback }: Shape,
  submits: Side,
  run: Side,
  id: string,
) {
  const { app } = fleet;
  const { make, tasks } = BODIES[body] as (typeof BODIES)[string];
  const told = app.signature(`${run}.told`, [], { kwargs: { marker: id }, immutable: false });
  const on = (place: Place, signature: Any): Any =>
    place === errback ? (signature.linkError(told) as Any) : signature;
  const task = (name: string): Any =>
    app.signature(`${run}.note`, []).set({ taskId: `${id}-${name}` }) as unknown as Any;
  const fails = on(
    "the member that fails",
    app.signature(`${run}.fail`, ["no", 7]).set({ taskId: `${id}-fail` }) as unknown as Any,
  );
  const others = Array.from({ length: HEADERS[kind] ?? 0 }, (_, n) => `add${n}`);
  const members = [
    ...others.map((name) => app.signature(`${run}.add`, [1, 2]).set({ taskId: `${id}-${name}` }) as unknown as Any),
    ...(HEADERS[kind] === undefined ? [] : [fails]),
  ];
  const after = on("the body", make(task)) as never;
  const listed = chord(on("the header, a group", group(members) as unknown as Any) as never, after) as Signature;
  if (submits === "ts")
    await (kind === "a generator" ? (chord(members.values() as never, after) as Signature) : listed).delay();
  else {
    const loaded = `signature(__import__("json").loads(${JSON.stringify(JSON.stringify(listed))}), app=app)`;
    const generated = `(lambda s: chord((member for member in s.tasks), s.body, app=app))(${loaded})`;
    await fleet.py(`${kind === "a generator" ? generated : loaded}.delay().id`);
  }
  const ids = tasks.map((name) => `${id}-${name}`);
  for (const member of HEADERS[kind] === undefined ? [] : [...others, "fail"])
    await app.result(`${id}-${member}`).get({ timeout: 60, interval: 0.2, propagate: false });
  /** What it has come to, as the table has it. */
  return async () => {
    const states = await Promise.all(ids.map((one) => app.result(one).state()));
    return `${tasks.map((name, at) => `${name} ${states[at]}`).join(", ")}; ${calls(fleet, id)}`;
  };
}

const calls = ({ told, pythonLog }: Fleet, id: string): number =>
  [
    ...told,
    ...[...pythonLog().matchAll(/Task py\.told\[[^\]]*\] succeeded in [^:]*: '([^']*)'/g)].map(([, by]) => by),
  ].filter((marker) => marker === id).length;

/** Waits until neither worker has had anything to do for six seconds. */
export async function idle({ log, pythonLog }: Fleet): Promise<void> {
  let before = "";
  for (let same = 0; same < 6; ) {
    await sleep(1000);
    const now = `${log.length} ${pythonLog().length}`;
    same = now === before ? same + 1 : 0;
    before = now;
  }
}
