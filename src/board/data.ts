/** What the board shows, and what it can do: asked of the app here and nowhere else, for its pages, its API and `lovage mcp`. */
import type { StandardJSONSchemaV1 } from "@standard-schema/spec";
import type { Lovage } from "../app.ts";
import { type EntryPlan, planOf } from "../beat/plan.ts";
import type { ScheduleEntry } from "../beat/schedule.ts";
import { besideDeclared } from "../beat/store.ts";
import { brief, maskUrl, toJson } from "../brief.ts";
import { READABLE } from "../brokers/dead-letters.ts";
import { elapsedOf } from "../clock.ts";
import type { LettersOf, ShownLetter } from "../control/control.ts";
import type { ByWorker, FunctionState, Inspect, QueueState } from "../control/inspect.ts";
import type { TaskInHand, WorkerInfo } from "../control/rows.ts";
import { ImproperlyConfigured } from "../errors.ts";
import type { JournalEntry } from "../journal/entry.ts";
import { checkFind, type FailuresQuery, type JournalFilter } from "../journal/query.ts";
import type { FailureGroup, SparkedGroup } from "../journal/failures.ts";
import type { Workflow } from "../journal/workflow.ts";
import { decodeEnvelope } from "../protocol/envelope.ts";
import type { Message } from "../protocol/message.ts";
import { payloadText } from "../protocol/serializers.ts";
import { parseTime } from "../protocol/time.ts";
import { type Row, taskKey } from "../results/backend.ts";
import { readKept } from "../results/kept.ts";
import { readWorkflow } from "../canvas/workflow.ts";
import { FAILURE, holdsException, PENDING } from "../states.ts";
import { beatEntries } from "../workers/beat.ts";
import { createActions, type Doing, isOpen } from "./actions.ts";
import { createBreather, createFeed, type Kept, kept, type Part, type Patience, problemOf, type Told } from "./live.ts";

export type { Part, Patience, Told };
export type { SparkedGroup };

/** In milliseconds. */
export const SPANS = { hour: 3_600_000, day: 86_400_000, week: 604_800_000 } as const;
export type Span = keyof typeof SPANS;
/** The steps in which they are plotted, in milliseconds. */
const STEPS = { hour: 60_000, day: 20 * 60_000, week: 3 * 3_600_000 } as const satisfies Record<Span, number>;

/** A slot of an entry that is to come, in milliseconds since the epoch. */
export interface ComingSlot {
  readonly entry: string;
  readonly task: string;
  readonly at: number;
}

export interface Overview {
  readonly queues: Part<readonly QueueState[]>;
  readonly workers: Part<readonly WorkerInfo[]>;
  /** Of Lambda, where the broker is SQS. */
  readonly functions: Part<readonly FunctionState[]>;
  /** What runs, by worker. */
  readonly active: Part<ByWorker<readonly TaskInHand[]>>;
  readonly coming: Part<readonly ComingSlot[]>;
  /** What was done in the span, and what failed. */
  readonly told: Part<Told>;
}

export interface TasksQuery extends JournalFilter {
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  /** Default 50. */
  readonly limit?: number | undefined;
  /** Where the page before this one ended: its `next`. */
  readonly cursor?: string | undefined;
}

export interface TasksFound {
  /** The newest first. */
  readonly entries: readonly JournalEntry[];
  /** The cursor of what follows; absent where nothing does. */
  readonly next?: string | undefined;
  /** The search took long, and was ended at this instant: nothing older was looked at. Go on with `next`. */
  readonly searchedTo?: number | undefined;
}

export interface TaskError {
  readonly type: string;
  readonly message: string;
  /** Its stack and those of its causes, as they were stored. */
  readonly traceback: string | null;
}

/** A task that is named beside another. */
export interface Relative {
  readonly id: string;
  readonly task?: string | undefined;
  readonly state?: string | undefined;
}

