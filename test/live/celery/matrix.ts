/**
 * The same work submitted from Python and from TypeScript: every case says it in both languages and what must come of it.
 * `run` is the side that runs the first task, `other` the one that has a part in it too.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type AsyncResult, chain, chord, group, type Lovage, type TaskError, type TaskRef, type Task } from "lovage";
import { beatEntries, sendSlot } from "../../../src/workers/beat.ts";
import type { Fleet } from "./fleet.ts";

export type Side = "py" | "ts";

export interface Case {
  /** Evaluated in Python; see client.py for what it finds there. */
  python(run: Side, other: Side, id: string): string;
  lovage(app: Lovage, run: Side, other: Side, id: string): Promise<unknown>;
  expected(run: Side, other: Side): unknown;
}

const WAIT = { timeout: 60, interval: 0.05 };

/** A task by its name, wherever it runs. Of what it takes and gives nothing is known here. */
const ref = (app: Lovage, name: string): TaskRef<Task<never[], never>> => app.taskRef<Task<never[], never>>(name);
const s = (app: Lovage, name: string, ...args: readonly unknown[]) => app.signature(name, args);

/** What a reader has in hand, as `outcome` in client.py. Of a chain it asks the last step alone, not those before it. */
async function outcome(app: Lovage, { id }: AsyncResult): Promise<unknown> {
  const result = app.result(id);
  try {
    return { state: "SUCCESS", result: await result.get(WAIT) };
  } catch (error) {
    const { name: type, excMessage, message } = error as TaskError;
    return { state: await result.state(), type, args: excMessage ?? [message] };
  }
}

const failure = (run: Side) =>
  run === "py"
    ? { state: "FAILURE", type: "ValueError", args: ["no", 7] }
    : { state: "FAILURE", type: "Refused", args: ["no"] };

/** Takes packages of Python's that only the newer environment has. */
export const NEWER_COMPRESSION = "messages compressed in newer ways";

