/**
 * What an app runs on: its config, its clock, and its broker and backend, opened at the first use. The app is the face
 * of it; publishing, workers and beat are given this.
 */
import type { Around } from "./around.ts";
import type { BeatStore } from "./beat/store.ts";
import type { Broker } from "./brokers/broker.ts";
import { translateQueueName } from "./brokers/queue-name.ts";
import { createOutbox, type Outbox } from "./brokers/outbox.ts";
import { createRouter, type Router } from "./brokers/routes.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type Config, type ConfigInput, resolveConfig } from "./config/config.ts";
import { waitingRedrive } from "./control/rows.ts";
import { projectFolder, unnamedWarning } from "./embedded.ts";
import { ImproperlyConfigured, OperationalError } from "./errors.ts";
import type { JournalEntry } from "./journal/entry.ts";
import type { JournalOptions, JournalStore } from "./journal/store.ts";
import { type LimitStore, withPrefix } from "./limits/store.ts";
import { hasBeatStore, openBackend, openBeatStore, openBroker, openLimitStore, openPayloads } from "./open.ts";
import { defined, type Given } from "./parse.ts";
import type { Payloads } from "./payloads/store.ts";
import type { MetaCodec } from "./protocol/meta.ts";
import type { Backend } from "./results/backend.ts";
import { withKeyPrefix } from "./results/key-prefix.ts";
import { anchorUrl, folderBeside } from "./file-url.ts";
import { createReader, type ResultReader } from "./results/reader.ts";
import { KeptText } from "./protocol/envelope.ts";
import { isPointer } from "./protocol/pointer.ts";
import type { MaybePromise } from "./protocol/serializers.ts";
import { Emitter } from "./signals.ts";
import { assertMayWait, withinRun } from "./tasks/context.ts";
import type { TaskOptions } from "./tasks/options.ts";
import type { PublishHost } from "./tasks/publish.ts";
import type { Task } from "./tasks/task.ts";
import type { Store, Unit } from "./unit.ts";

/** Where time, chance and ids come from; a test gives its own. */
export interface Platform {
  /** Gives the time, and timers. */
  readonly clock: Clock;
  /** A number in [0, 1). */
  readonly random: () => number;
  /** A new id. */
  readonly uuid: () => string;
  /** The environment variables. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

const systemPlatform = (): Platform => ({
  clock: systemClock,
  random: Math.random,
  uuid: newId,
  // Edge runtimes have no process.
  env: (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env ?? {},
});

/**
 * A UUID of version 7, which begins with the time: ids made together lie together in a store that keeps them in order.
 * Celery's are of version 4; nobody reads anything out of either.
 */
function newId(): string {
  const now = Date.now();
  if (now !== begun.at) {
    const time = now.toString(16).padStart(12, "0");
    begun = { at: now, text: `${time.slice(0, 8)}-${time.slice(8)}-7` };
  }
  return begun.text + crypto.randomUUID().slice(15);
}

/** How the ids of the last millisecond begin: many are made in one. */
let begun = { at: Number.NaN, text: "" };

/** See `open.ts`: a function's bundle has nothing embedded. */
declare const LOVAGE_BUNDLE: "aws";

/** SQS keeps a message for 14 days at most, and a row must outlive it by a day: else a late duplicate would run again. */
const MIN_ROW_SECONDS = 15 * 86_400;

/** Under this name a process has what was told once, by whichever copy of the package. */
const TOLD: unique symbol = Symbol.for("lovage.told");

/** What goes wrong with the journal is told so often at most, in milliseconds. */
const WARN_MS = 60_000;

/** By so much two moments differ: times of our days have no finer binary fraction that is as exact. */
const MOMENT_MS = 2 ** -10;

/** What an app has open; together, so that all of it is closed or set aside at once. */
interface Opened {
  broker?: Promise<Broker> | undefined;
  /** Once it is open. */
  brokerAtOnce?: Broker;
  backend?: Promise<Backend> | undefined;
  backendAtOnce?: Backend;
  beatStore?: Promise<BeatStore> | undefined;
  limits?: Promise<LimitStore> | undefined;
  payloads?: Promise<Payloads | undefined> | undefined;
  /** What broker and backend both are, once that was looked at. */
  store?: { readonly shared: Store | undefined };
  outbox?: Outbox;
  reader?: ResultReader;
}

/** What is opened at its first use, and closed with the app. */
type Openable = "broker" | "backend" | "beatStore" | "limits" | "payloads";

/** Where `Engine.move` moves an app to. */
export interface Home {
  /** Over the settings that the app has. */
  readonly config: ConfigInput;
  readonly platform: Partial<Platform>;
  /** Laid around the broker when it opens. */
  readonly wrapBroker: (broker: Broker) => Broker;
  /** Laid around the backend when it opens. */
  readonly wrapBackend?: (backend: Backend) => Backend;
}

export class Engine implements PublishHost {
  readonly emitter = new Emitter((signal, error) => console.error(`a handler of ${signal} threw:`, error));
  /** What is laid around the work. */
  readonly arounds = new Set<Around>();
  readonly reportAround = (error: unknown) => console.error("a step around the app's work threw:", error);
  readonly tasks = new Map<string, Task>();
  /** Tasks that `taskRef` names, with what it declares of them: their code is not here, and yet they are of this language. */
  readonly refs = new Map<string, Task>();
  #input: ConfigInput;
  #config: Config;
  #router: Router;
  #platform: Platform;
  #opened: Opened = {};
  #wrapBroker: (broker: Broker) => Broker = (broker) => broker;
  #wrapBackend: (backend: Backend) => Backend = (backend) => backend;
  #options = new WeakMap<Task, TaskOptions>();
  #codec: MetaCodec | undefined;
  #warned = Number.NEGATIVE_INFINITY;
  #moment = 0;
  /** Where warnings go that concern no call: a worker has them in its log. */
  warn: (message: string) => void = (message) => console.warn(message);
  /** Where relative paths of its URLs begin: a task may go elsewhere. Edge runtimes have no folders. */
  readonly #folder = (globalThis as { process?: { cwd?: () => string } }).process?.cwd?.();
  /** Members of a generator's header, or of a header of more than this, are counted in rows of so many. A test has fewer. */
  leafSize = 100;