export interface TaskDetail {
  readonly id: string;
  readonly task?: string | undefined;
  readonly state: string;
  readonly queue?: string | undefined;
  /** It waits for a limit: the entry says for which, and until when. */
  readonly waits?: JournalEntry | undefined;
  readonly worker?: string | undefined;
  /** JSON, whole where the message or the row has it; else as the journal shows it. */
  readonly args?: string | undefined;
  readonly kwargs?: string | undefined;
  /** What it returned, as JSON. */
  readonly result?: string | undefined;
  readonly error?: TaskError | undefined;
  /** When its row was stored, and from when on it counts as absent, in milliseconds since the epoch. */
  readonly stored?: number | undefined;
  readonly expires?: number | undefined;
  readonly root?: string | undefined;
  readonly group?: string | undefined;
  readonly parent?: Relative | undefined;
  readonly children: readonly Relative[];
  /** The newest first. */
  readonly entries: readonly JournalEntry[];
  /** Why there are no entries, where the journal could not be read. */
  readonly problem?: string | undefined;
  /** Of its message, where it was kept: JSON. */
  readonly headers?: string | undefined;
  readonly message?: string | undefined;
  readonly row?: string | undefined;
  /** It failed, and its message was kept: it can be run again by its id. */
  readonly retryable: boolean;
}

export interface LettersQuery extends Omit<LettersOf, "limit"> {
  /** Default 100. */
  readonly limit?: number | undefined;
}

export interface Letters {
  readonly letters: readonly ShownLetter[];
  /** There are more. */
  readonly more: boolean;
  /** The queues that have any. */
  readonly queues: readonly string[];
}

/** A slot that beat sent, and what became of its task. */
export interface SentSlot {
  readonly slot: number | undefined;
  readonly sent: number;
  readonly id: string | undefined;
  readonly state: string | undefined;
}

export interface BeatItem {
  readonly plan: EntryPlan;
  /** The name under which it was put at run time; absent for one of `beatSchedule`. */
  readonly runtime: string | undefined;
  /** The newest first, three at most. */
  readonly sent: readonly SentSlot[];
}

export interface BeatShown {
  readonly entries: readonly BeatItem[];
  /** Put at run time, in a form that this version cannot read, or for the beat of a deployment before: nothing is sent of them. */
  readonly unreadable: readonly { readonly name: string; readonly problem: string }[];
}

export interface Registered {
  readonly name: string;
  readonly params?: readonly string[] | undefined;
  /** JSON Schema of its list of arguments, or of its one argument. */
  readonly schema?: Readonly<Record<string, unknown>> | undefined;
  readonly queue?: string | undefined;
}

/** Entries that are told of one task, and tasks that are named as called by it. */
const MOST_FOUND = 200;
const MOST_RELATIVES = 50;
/** Who waits less than that wants a page at once, and updates it afterwards. */
const FIRST_UPDATE_MS = 1_000;
/** A search of the journal that has found less than a page ends after so many milliseconds. */
const SEARCH_MS = 1_500;

/** Seconds between two looks where it is not said. Looks at a file cost nothing. */
const LOCAL_REFRESH = 2;
/**
 * On AWS an overview that is open all day costs less than a cent, `docs/how-to/board.md` counts it. Sizes of queues are two
 * requests a queue, so that many queues are looked at less often: so many seconds for each. The age of the oldest message is
 * CloudWatch's, a thousandth of a cent a queue.
 */
const AWS_REFRESH = 60;
const SECONDS_A_QUEUE = 30;
const AGE_SECONDS_A_QUEUE = 600;

/** What the pages and the API show. */
export type BoardData = ReturnType<typeof createData>;

export interface DataOptions {
  /** Seconds for which what was read is shown to all who ask. Default: by what the app runs on. */
  readonly refresh?: number | undefined;
}