export const CASES: Readonly<Record<string, Case>> = {
  "a result, with a keyword argument": {
    python: (run) => `got(s("${run}.add", 1, y=2).delay())`,
    lovage: async (app, run) => (await app.sendTask(`${run}.add`, [1], { kwargs: { y: 2 } })).get(WAIT),
    expected: () => 3,
  },
  "values that JSON has no form for": {
    python: (run) =>
      `got(s("${run}.echo", decimal.Decimal("1.10"), uuid.UUID(int=255), b"\\xff\\x00", datetime.date(2026, 8, 20), 2**70, ` +
      `datetime.datetime(2026, 8, 20, 1, 2, 3, 4, tzinfo=datetime.timezone.utc)).delay())["args"] == ` +
      `[decimal.Decimal("1.10"), uuid.UUID(int=255), b"\\xff\\x00", datetime.date(2026, 8, 20), 2**70, ` +
      `datetime.datetime(2026, 8, 20, 1, 2, 3, 4, tzinfo=datetime.timezone.utc)]`,
    async lovage(app, run) {
      const sent = [
        new Date(Date.UTC(2026, 7, 20)),
        new Uint8Array([255, 0]),
        2n ** 70n,
        Number.NaN,
        { __proto__: null, constructor: 1 },
      ];
      const { args } = (await (await app.sendTask(`${run}.echo`, sent)).get(WAIT)) as { args: unknown[] };
      return (
        JSON.stringify(args.map(String)) ===
        JSON.stringify(
          sent.map((value) =>
            typeof value === "object" && "constructor" in value && value.constructor === 1
              ? "[object Object]"
              : String(value),
          ),
        )
      );
    },
    expected: () => true,
  },
  "a failure": {
    python: (run) => `outcome(s("${run}.fail", "no", 7).delay())`,
    lovage: async (app, run) => outcome(app, await app.sendTask(`${run}.fail`, ["no", 7])),
    expected: failure,
  },
  "retries, headers and stamps": {
    python: (run) => `got(s("${run}.again", 2).stamp(tenant="t").apply_async(headers={"x": 1}))`,
    lovage: async (app, run) =>
      (
        await s(app, `${run}.again`, 2)
          .stamp({ tenant: "t" })
          .applyAsync([], { headers: { x: 1 } })
      ).get(WAIT),
    expected: () => [2, { x: 1 }, { tenant: "t" }],
  },
  "retries that are used up": {
    python: (run) => `outcome(s("${run}.over").delay())`,
    lovage: async (app, run) => outcome(app, await app.sendTask(`${run}.over`)),
    expected: (run) =>
      run === "py"
        ? { state: "FAILURE", type: "ValueError", args: ["still", 1] }
        : { state: "FAILURE", type: "RangeError", args: ["still 1"] },
  },
  "an eta": {
    python: (run) =>
      `(lambda sent: [got(s("${run}.add", 1, 2).apply_async(countdown=1)), time.monotonic() - sent >= 0.95])(time.monotonic())`,
    async lovage(app, run) {
      const sent = performance.now();
      const result = await app.sendTask(`${run}.add`, [1, 2], { countdown: 1 });
      return [await result.get(WAIT), performance.now() - sent >= 950];
    },
    expected: () => [3, true],
  },
  "a task that has expired": {
    python: (run) => `outcome(s("${run}.add", 1, 2).apply_async(expires=datetime.datetime(2026, 1, 1)))`,
    lovage: async (app, run) =>
      outcome(app, await app.sendTask(`${run}.add`, [1, 2], { expires: new Date(Date.UTC(2026, 0, 1)) })),
    expected: () => ({ state: "REVOKED", type: "TaskRevokedError", args: ["expired"] }),
  },
  "a chain": {
    python: (run, other) => `got(chain(s("${run}.add", 1, 1), s("${other}.add", 10), s("${run}.add", 100)).delay())`,
    lovage: async (app, run, other) =>
      (await chain(s(app, `${run}.add`, 1, 1), s(app, `${other}.add`, 10), s(app, `${run}.add`, 100)).delay()).get(
        WAIT,
      ),
    expected: () => 112,
  },
  "a chain whose first task fails": {
    python: (run, other) =>
      `outcome(chain(s("${run}.fail", "no", 7), s("${other}.add", 10), s("${run}.add", 100)).delay())`,
    lovage: async (app, run, other) =>
      outcome(
        app,
        await chain(s(app, `${run}.fail`, "no", 7), s(app, `${other}.add`, 10), s(app, `${run}.add`, 100)).delay(),
      ),
    expected: failure,
  },
  "a group": {
    python: (run, other) => `got(group(s("${run}.add", 1, 1), s("${other}.add", 2, 2)).delay())`,
    lovage: async (app, run, other) =>
      (await group(s(app, `${run}.add`, 1, 1), s(app, `${other}.add`, 2, 2)).delay()).get(WAIT),
    expected: () => [2, 4],
  },
  "a chord with members of both": {
    python: (run, other) =>
      `got(chord([s("${run}.add", 1, 1), s("${other}.add", 2, 2), s("${run}.add", 3, 3)])(s("${run}.total")))`,
    lovage: async (app, run, other) =>
      (
        await chord(
          [s(app, `${run}.add`, 1, 1), s(app, `${other}.add`, 2, 2), s(app, `${run}.add`, 3, 3)],
          s(app, `${run}.total`),
        ).delay()
      ).get(WAIT),
    expected: () => 12,
  },
  "a chord whose body is on the other side": {
    python: (run, other) => `got(chord([s("${run}.add", 1, 1), s("${run}.add", 2, 2)])(s("${other}.total")))`,
    lovage: async (app, run, other) =>
      (await chord([s(app, `${run}.add`, 1, 1), s(app, `${run}.add`, 2, 2)], s(app, `${other}.total`)).delay()).get(
        WAIT,
      ),
    expected: () => 6,
  },
  "a chord with a member that fails, and an errback of its body": {
    python: (run, other, id) =>
      `(lambda r: [outcome(r)["type"], got(AsyncResult("${id}", app=app)) == [r.id]])` +
      `(chord([s("${run}.fail", "no", 7), s("${other}.add", 2, 2)])(s("${other}.total").on_error(s("${run}.note").set(task_id="${id}"))))`,
    async lovage(app, run, other, id) {
      const body = s(app, `${other}.total`).linkError(s(app, `${run}.note`).set({ taskId: id }));
      const result = await chord([s(app, `${run}.fail`, "no", 7), s(app, `${other}.add`, 2, 2)], body).delay();
      const { type } = (await outcome(app, result)) as { type: string };
      const noted = (await app.result<unknown[]>(id).get(WAIT)) as unknown[];
      return [type, noted.length === 1 && noted[0] === result.id];
    },
    expected: () => ["ChordError", true],
  },
  "a chord among the members of a chord": {
    python: (run, other) =>
      `got(chord([chord([s("${run}.add", 1, 1), s("${other}.add", 2, 2)], s("${other}.total")), s("${run}.add", 3, 3)])(s("${run}.total")))`,
    lovage: async (app, run, other) =>
      (
        await chord(
          [
            chord([s(app, `${run}.add`, 1, 1), s(app, `${other}.add`, 2, 2)], s(app, `${other}.total`)),
            s(app, `${run}.add`, 3, 3),
          ],
          s(app, `${run}.total`),
        ).delay()
      ).get(WAIT),
    expected: () => 12,
  },
  "chains among the members of a chord": {
    python: (run, other) =>
      `got(chord([chain(s("${run}.add", 1, 1), s("${other}.add", 10)), chain(s("${other}.add", 2, 2), s("${run}.add", 20))])(s("${other}.total")))`,
    lovage: async (app, run, other) =>
      (
        await chord(
          [
            chain(s(app, `${run}.add`, 1, 1), s(app, `${other}.add`, 10)),
            chain(s(app, `${other}.add`, 2, 2), s(app, `${run}.add`, 20)),
          ],
          s(app, `${other}.total`),
        ).delay()
      ).get(WAIT),
    expected: () => 36,
  },
  "a chain with a group in its middle": {
    python: (run, other) =>
      `got(chain(s("${run}.add", 1, 1), group(s("${run}.add", 10), s("${other}.add", 20)), s("${other}.total"), s("${run}.add", 100)).delay())`,
    lovage: async (app, run, other) =>
      (
        await chain(
          s(app, `${run}.add`, 1, 1),
          group(s(app, `${run}.add`, 10), s(app, `${other}.add`, 20)),
          s(app, `${other}.total`),
          s(app, `${run}.add`, 100),
        ).delay()
      ).get(WAIT),
    expected: () => 134,
  },
  "a link": {
    python: (run, other, id) =>
      `[got(s("${run}.add", 1, 2).apply_async(link=s("${other}.note", "!").set(task_id="${id}"))), got(AsyncResult("${id}", app=app))]`,
    async lovage(app, run, other, id) {
      const result = await s(app, `${run}.add`, 1, 2)
        .link(s(app, `${other}.note`, "!").set({ taskId: id }))
        .delay();
      return [await result.get(WAIT), await app.result(id).get(WAIT)];
    },
    expected: () => [3, [3, "!"]],
  },
  "two links": {
    python: (run, other, id) =>
      `[got(s("${run}.add", 1, 2).apply_async(link=[s("${other}.note", "a").set(task_id="${id}-a"), s("${run}.note", "b").set(task_id="${id}-b")])), ` +
      `got(AsyncResult("${id}-a", app=app)), got(AsyncResult("${id}-b", app=app))]`,
    async lovage(app, run, other, id) {
      const links = [
        s(app, `${other}.note`, "a").set({ taskId: `${id}-a` }),
        s(app, `${run}.note`, "b").set({ taskId: `${id}-b` }),
      ];
      const result = await s(app, `${run}.add`, 1, 2)
        .link(...links)
        .delay();
      return [await result.get(WAIT), await app.result(`${id}-a`).get(WAIT), await app.result(`${id}-b`).get(WAIT)];
    },
    expected: () => [3, [3, "a"], [3, "b"]],
  },
  "an errback": {
    python: (run, other, id) =>
      `(lambda r: [outcome(r)["state"], got(AsyncResult("${id}", app=app)) == [r.id, "!"]])` +
      `(s("${run}.fail", "no").apply_async(link_error=s("${other}.note", "!").set(task_id="${id}")))`,
    async lovage(app, run, other, id) {
      const result = await s(app, `${run}.fail`, "no")
        .linkError(s(app, `${other}.note`, "!").set({ taskId: id }))
        .delay();
      const { state } = (await outcome(app, result)) as { state: string };
      const [failed, mark] = (await app.result(id).get(WAIT)) as unknown[];
      return [state, failed === result.id && mark === "!"];
    },
    expected: () => ["FAILURE", true],
  },
  "a task sent by a task": {
    python: (run, other) =>
      `(lambda r: [got(AsyncResult(got(r), app=app)), r.children[0].id == got(r)])(s("${run}.nested", "${other}.add", 1, 2).delay())`,
    async lovage(app, run, other) {
      const result = await app.sendTask<string>(`${run}.nested`, [`${other}.add`, 1, 2]);
      const id = await result.get(WAIT);
      return [await app.result(id).get(WAIT), ((await result.children()) ?? [])[0]?.id === id];
    },
    expected: () => [3, true],
  },
  "a task that another takes the place of": {
    python: (run, other) => `got(chain(s("${run}.become", s("${other}.add", 1, 2)), s("${run}.add", 10)).delay())`,
    lovage: async (app, run, other) =>
      (await chain(s(app, `${run}.become`, s(app, `${other}.add`, 1, 2)), s(app, `${run}.add`, 10)).delay()).get(WAIT),
    expected: () => 13,
  },
  "a member of a chord that another takes the place of": {
    python: (run, other) =>
      `got(chord([s("${run}.become", s("${other}.add", 1, 2)), s("${other}.add", 3, 4)])(s("${run}.total")))`,
    lovage: async (app, run, other) =>
      (
        await chord(
          [s(app, `${run}.become`, s(app, `${other}.add`, 1, 2)), s(app, `${other}.add`, 3, 4)],
          s(app, `${run}.total`),
        ).delay()
      ).get(WAIT),
    expected: () => 10,
  },
  "a task that a group takes the place of": {
    python: (run, other) => `got(s("${run}.become", group(s("${run}.add", 1, 1), s("${other}.add", 2, 2))).delay())`,
    lovage: async (app, run, other) =>
      (await s(app, `${run}.become`, group(s(app, `${run}.add`, 1, 1), s(app, `${other}.add`, 2, 2))).delay()).get(
        WAIT,
      ),
    expected: () => [2, 4],
  },
  "a task that a chain takes the place of": {
    python: (run, other) => `got(s("${run}.become", chain(s("${other}.add", 1, 1), s("${run}.add", 2))).delay())`,
    lovage: async (app, run, other) =>
      (await s(app, `${run}.become`, chain(s(app, `${other}.add`, 1, 1), s(app, `${run}.add`, 2))).delay()).get(WAIT),
    expected: () => 4,
  },
  map: {
    python: (run) => `got(xmap(s("${run}.total"), [[1, 2], [3]], app=app).delay())`,
    lovage: async (app, run) =>
      (
        await ref(app, `${run}.total`)
          .map([[1, 2], [3]] as never[])
          .delay()
      ).get(WAIT),
    expected: () => [3, 3],
  },
  starmap: {
    python: (run) => `got(xstarmap(s("${run}.add"), [[1, 2], [3, 4]], app=app).delay())`,
    lovage: async (app, run) =>
      (
        await ref(app, `${run}.add`)
          .starmap([
            [1, 2],
            [3, 4],
          ] as never[])
          .delay()
      ).get(WAIT),
    expected: () => [3, 7],
  },
  // Unlike those of map and starmap, Python's messages of chunks take the inner task's route from no signature.
  chunks: {
    python: (run) =>
      `got(chunks(s("${run}.add"), [[1, 2], [3, 4], [5, 6]], 2, app=app).apply_async(queue="${run === "py" ? "python" : "lovage"}"))`,
    lovage: async (app, run) =>
      (
        await ref(app, `${run}.add`)
          .chunks(
            [
              [1, 2],
              [3, 4],
              [5, 6],
            ] as never[],
            2,
          )
          .delay()
      ).get(WAIT),
    expected: () => [[3, 7], [11]],
  },
  "a result that is ignored": {
    python: (run, other, id) =>
      `(lambda r: [got(AsyncResult("${id}", app=app)), r.state])(s("${run}.add", 1, 2).apply_async(ignore_result=True, link=s("${other}.note").set(task_id="${id}")))`,
    async lovage(app, run, other, id) {
      const result = await s(app, `${run}.add`, 1, 2)
        .link(s(app, `${other}.note`).set({ taskId: id }))
        .applyAsync([], { ignoreResult: true });
      return [await app.result(id).get(WAIT), await result.state()];
    },
    expected: () => [[3], "PENDING"],
  },
  "a state of the user's own": {
    python: (run) => `until(s("${run}.progress", 50).delay(), "PROGRESS")`,
    async lovage(app, run) {
      const result = await app.sendTask(`${run}.progress`, [50]);
      while ((await result.state()) !== "PROGRESS") await sleep(50);
      return result.info();
    },
    expected: () => ({ done: 50 }),
  },
  "a compressed message": {
    python: (run) => `got(s("${run}.add", 1, 2).apply_async(compression="gzip"))`,
    lovage: async (app, run) => (await app.sendTask(`${run}.add`, [1, 2], { compression: "gzip" })).get(WAIT),
    expected: () => 3,
  },
  [NEWER_COMPRESSION]: {
    python: (run) => `[got(s("${run}.add", 1, 2).apply_async(compression=c)) for c in ("zstd", "brotli")]`,
    lovage: (app, run) =>
      Promise.all(
        ["zstd", "brotli"].map(async (compression) =>
          (await app.sendTask(`${run}.add`, [1, 2], { compression })).get(WAIT),
        ),
      ),
    expected: () => [3, 3],
  },
  "an entry of beat": {
    python: (run, _, id) => `got(beat("${run}.add", (1, 2), {"task_id": "${id}"}))`,
    async lovage(app, run, _, id) {
      const entry = beatEntries(app).find(({ name }) => name === run);
      if (entry === undefined) throw new Error("there is no such entry");
      await sendSlot(app, entry, app.engine.clock.now(), id);
      return app.result(id).get(WAIT);
    },
    expected: () => 3,
  },
};

/** Has one side submit a case that the other, or the same, runs. */
export function submit(fleet: Fleet, { python, lovage }: Case, submits: Side, run: Side, id: string): Promise<unknown> {
  const other = run === "py" ? "ts" : "py";
  return submits === "py" ? fleet.py(python(run, other, id)) : lovage(fleet.app, run, other, id);
}
