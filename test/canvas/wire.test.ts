/** What canvases send, beside what an unmodified Celery sent of the same. */
import { afterEach, describe, expect, test } from "vitest";
import type { Broker } from "../../src/brokers/broker.ts";
import { chain, chord, group, Lovage } from "../../src/index.ts";
import { decodeEnvelope } from "../../src/protocol/envelope.ts";
import { type Message, SENT_HEADER, type SignatureData } from "../../src/protocol/message.ts";
import { type TestApp, testApp } from "../../src/testing/index.ts";
import { type RecordedMessage, recordings } from "../wire/recordings.ts";

const app = new Lovage("wire");
const add = app.task("wire.add", (x: number, y: number) => x + y);
const xsum = app.task("wire.xsum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));
const echo = app.task("wire.echo", (x: unknown) => x);
const fail = app.task("wire.fail", (...args: unknown[]): number => {
  throw new Error(String(args[0]));
});
const onError = app.task("wire.on_error", (_id: string) => {});
const replaced = app.task("wire.replaced", { bind: true }, (self, x: number): number => self.replace(add.s(x, 10)));
const parentOfGroup = app.task("wire.parent_of_group", async (gid: string, ids: string[]) => {
  await group(ids.map((id, n) => add.s(n, n).set({ taskId: id })))
    .set({ taskId: gid })
    .delay();
  return "sent";
});

const ACCEPT = { accept: ["json"] };

type Id = (n: number) => string;

/** By the recording's name: the same in TypeScript. */
const CASES: Readonly<Record<string, (i: Id) => Promise<unknown>>> = {
  chord: (i) =>
    chord([at(1, 1, i(1)), at(2, 2, i(2))], xsum.s().set({ taskId: i(3) }))
      .set({ taskId: i(9) })
      .delay(),
  "chord-chain-body": (i) =>
    chord([at(1, 1, i(1)), at(2, 2, i(2))], chain(xsum.s().set({ taskId: i(3) }), add.s(5).set({ taskId: i(4) })))
      .set({ taskId: i(9) })
      .delay(),
  "chord-chain-in-header": (i) =>
    chord([chain(at(1, 1, i(1)), add.s(2).set({ taskId: i(2) })), at(3, 3, i(3))], xsum.s().set({ taskId: i(4) }))
      .set({ taskId: i(9) })
      .delay(),
  "chord-empty-header": (i) =>
    chord([], xsum.s().set({ taskId: i(3) }))
      .set({ taskId: i(9) })
      .delay(),
  "chord-error": (i) =>
    chord(
      [at(1, 1, i(1)), at(2, 2, i(2))],
      xsum
        .s()
        .set({ taskId: i(3) })
        .linkError(onError.s()),
    )
      .set({ taskId: i(9) })
      .delay(),
  group: (i) =>
    group(at(1, 1, i(1)), at(2, 2, i(2)))
      .set({ taskId: i(9) })
      .delay(),
  "group-link-error": (i) =>
    group(at(1, 1, i(1)), at(2, 2, i(2)))
      .set({ taskId: i(9) })
      .linkError(onError.s())
      .delay(),
  "group-of-chains": (i) =>
    group(chain(at(1, 1, i(1)), add.s(2).set({ taskId: i(2) })), at(3, 3, i(3)))
      .set({ taskId: i(9) })
      .delay(),
  "group-with-args": (i) =>
    group(add.s(1).set({ taskId: i(1) }), add.si(2, 2).set({ taskId: i(2) }))
      .set({ taskId: i(9) })
      .applyAsync([10]),
  "group-then-step": (i) =>
    group(at(1, 1, i(1)), at(2, 2, i(2)))
      .pipe(xsum.s().set({ taskId: i(3) }))
      .pipe(add.s(100).set({ taskId: i(4) }))
      .delay(),
  chain: (i) => chain(at(1, 2, i(1)), add.s(4).set({ taskId: i(2) }), add.s(8).set({ taskId: i(3) })).delay(),
  "chain-of-chain": (i) =>
    chain(
      at(1, 2, i(1)),
      chain(add.s(4).set({ taskId: i(2) }), add.s(8).set({ taskId: i(3) })),
      add.s(16).set({ taskId: i(4) }),
    ).delay(),
  "chain-step-options": (i) =>
    chain(
      at(1, 1, i(1)),
      add.s(2).set({ taskId: i(2), queue: "other", countdown: 5, priority: 3 }),
      add.s(3).set({ taskId: i(3), eta: new Date("2030-01-02T03:04:05.678Z"), expires: 60, timeLimit: 9 }),
    ).delay(),
  "chain-with-link": (i) => chain(at(1, 2, i(1)), add.s(4).set({ taskId: i(2) })).applyAsync([], { link: echo.s() }),
  chunks: (i) =>
    add
      .chunks(
        [
          [1, 1],
          [2, 2],
          [3, 3],
        ],
        2,
      )
      .set({ taskId: i(9) })
      .delay(),
  map: (i) =>
    echo
      .map([1, "two", null])
      .set({ taskId: i(1) })
      .delay(),
  "stamped-chain": (i) =>
    chain(at(1, 2, i(1)), add.s(4).set({ taskId: i(2) }))
      .stamp({ tenant: "t1", trace: ["a", "b"] })
      .delay(),
  immutable: (i) => chain(at(1, 2, i(1)), add.si(4, 4).set({ taskId: i(2) })).delay(),
  "worker-chain": (i) => chain(at(1, 2, i(1)), add.s(4).set({ taskId: i(2) }), add.s(8).set({ taskId: i(3) })).delay(),
  "worker-chain-to-group": (i) =>
    chain(
      at(1, 2, i(1)),
      group(add.s(4).set({ taskId: i(2) }), add.s(8).set({ taskId: i(3) })),
      xsum.s().set({ taskId: i(4) }),
    ).delay(),
  "worker-chord-body": (i) =>
    chord([at(1, 1, i(1)), at(2, 2, i(2))], xsum.s().set({ taskId: i(3) }))
      .set({ taskId: i(9) })
      .delay(),
  "worker-chord-error": (i) =>
    chord(
      [at(1, 1, i(1)), fail.s("bad", 1).set({ taskId: i(2) })],
      xsum
        .s()
        .set({ taskId: i(3) })
        .linkError(onError.s()),
    )
      .set({ taskId: i(9) })
      .delay(),
  "worker-link": (i) => add.applyAsync([2, 2], { taskId: i(1), link: add.s(8) }),
  "worker-link-two": (i) => add.applyAsync([2, 2], { taskId: i(1), link: [add.s(8), add.s(9), echo.si("x")] }),
  "worker-link-error": (i) => fail.applyAsync(["bad"], { taskId: i(1), linkError: onError.s() }),
  "worker-replace": (i) => replaced.applyAsync([5], { taskId: i(1), link: echo.s() }),
  "worker-child-group": (i) => parentOfGroup.applyAsync([i(9), [i(2), i(3)]], { taskId: i(1) }),
};

const at = (x: number, y: number, taskId: string) => add.s(x, y).set({ taskId });

let t: TestApp | undefined;
afterEach(() => t?.close());

describe("a canvas is sent as Celery sends it", () => {
  const known = new Map(recordings<RecordedMessage>("messages"));

  test.each(Object.keys(CASES))("%s", async (name) => {
    const recording = known.get(name) as RecordedMessage;
    const theirs = await Promise.all(
      [recording, ...(recording.others ?? [])].map(({ sqsBody }) => decodeEnvelope(sqsBody, ACCEPT)),
    );
    const prefix = /[0-9a-f]{8}-0000-4000-8000-/.exec(JSON.stringify(theirs))?.[0] ?? "";
    const sent: string[] = [];
    t = testApp(app, { broker: (broker) => observed(broker, sent) });
    await (CASES[name] as (i: Id) => Promise<unknown>)((n) => prefix + String(n).padStart(12, "0"));
    if (name.startsWith("worker-")) await t.drain();
    const ours = await Promise.all(sent.map((body) => decodeEnvelope(body, ACCEPT)));
    expect(shape(ours, prefix)).toEqual(shape(theirs, prefix));
  });
});

function observed(broker: Broker, sent: string[]): Broker {
  return {
    ...broker,
    send(entries) {
      sent.push(...entries.map(({ body }) => body));
      return broker.send(entries);
    },
  };
}

/** What matters of messages. Ids that nobody fixed are numbered as they appear. */
function shape(messages: readonly Message[], prefix: string): unknown {
  const numbers = new Map<string, string>();
  const text = JSON.stringify(messages.map(facts)).replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, (id) => {
    if (id.startsWith(prefix)) return id;
    if (!numbers.has(id)) numbers.set(id, `#${numbers.size}`);
    return numbers.get(id) as string;
  });
  return JSON.parse(text);
}