export function createData(app: Lovage, options: DataOptions = {}) {
  const { engine, control, journal } = app;
  const now = () => engine.clock.now();
  const refresh = options.refresh ?? (isLocal(app) ? LOCAL_REFRESH : AWS_REFRESH);
  const keep = <T>(read: () => Promise<T>, times = 1): Kept<T> =>
    kept(read, Math.max(0, refresh * 1000 * times - 100), () => elapsedOf(engine.clock));

  const queueCount = Object.keys(app.config.taskQueues).length;
  const isPaced = options.refresh === undefined && !isLocal(app);
  const queues = keep(readQueues, isPaced ? Math.max(1, (SECONDS_A_QUEUE * queueCount) / refresh) : 1);
  const workers = keep(async () => Object.values(await control.inspect().stats()));
  // That there are functions, and whether they are given messages, costs nothing; CloudWatch's numbers of them do.
  const functions = keep(() => control.inspect().functions({ cloudWatch: !isPaced }), isPaced ? 5 : 1);
  // What functions run is in the last minutes of the journal, which are read again.
  const active = keep(() => control.inspect().active(), isPaced ? 5 : 1);
  // Rules of EventBridge change seldom, and each is a request.
  const coming = keep(comingSlots, isPaced ? 10 : 1);
  const told = Object.fromEntries(
    Object.entries(SPANS).map(([name, span]) => {
      const feed = createFeed(async (range) => (await engine.journal()).read(range), {
        span,
        step: STEPS[name as Span],
        now,
      });
      return [name, keep(feed)];
    }),
  ) as unknown as Readonly<Record<Span, Kept<Told>>>;
  /** Those that are being read: a large one takes seconds, and each page that shows it asks again and again. */
  const workflows = new Map<string, Promise<Workflow>>();
  /** Something was changed: who asks next sees it. */
  const changed = () => {
    for (const one of [queues, workers, functions, active, coming, ...Object.values(told)]) one.drop();
    workflows.clear();
  };
  const allEntries = async () => {
    const stored = engine.hasBeatStore ? await app.beat.stored() : { entries: [], unreadable: [] };
    return { declared: beatEntries(app), runtime: stored.entries, unreadable: stored.unreadable };
  };
  /** Declared or put at run time, those that are paused too. */
  const scheduled = async (): Promise<readonly ScheduleEntry[]> => {
    const { declared, runtime } = await allEntries();
    return [...declared, ...runtime.map(besideDeclared)];
  };
  const timeLimit = (name: string): number | undefined => {
    const task = app.tasks.get(name);
    return (task && engine.optionsOf(task).timeLimit) ?? app.config.taskTimeLimit;
  };
  const plans = (entries: readonly ScheduleEntry[]) =>
    planOf(entries, { zone: app.config.timezone, now: now(), days: 14, aroundDst: false, timeLimit });

  let ages: ReadonlyMap<string, number> = new Map();
  let agesAt = Number.NEGATIVE_INFINITY;
  async function readQueues(): Promise<readonly QueueState[]> {
    const at = elapsedOf(engine.clock);
    const cloudWatch = !isPaced || at >= agesAt + AGE_SECONDS_A_QUEUE * 1000 * queueCount;
    const states = await control.inspect().queues({ cloudWatch });
    if (cloudWatch) {
      agesAt = at;
      ages = new Map(states.flatMap(({ queue, oldest }) => (oldest === undefined ? [] : [[queue, oldest] as const])));
    }
    return states.map((state) => {
      const oldest = state.oldest ?? (state.ready > 0 ? ages.get(state.queue) : undefined);
      return oldest === undefined ? state : { ...state, oldest };
    });
  }

  async function comingSlots(): Promise<readonly ComingSlot[]> {
    const next = plans(await scheduled()).filter(({ enabled }) => enabled);
    const slots = next.flatMap(({ name, task, runs }) =>
      runs.map(({ utc }): ComingSlot => ({ entry: name, task, at: parseTime(utc) })),
    );
    return slots.sort((a, b) => a.at - b.at).slice(0, 5);
  }

  return {
    /** Seconds between two looks of a page that is open. */
    refresh,

    async overview(span: Span, patience: Patience): Promise<Overview> {
      // What is read through the journal comes with the first update, and does not keep the rest from being shown.
      const slow = patience.wait < FIRST_UPDATE_MS ? { ...patience, wait: 0 } : patience;
      const [queueStates, workerInfos, functionStates, inHand, slots, summary] = await Promise.all([
        queues.get(patience),
        workers.get(patience),
        functions.get(patience),
        active.get(slow),
        coming.get(patience),
        told[span].get(slow),
      ]);
      return {
        queues: queueStates,
        workers: workerInfos,
        functions: functionStates,
        active: inHand,
        coming: slots,
        told: summary,
      };
    },

    queues: (patience: Patience): Promise<Part<readonly QueueState[]>> => queues.get(patience),

    /** Throws `ImproperlyConfigured` for what the journal cannot be asked. */
    async tasks({ limit = 50, cursor, ...query }: TasksQuery): Promise<TasksFound> {
      const { at, skip } = readCursor(cursor);
      const given = Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined));
      const to = at === undefined ? query.to : Math.min(at + 1, query.to ?? Number.POSITIVE_INFINITY);
      const { matches, ...range } = checkFind({ ...given, ...(to !== undefined && { to }) }, now());
      const entries: JournalEntry[] = [];
      /** How many entries of the instant that was looked at last are behind us, shown or not. */
      let same = { time: Number.NaN, count: 0 };
      const breathe = createBreather();
      const begun = performance.now();
      for await (const page of (await engine.journal()).read(range)) {
        for (const entry of page) {
          if (!matches(entry)) continue;
          const count: number = same.time === entry.time ? same.count + 1 : 1;
          if (entry.time === at && count <= skip) {
            same = { time: entry.time, count };
            continue;
          }
          if (entries.length === limit) return { entries, next: writeCursor(same) };
          same = { time: entry.time, count };
          entries.push(entry);
        }
        await breathe();
        const oldest = page.at(-1)?.time;
        if (performance.now() - begun > SEARCH_MS && oldest !== undefined) {
          // What was seen of this instant is told of again, rather than left out.
          const next = same.time === oldest ? same : { time: oldest, count: 0 };
          return { entries, next: writeCursor(next), searchedTo: oldest };
        }
      }
      return { entries };
    },

    /** What runs, and what long-lived workers have fetched and not begun, which the journal does not tell of. */
    active: (patience: Patience): Promise<Part<ByWorker<readonly TaskInHand[]>>> => active.get(patience),

    async task(id: string): Promise<TaskDetail> {
      const result = app.result(id);
      const [[row], state] = await Promise.all([
        engine.backend().then((backend) => backend.read([taskKey(id)])),
        result.state(),
      ]);
      const children = row === undefined ? [] : (await result.children()).slice(0, MOST_RELATIVES);
      const found = row?.kept ? readKept(row.kept) : undefined;
      const message = found === undefined ? undefined : await readMessage(found.body);
      const about = [id, ...children.map((child) => child.id)];
      // The attempts before the last are rarely older than a day; who looks for others has the list of tasks.
      const from = (row === undefined ? now() : row.timestamp * 1000) - 2 * SPANS.day;
      const told: JournalEntry[] = [];
      let problem: string | undefined;
      try {
        if (app.config.journal)
          for await (const entry of journal.find({ from, id: about, limit: MOST_FOUND })) told.push(entry);
      } catch (error) {
        problem = problemOf(error);
      }
      const entries = told.filter((entry) => entry.id === id);
      const last = entries.find(({ kind }) => kind === "task" || kind === "running") ?? entries[0];
      const parent = last?.parent ?? message?.parentId ?? undefined;
      const value = await result.result();
      const isError = holdsException(state) && value instanceof Error;
      return {
        id,
        task: last?.task ?? message?.task,
        state: state === PENDING && last?.kind === "task" && last.state !== undefined ? last.state : state,
        queue: found?.queue ?? last?.queue,
        ...(isOpen(state) && entries[0]?.kind === "waiting" && { waits: entries[0] }),
        worker: last?.worker,
        args: message === undefined ? last?.args : toJson(message.args),
        kwargs: message === undefined ? last?.kwargs : toJson(message.kwargs),
        ...(row?.done === true && !holdsException(state) && { result: toJson(value, 2) }),
        ...(isError && { error: { type: value.name, message: value.message, traceback: await result.traceback() } }),
        stored: row === undefined ? undefined : row.timestamp * 1000,
        expires: row?.ttl === undefined ? undefined : row.ttl * 1000,
        root: last?.root,
        group: last?.group,
        parent: parent === undefined ? undefined : { id: parent },
        children: children.map((child) => {
          const entry = told.find((one) => one.id === child.id);
          return { id: child.id, task: entry?.task, state: entry?.state };
        }),
        entries,
        problem,
        headers: message === undefined ? undefined : toJson(headersOf(message), 2),
        message: found?.body,
        row: row === undefined ? undefined : rowText(row),
        retryable: state === FAILURE && found !== undefined,
      };
    },

    /** Who can end the reading has one of their own. */
    workflow(id: string, { signal }: Doing = {}): Promise<Workflow> {
      if (signal !== undefined) return readWorkflow(engine, id, signal);
      const known = workflows.get(id);
      if (known !== undefined) return known;
      const reading = app.workflow(id).finally(() => workflows.get(id) === reading && workflows.delete(id));
      workflows.set(id, reading);
      return reading;
    },

    async failures(span: Span, patience: Patience, task?: string): Promise<Part<readonly SparkedGroup[]>> {
      const part = await told[span].get(patience);
      if (!("value" in part)) return part;
      const { failures } = part.value;
      return { value: task === undefined ? failures : failures.filter((group) => group.task === task) };
    },

    /** By what it is asked, the last hour where it is not said. Throws `ImproperlyConfigured` for what the journal cannot be asked. */
    failureGroups: ({ limit = 50, ...query }: FailuresQuery, { signal }: Doing): Promise<readonly FailureGroup[]> =>
      journal.failures({ from: now() - SPANS.hour, ...query, limit, signal }),

    inspect: (what: Exclude<keyof Inspect, "queues" | "registered">): Promise<unknown> => control.inspect()[what](),

    /** Meanwhile they are hidden from others who look. */
    async deadLetters({ limit = 100, ...filter }: LettersQuery, { signal }: Doing = {}): Promise<Letters> {
      const states = await queues.get({ wait: Number.POSITIVE_INFINITY });
      const withAny = "value" in states ? states.value.filter(({ deadLetters }) => deadLetters > 0) : [];
      const letters: ShownLetter[] = [];
      for await (const letter of control.deadLetters.list({ ...filter, limit: limit + 1 })) {
        signal?.throwIfAborted();
        letters.push(letter);
      }
      const more = letters.length > limit;
      return { letters: letters.slice(0, limit), more, queues: withAny.map((one) => one.queue) };
    },

    async beat({ signal }: Doing = {}): Promise<BeatShown> {
      const { declared, runtime, unreadable } = await allEntries();
      const shown = [...declared, ...runtime.map(besideDeclared)];
      const names = [...declared.map(() => undefined), ...runtime.map(({ name }) => name)];
      // That the journal cannot be read is no reason not to show what is to come.
      const sent = await sentSlots(new Set(shown.map(({ name }) => name)), signal).catch(
        () => new Map<string, readonly SentSlot[]>(),
      );
      signal?.throwIfAborted();
      return {
        entries: plans(shown).map((plan, at) => ({ plan, runtime: names[at], sent: sent.get(plan.name) ?? [] })),
        unreadable: unreadable.map(({ name, error }) => ({ name, problem: problemOf(error) })),
      };
    },

    registered(): readonly Registered[] {
      return [...app.tasks.values()]
        .map((task) => ({
          name: task.name,
          params: task.options.params,
          schema: jsonSchemaOf(task.options.schema),
          queue: engine.optionsOf(task).queue,
        }))
        .sort((a, b) => (a.name < b.name ? -1 : 1));
    },

    /** Where messages and results are, without passwords. */
    where(): string {
      const { brokerUrl, resultBackend } = engine.urls;
      return [...new Set([maskUrl(brokerUrl), maskUrl(resultBackend)])].join(" ");
    },

    actions: telling(createActions(app, scheduled), changed),
  };

  /** The latest slots of each entry, with the states of their tasks. */
  async function sentSlots(
    names: ReadonlySet<string>,
    signal: AbortSignal | undefined,
  ): Promise<ReadonlyMap<string, readonly SentSlot[]>> {
    const found = new Map<string, SentSlot[]>();
    if (!app.config.journal || names.size === 0) return found;
    const states = new Map<string, string>();
    const from = now() - SPANS.day;
    const breathe = createBreather();
    for await (const { kind, id, state, entry, slot, time } of journal.find({ from, kind: ["slot", "task"], signal })) {
      await breathe();
      if (kind === "task" && id !== undefined && state !== undefined && !states.has(id)) states.set(id, state);
      if (kind !== "slot" || entry === undefined) continue;
      const list = found.get(entry) ?? [];
      if (list.length < 3) list.push({ slot, sent: time, id, state: id === undefined ? undefined : states.get(id) });
      found.set(entry, list);
      if ([...names].every((name) => (found.get(name)?.length ?? 0) >= 3)) break;
    }
    return found;
  }
}

