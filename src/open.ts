/**
 * Brokers and backends by the scheme of their URL. An implementation is loaded when a URL first asks for it; those of
 * others are registered.
 */
import type { BeatStore, BeatStoreContext, OpenBeatStore } from "./beat/store.ts";
import type { Backend, BackendContext, OpenBackend } from "./results/backend.ts";
import type { Broker, BrokerContext, OpenBroker } from "./brokers/broker.ts";
import type { Operator } from "./brokers/operator.ts";
import type { Bands } from "./brokers/queue-name.ts";
import { maskUrl } from "./brief.ts";
import { ImproperlyConfigured } from "./errors.ts";
import type { OpenPayloadStore, Payloads, PayloadStoreContext } from "./payloads/store.ts";
import { didYouMean } from "./nearest.ts";
import type { LimitStore, LimitStoreContext, OpenLimitStore } from "./limits/store.ts";
import { loadDynamodb, loadLimits, loadSqs } from "#on-demand";

/**
 * Loads an implementation: a dynamic import, so that a process which never opens it never loads it. In a bundle for the
 * edge, what needs Node is an empty module: `browser` in package.json says which.
 */
export type Load<T> = () => Promise<{ readonly open?: T | undefined }>;

/** Defined by who bundles for AWS alone, as `lovage/cdk` does, with esbuild's `define`: leaves out what is embedded, and what few functions use. */
declare const LOVAGE_BUNDLE: "aws";
/** Whether a queue of the app has bands. */
declare const LOVAGE_BANDS: boolean;
/** Whether the deployment has a store of large texts. */
declare const LOVAGE_PAYLOADS: boolean;

const BROKERS = new Map<string, Load<OpenBroker>>([
  ["sqs", loadSqs],
  ...(typeof LOVAGE_BUNDLE === "undefined"
    ? ([
        ["sqlite", () => import("./brokers/sqlite.ts")],
        ["memory", () => import("./brokers/memory.ts")],
      ] as const)
    : []),
]);

const BACKENDS = new Map<string, Load<OpenBackend>>([
  ["dynamodb", loadDynamodb],
  ...(typeof LOVAGE_BUNDLE === "undefined"
    ? ([
        ["sqlite", () => import("./results/sqlite.ts")],
        ["memory", () => import("./results/memory.ts")],
      ] as const)
    : []),
]);

/** Entries put at run time are kept beside the queues: by the broker's scheme. */
const BEAT_STORES = new Map<string, Load<OpenBeatStore>>([
  ...(typeof LOVAGE_BUNDLE === "undefined"
    ? ([
        ["sqs", () => import("./beat/eventbridge.ts")],
        ["sqlite", () => import("./beat/sqlite.ts")],
        ["memory", () => import("./beat/memory.ts")],
      ] as const)
    : []),
]);

/** Where texts go that are too large for a message or a row. */
const PAYLOAD_STORES = new Map<string, Load<OpenPayloadStore>>([
  ...(typeof LOVAGE_BUNDLE === "undefined" || LOVAGE_PAYLOADS
    ? ([["s3", () => import("./payloads/s3.ts")]] as const)
    : []),
  ...(typeof LOVAGE_BUNDLE === "undefined"
    ? ([
        ["file", () => import("./payloads/file.ts")],
        ["memory", () => import("./payloads/memory.ts")],
      ] as const)
    : []),
]);

/** Rows of limits are kept beside the results: by the backend's scheme. */
const LIMIT_STORES = new Map<string, Load<OpenLimitStore>>([
  ["dynamodb", loadLimits],
  ...(typeof LOVAGE_BUNDLE === "undefined"
    ? ([
        ["sqlite", () => import("./limits/sqlite.ts")],
        ["memory", () => import("./limits/memory.ts")],
      ] as const)
    : []),
]);

/**
 * Makes a broker of yours one that `brokerUrl` can name: `registerBroker("folder", () => import("./folder-broker.ts"))`
 * serves `folder://…`. Call it before the app is made, in the module that makes it, so that every process has it. `open`
 * is given the URL and must do as `lovage/testing`'s `brokerContract` says. Throws `ImproperlyConfigured` for a scheme
 * that is taken or that no URL could have.
 */
export const registerBroker = (scheme: string, load: Load<OpenBroker>): void => register(BROKERS, scheme, load);

/** The same for a result backend and `resultBackend`; it must do as `backendContract` says. */
export const registerBackend = (scheme: string, load: Load<OpenBackend>): void => register(BACKENDS, scheme, load);

export const isBrokerScheme = (scheme: string): boolean => BROKERS.has(scheme);
export const isBackendScheme = (scheme: string): boolean => BACKENDS.has(scheme);

function register<T>(known: Map<string, Load<T>>, scheme: string, load: Load<T>): void {
  if (!/^[a-z][a-z0-9+.-]*$/.test(scheme))
    throw new ImproperlyConfigured(
      "scheme",
      `${JSON.stringify(scheme)} cannot begin a URL: a small letter, then small letters, digits, +, . or -`,
    );
  if (known.has(scheme)) throw new ImproperlyConfigured("scheme", `${scheme}:// is taken; choose another`);
  known.set(scheme, load);
}