  constructor(config: ConfigInput, platform: Given<Platform>) {
    this.#platform = { ...systemPlatform(), ...defined(platform) };
    this.#input = config;
    this.#config = resolveConfig(config, this.platform.env);
    this.#router = createRouter(this.#config);
  }

  /** Whether settings came by `configFromObject`, in one of Celery's spellings or ours. */
  hasForeignNames = false;

  /** Takes further settings, over those given before. Before the first use only: what is open cannot be moved. */
  configure(more: ConfigInput): void {
    const input = { ...this.#input, ...more };
    this.#config = resolveConfig(input, this.platform.env);
    this.#input = input;
    this.#router = createRouter(this.#config);
    this.#options = new WeakMap();
    this.#codec = undefined;
  }

  /** The settings as the app's code says them, whatever the environment has. What it does not say may be given. */
  declaredConfig(unsaid: ConfigInput): Config {
    return resolveConfig({ ...unsaid, ...this.#input }, {});
  }

  /**
   * Moves the app to another home until the function returned is called, which closes what was opened there. What was
   * open before is set aside and found again. For tests, whose tasks are the very objects that the app's modules hold.
   */
  move(home: Home): () => Promise<void> {
    const [input, platform, opened] = [this.#input, this.#platform, this.#opened];
    const [wrapBroker, wrapBackend] = [this.#wrapBroker, this.#wrapBackend];
    this.#platform = { ...platform, ...home.platform };
    this.#moment = 0;
    try {
      this.configure(home.config);
    } catch (error) {
      this.#platform = platform;
      throw error;
    }
    this.#opened = {};
    this.#wrapBroker = home.wrapBroker;
    this.#wrapBackend = home.wrapBackend ?? wrapBackend;
    return async () => {
      const there = this.#opened;
      this.#opened = opened;
      this.#wrapBroker = wrapBroker;
      this.#wrapBackend = wrapBackend;
      this.#platform = platform;
      this.#moment = 0;
      this.#input = input;
      this.configure({});
      await closeAll(there);
    };
  }

  /**
   * The time in milliseconds since the epoch, with a fraction where it was asked for before in the same one: of two moments the
   * later is the greater.
   */
  readonly moment = (): number => {
    this.#moment = Math.max(this.clock.now(), this.#moment + MOMENT_MS);
    return this.#moment;
  };

  get isOpen(): boolean {
    return this.#opened.broker !== undefined || this.#opened.backend !== undefined;
  }
  get platform(): Platform {
    return this.#platform;
  }
  get config(): Config {
    return this.#config;
  }
  /** The settings of the same names, with absolute paths. */
  get urls(): Pick<Config, "brokerUrl" | "resultBackend"> {
    const { brokerUrl, resultBackend } = this.#config;
    const anchored = (url: string) => anchorUrl(url, this.#folder, this.#projectOf);
    return { brokerUrl: anchored(brokerUrl), resultBackend: anchored(resultBackend) };
  }

  #project: string | undefined;
  readonly #projectOf = (folder: string): string => {
    if (typeof LOVAGE_BUNDLE === "undefined") this.#project ??= projectFolder(folder);
    return this.#project ?? folder;
  };

  #isToldOfFile = false;
  /** An app whose broker nobody has named is told where it is, where that is likely to be a mistake. */
  #checkNamed(): void {
    if (this.#input.brokerUrl !== undefined || this.platform.env["LOVAGE_BROKER_URL"]) return;
    if (this.#config.brokerUrlRequired)
      throw new ImproperlyConfigured(
        "brokerUrl",
        "is not given, and brokerUrlRequired is true: set LOVAGE_BROKER_URL, or brokerUrl",
      );
    if (typeof LOVAGE_BUNDLE !== "undefined" || this.#isToldOfFile) return;
    this.#isToldOfFile = true;
    const warning = unnamedWarning(this.urls.brokerUrl, this.platform.env);
    // A process may have the package twice, as when a bundler took in what another module imports. The user has one app.
    const shared = globalThis as { [TOLD]?: Set<string> };
    shared[TOLD] ??= new Set();
    const told = shared[TOLD];
    if (warning === undefined || told.has(warning)) return;
    told.add(warning);
    this.warn(warning);
  }
  get clock(): Clock {
    return this.platform.clock;
  }
  get uuid(): () => string {
    return this.platform.uuid;
  }
  get router(): Router {
    return this.#router;
  }

  /** A task that can run here. */
  task(name: string): Task | undefined {
    return this.tasks.get(name);
  }

  /** What is declared of a task, whether its code is here or not. */
  declared(name: string): Task | undefined {
    return this.tasks.get(name) ?? this.refs.get(name);
  }

  /** All of them. */
  allDeclared(): readonly Task[] {
    return [...this.tasks.values(), ...[...this.refs.values()].filter(({ name }) => !this.tasks.has(name))];
  }

  optionsOf(task: Task): TaskOptions {
    let options = this.#options.get(task);
    if (options === undefined) {
      const { taskAnnotations } = this.#config;
      options = { ...task.options, ...taskAnnotations["*"], ...taskAnnotations[task.name] };
      this.#options.set(task, options);
    }
    return options;
  }

  /** Opens a thing at its first use. A passing fault does not stick to the app for ever. */
  #once<K extends Openable>(name: K, open: (opened: Opened) => NonNullable<Opened[K]>): NonNullable<Opened[K]> {
    const opened = this.#opened;
    const there = opened[name];
    if (there !== undefined) return there;
    const opening = open(opened);
    opened[name] = opening;
    opening.catch(() => {
      opened[name] = undefined;
    });
    return opening;
  }

  broker(): Promise<Broker> {
    return this.#once("broker", async (opened) => {
      this.#checkNamed();
      const wrap = this.#wrapBroker;
      const { taskQueues } = this.#config;
      opened.brokerAtOnce = wrap(await openBroker(this.urls.brokerUrl, this.#brokerContext(), taskQueues));
      return opened.brokerAtOnce;
    });
  }

  /** The same, at once where it is open: each wait is paid for by every task. */
  brokerAtOnce(): MaybePromise<Broker> {
    return this.#opened.brokerAtOnce ?? this.broker();
  }

  #brokerContext() {
    // How long a delay may be is decided here, see `pack`; a broker knows only what it is able to.
    const { maxDelay: _, ...options } = this.#config.brokerTransportOptions;
    return { now: this.clock.now, random: this.platform.random, options };
  }

  backend(): Promise<Backend> {
    return this.#once("backend", async (opened) => {
      this.#checkNamed();
      const wrap = this.#wrapBackend;
      const { prefix, ...context } = this.#backendContext();
      const journal = this.#journalOptions(prefix);
      const backend = await openBackend(this.urls.resultBackend, { ...context, journal });
      opened.backendAtOnce = wrap(withKeyPrefix(backend, prefix));
      return opened.backendAtOnce;
    });
  }

  /** The same, at once where it is open. */
  backendAtOnce(): MaybePromise<Backend> {
    return this.#opened.backendAtOnce ?? this.backend();
  }

  #backendContext() {
    const { globalKeyprefix: prefix, ...options } = this.#config.resultBackendTransportOptions;
    return { now: this.clock.now, random: this.platform.random, options, prefix };
  }

  /** What keeps texts that are too large for their place; `undefined`: there is none, and they are refused. */
  async payloads(): Promise<Payloads | undefined> {
    const url = this.#config.payloadStore ?? folderBeside(this.urls.brokerUrl);
    if (!url) return undefined;
    const { uuid, clock } = this.platform;
    const { requestHandler } = this.#config.brokerTransportOptions;
    return this.#once("payloads", () => openPayloads(url, { now: clock.now, uuid, requestHandler }));
  }

  /**
   * The text of a message as it was sent: what stands in its place leads to it. Throws `DecodeError` where that leads nowhere,
   * `OperationalError` where the store cannot be asked.
   */
  wholeText(body: string): MaybePromise<string> {
    return isPointer(body) ? this.#kept().then((payloads) => payloads.get(body)) : body;
  }

  /** The same for who reads it as a message, once. */
  messageText(body: string): MaybePromise<string | KeptText> {
    if (!isPointer(body)) return body;
    return this.#kept()
      .then((payloads) => payloads.read(body, true))
      .then((read) => new KeptText(read));
  }

  async #kept(): Promise<Payloads> {
    const payloads = await this.payloads();
    if (payloads !== undefined) return payloads;
    throw new OperationalError(
      "this app has no store for large texts: set payloadStore as the sender has it, and have TaskQueues deploy it",
      { retryable: true },
    );
  }

  /**
   * Begins a unit, where broker and backend are one store that offers it: what is done within it on both becomes durable
   * together. `undefined`: each step is durable by itself.
   */
  begin(): MaybePromise<Unit | undefined> {
    const { store } = this.#opened;
    // Most often that was looked at before.
    return store === undefined ? this.store().then((shared) => shared?.begin()) : store.shared?.begin();
  }

  /** What broker and backend both are, where they are one and it offers units. */
  async store(): Promise<Store | undefined> {
    const opened = this.#opened;
    if (opened.store === undefined) {
      const [{ store }, backend] = await Promise.all([this.broker(), this.backend()]);
      opened.store = { shared: store === backend.store ? store : undefined };
    }
    return opened.store.shared;
  }

  #journalOptions(scope: string): JournalOptions | undefined {
    const { journal, journalExpires, brokerTransportOptions } = this.#config;
    if (!journal) return undefined;
    const table = translateQueueName(brokerTransportOptions.queueNamePrefix, "journal");
    return { expires: journalExpires, table, scope, failed: (error) => this.#journalFailed(error) };
  }

  #journalFailed(error: unknown): void {
    const now = this.clock.now();
    if (now < this.#warned + WARN_MS) return;
    this.#warned = now;
    this.warn(
      `The journal misses entries, and tasks run on: ${error instanceof Error ? error.message : String(error)}`,
    );
  }

  /** Where what has happened is kept. Throws `ImproperlyConfigured` where it is not. */
  async journal(): Promise<JournalStore> {
    if (!this.#config.journal)
      throw new ImproperlyConfigured("journal", "is off, so there is nothing to read; set it to true");
    const { journal } = await this.backend();
    if (journal !== undefined) return journal;
    throw new ImproperlyConfigured(
      "resultBackend",
      "keeps no journal; those of Lovage do: SQLite, DynamoDB and memory",
    );
  }

  /** Tells the journal of what belongs to no row. Never throws: nothing depends on it. */
  async note(...entries: readonly JournalEntry[]): Promise<void> {
    if (!this.#config.journal) return;
    try {
      await (await this.backend()).journal?.append(entries);
    } catch (error) {
      this.#journalFailed(error);
    }
  }

  get outbox(): Outbox {
    this.#opened.outbox ??= createOutbox(() => this.broker(), this.clock);
    return this.#opened.outbox;
  }

  /** Whether entries can be put at run time beside this broker. */
  get hasBeatStore(): boolean {
    return hasBeatStore(this.#config);
  }

  /** The entries of this app that were put at run time. Throws `ImproperlyConfigured` where they cannot be. */
  beatStore(app: string): Promise<BeatStore> {
    const { brokerTransportOptions, beatFunction } = this.#config;
    const { random, options } = this.#brokerContext();
    const prefix = brokerTransportOptions.queueNamePrefix;
    return this.#once("beatStore", () =>
      openBeatStore(this.urls.brokerUrl, { app, random, options, prefix, beatFunction }),
    );
  }

  /** The rows of limits. Throws `ImproperlyConfigured` where they cannot be kept. */
  limits(): Promise<LimitStore> {
    return this.#once("limits", async () => {
      const { prefix, ...context } = this.#backendContext();
      return withPrefix(await openLimitStore(this.urls.resultBackend, context), prefix);
    });
  }

  get reader(): ResultReader {
    if (this.#opened.reader !== undefined) return this.#opened.reader;
    const reader = createReader({
      backend: () => this.backend(),
      clock: this.clock,
      moment: this.moment,
      codec: this.codec,
      ttl: () => this.ttl(),
      expires: this.#config.resultExpires,
      waitingRedrive: async (id, row) => waitingRedrive(await this.backend(), id, row),
      withinRun,
      // A condition of its own, so that what it leads to is left out of a function's bundle.
      ...(typeof LOVAGE_BUNDLE === "undefined" && {
        explained: async (error, ways) => {
          const { explained } = await import("./control/late.ts");
          return explained(this, error, ways?.());
        },
      }),
    });
    this.#opened.reader = {
      ...reader,
      wait(id, options, ways) {
        if (options.disableSyncSubtasks !== false) assertMayWait(id);
        return reader.wait(id, options, ways);
      },
    };
    return this.#opened.reader;
  }

  /** How results are written and read. */
  get codec(): MetaCodec {
    this.#codec ??= {
      serializer: this.#config.resultSerializer,
      compression: this.#config.resultCompression,
      fetch: (pointer) => this.#kept().then((payloads) => payloads.read(pointer, false)),
    };
    return this.#codec;
  }