/** Whether looking costs nothing: files, memory, and emulators on this machine. */
function isLocal({ engine }: Lovage): boolean {
  const { env } = engine.platform;
  return Object.values(engine.urls).every(
    (url) =>
      /^(sqlite|memory):/.test(url) ||
      /^[^?]*@?(localhost|127\.0\.0\.1)[:/]/.test(url) ||
      /\/\/(localhost|127\.0\.0\.1)\b/.test(env["AWS_ENDPOINT_URL"] ?? ""),
  );
}

const writeCursor = ({ time, count }: { readonly time: number; readonly count: number }): string => `${time}-${count}`;

/** Throws `ImproperlyConfigured`. */
function readCursor(cursor: string | undefined): { readonly at: number | undefined; readonly skip: number } {
  if (cursor === undefined) return { at: undefined, skip: 0 };
  const [, at, skip] = /^(\d{1,16}(?:\.\d{1,9})?)-(\d{1,9})$/.exec(cursor) ?? [];
  if (at === undefined)
    throw new ImproperlyConfigured("cursor", `must be the next of a page before (given: ${brief(cursor, 100)})`);
  return { at: Number(at), skip: Number(skip) };
}

const readMessage = (body: string): Promise<Message | undefined> =>
  // What another version wrote, and this one cannot read, is shown as it is.
  Promise.resolve(decodeEnvelope(body, { accept: READABLE })).catch(() => undefined);