function facts(message: Message) {
  const {
    task,
    id,
    args,
    kwargs,
    callbacks,
    errbacks,
    chain,
    chord,
    group,
    groupIndex,
    rootId,
    parentId,
    replacedTaskNesting,
    stamps,
  } = message;
  const plain = (list: readonly SignatureData[]) => list.map(bare);
  return {
    task,
    id,
    args: args.map(bareIfSignature),
    kwargs: Object.fromEntries(Object.entries(kwargs).map(([name, value]) => [name, bareIfSignature(value)])),
    callbacks: plain(callbacks),
    errbacks: plain(errbacks),
    chain: plain(chain),
    chord: chord && bare(chord),
    group,
    groupIndex,
    rootId,
    parentId,
    replacedTaskNesting,
    stamps,
  };
}

const bareIfSignature = (value: unknown): unknown =>
  typeof value === "object" && value !== null && "subtask_type" in value ? bare(value as SignatureData) : value;

/** Options that say nothing to Celery are left out: nulls, an empty rest, where Celery's own replies would go, and our date. */
function bare(signature: SignatureData): unknown {
  const options = Object.entries(signature.options).flatMap(([name, value]) => {
    if (name === "reply_to" || value === null || (name === "chain" && (value as unknown[]).length === 0)) return [];
    if (name === "headers" && Object.keys(value as object).every((header) => header === SENT_HEADER)) return [];
    if (value instanceof Date) return [[name, value.toISOString()]];
    if (name === "link" || name === "link_error" || name === "chain")
      return [[name, (value as SignatureData[]).map(bare)]];
    return [[name, name === "chord" ? bare(value as SignatureData) : value]];
  });
  const kwargs = Object.entries(signature.kwargs).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.map(bareIfSignature) : bareIfSignature(value),
  ]);
  return { ...signature, options: Object.fromEntries(options), kwargs: Object.fromEntries(kwargs) };
}