  /** `ttl` of a row written now, in whole seconds since the epoch; `undefined`: kept for ever. */
  ttl(): number | undefined {
    const { resultExpires } = this.#config;
    if (resultExpires === Number.POSITIVE_INFINITY) return undefined;
    return Math.ceil(this.clock.now() / 1000 + Math.max(resultExpires, MIN_ROW_SECONDS));
  }

  /** So many days after it was written a row is gone, at the latest. */
  rowDays(): number {
    const ttl = this.ttl();
    return ttl === undefined ? Number.POSITIVE_INFINITY : (ttl - this.clock.now() / 1000) / 86_400 + 1;
  }

  /** Ends those who work with what is open, each with whether it is their own work that asks. */
  readonly #ends = new Map<() => Promise<void>, () => boolean>();

  /**
   * Has somebody who works with what is open end before it is closed: `end` resolves when that is done. Where `isWithin` says that it is
   * part of that work which closes, nothing is closed: it could not end before itself. Returns what takes that back.
   */
  beforeClose(end: () => Promise<void>, isWithin: () => boolean): () => void {
    this.#ends.set(end, isWithin);
    return () => void this.#ends.delete(end);
  }

  /** Closes what is open; the next use opens anew. */
  async close(): Promise<void> {
    if ([...this.#ends.values()].some((isWithin) => isWithin())) return;
    await Promise.all([...this.#ends.keys()].map((end) => end()));
    const opened = this.#opened;
    this.#opened = {};
    await closeAll(opened);
  }
}

async function closeAll({ broker, backend, beatStore, limits, payloads }: Opened): Promise<void> {
  await Promise.all(
    [broker, backend, beatStore, limits, payloads].map((opening) => opening?.then((open) => open?.close())),
  );
}