/** What a message says beside its arguments, without what it does not say. */
function headersOf({ args: _, kwargs: __, ...rest }: Message): object {
  const said = ([, value]: readonly [string, unknown]) =>
    value !== null && !(typeof value === "object" && Object.keys(value).length === 0);
  return Object.fromEntries(Object.entries(rest).filter(said));
}

/** A row as JSON, its stored result as text. */
function rowText(row: Row): string {
  const { result, kept: message, ...marks } = row;
  return toJson({ ...marks, result: readJson(payloadText(result)), ...(message && { kept: "the message" }) }, 2);
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Of a schema that can say it: zod from 4.2 on, and whoever else speaks Standard JSON Schema. */
function jsonSchemaOf(schema: unknown): Readonly<Record<string, unknown>> | undefined {
  const standard = (schema as { readonly "~standard"?: Partial<StandardJSONSchemaV1.Props> } | undefined)?.[
    "~standard"
  ];
  try {
    return standard?.jsonSchema?.input({ target: "draft-2020-12" });
  } catch {
    // It holds what JSON Schema has no words for, such as a transform.
    return undefined;
  }
}

/** The same actions, after each of which something is told, also where it failed on its way. */
function telling<T extends Readonly<Record<string, (...given: never[]) => Promise<unknown>>>>(
  actions: T,
  changed: () => void,
): T {
  const told = Object.entries(actions).map(([name, act]) => [
    name,
    async (...given: never[]) => {
      try {
        return await act(...given);
      } finally {
        changed();
      }
    },
  ]);
  return Object.fromEntries(told) as T;
}