async function load<T>(known: ReadonlyMap<string, Load<T>>, setting: string, url: string): Promise<T> {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//.exec(url)?.[1] ?? "";
  const found = known.get(scheme);
  if (found === undefined) {
    const names = [...known.keys()];
    throw new ImproperlyConfigured(
      setting,
      `${JSON.stringify(maskUrl(url))} has none of the known schemes ${names.join(", ")}${didYouMean(scheme, names)}`,
    );
  }
  const { open } = await found();
  if (open === undefined) {
    throw new ImproperlyConfigured(
      setting,
      `${scheme}:// needs Node, which this bundle was not made for; use sqs:// as brokerUrl and dynamodb:// as resultBackend`,
    );
  }
  return open;
}

/** @param queues Those of the app, some of which may have bands: a broker that acts upon no priority gets them. */
export async function openBroker(
  url: string,
  context: BrokerContext,
  queues: Readonly<Record<string, { readonly priorities?: Bands }>> = {},
): Promise<Broker> {
  const open = await load(BROKERS, "brokerUrl", url);
  const broker = await open(url, context);
  if (typeof LOVAGE_BANDS === "undefined" || LOVAGE_BANDS) {
    const bands = Object.entries(queues).flatMap(([name, { priorities }]) =>
      priorities === undefined ? [] : [[name, priorities] as const],
    );
    if (bands.length === 0 || broker.limits.priority) return broker;
    const { withBands } = await import("./brokers/bands.ts");
    return withBands(broker, new Map(bands));
  }
  return broker;
}

export async function openBackend(url: string, context: BackendContext): Promise<Backend> {
  const open = await load(BACKENDS, "resultBackend", url);
  return open(url, context);
}

/** `undefined`: the function was bundled without it. */
export async function openPayloads(
  url: string,
  context: PayloadStoreContext & { readonly uuid: () => string },
): Promise<Payloads | undefined> {
  if (typeof LOVAGE_BUNDLE === "undefined" || LOVAGE_PAYLOADS) {
    const { createPayloads }: Partial<typeof import("./payloads/payloads.ts")> = await import("./payloads/payloads.ts");
    const open = await load(PAYLOAD_STORES, "payloadStore", url);
    return createPayloads?.(await open(url, context), context.uuid, context.now);
  }
  return undefined;
}

/** The same for entries put at run time, beside a broker of this scheme. */
export const registerBeatStore = (scheme: string, load: Load<OpenBeatStore>): void =>
  register(BEAT_STORES, scheme, load);

/** The same for rows of limits, beside a result backend of this scheme. */
export const registerLimitStore = (scheme: string, load: Load<OpenLimitStore>): void =>
  register(LIMIT_STORES, scheme, load);

export async function openLimitStore(url: string, context: LimitStoreContext): Promise<LimitStore> {
  const scheme = schemeOf(url);
  const found = LIMIT_STORES.get(scheme);
  const { open } = (await found?.()) ?? {};
  if (open !== undefined) return open(url, context);
  throw new ImproperlyConfigured(
    "resultBackend",
    found === undefined
      ? `${scheme}:// keeps no limits; use SQLite, DynamoDB or memory, or registerLimitStore`
      : "no task had limits when this bundle was deployed; deploy it again",
  );
}

export const isBeatStoreScheme = (scheme: string): boolean => BEAT_STORES.has(scheme);

/** Beside a queue of AWS's; elsewhere there is none. */
export async function openOperator(
  brokerUrl: string,
  options: Readonly<Record<string, unknown>>,
): Promise<Operator | undefined> {
  if (typeof LOVAGE_BUNDLE === "undefined" && schemeOf(brokerUrl) === "sqs") {
    const { createOperator }: Partial<typeof import("./brokers/sqs-operator.ts")> = await import(
      "./brokers/sqs-operator.ts"
    );
    return createOperator?.(brokerUrl, options);
  }
  return undefined;
}

const schemeOf = (url: string): string => url.slice(0, Math.max(0, url.indexOf(":")));

/** Whether entries can be put at run time: beside SQS, only where the beat function is known. */
export const hasBeatStore = (config: {
  readonly brokerUrl: string;
  readonly beatFunction: string | undefined;
}): boolean => {
  const scheme = schemeOf(config.brokerUrl);
  return BEAT_STORES.has(scheme) && (scheme !== "sqs" || config.beatFunction !== undefined);
};

export async function openBeatStore(url: string, context: BeatStoreContext): Promise<BeatStore> {
  const scheme = schemeOf(url);
  const found = BEAT_STORES.get(scheme);
  const { open } = (await found?.()) ?? {};
  if (open !== undefined) return open(url, context);
  throw new ImproperlyConfigured("brokerUrl", `entries cannot be put at run time: ${reason()}`);

  function reason(): string {
    if (found !== undefined)
      return "that needs Node, which this bundle was not made for; use app.beat in a task, or in a service on Node";
    if (scheme === "sqs")
      return "this function was bundled without EventBridge, where they are kept; call registerRuntimeSchedule() of lovage/lambda in the module of its handler";
    return `beside ${scheme}:// there is nowhere to keep them; write them into beatSchedule, or use ${[...BEAT_STORES.keys()].map((known) => `${known}://`).join(", ")}`;
  }
}
