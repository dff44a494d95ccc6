/**
 * The broker on Amazon SQS: `sqs://[KEY:SECRET@][region or host[:port]]?queue_name_prefix=shop-`.
 *
 * Queues are named as kombu names them, and are made by the deployment, never by use: a misspelt name is an error here.
 */
import {
  type BatchResultErrorEntry,
  ChangeMessageVisibilityBatchCommand,
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  ListQueuesCommand,
  type Message,
  PurgeQueueCommand,
  type QueueAttributeName,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  type SendMessageBatchRequestEntry,
  SQSClient,
} from "#aws/sqs";
import {
  type AwsUrl,
  clientConfig,
  createLine,
  inParallel,
  MAX_SOCKETS,
  parseAwsUrl,
  SQS_OPTIONS,
  textOption,
} from "../aws/connection.ts";
import { systemClock } from "../clock.ts";
import { isRefusal, translateError } from "../aws/errors.ts";
import { OperationalError, PayloadTooLarge, QueueNotFound } from "../errors.ts";
import {
  type Broker,
  type BrokerContext,
  type BrokerLimits,
  type Delivery,
  deadLetterQueue,
  isFifo,
  LEAST_MAX_BYTES,
  MAX_BYTES,
  MAX_RECEIVES,
  type Outgoing,
  type QueueSize,
  type ReceiveOptions,
  refusal,
  type Settled,
  sizeOf,
} from "./broker.ts";
import { translateQueueName } from "./queue-name.ts";
import { type FarOff, isFarOff, schedulerOf } from "./sqs-delays.ts";
import type { Entries } from "./sqs-scheduler.ts";

/**
 * Defined by who bundles for AWS, as `lovage/cdk` does, with esbuild's `define`: `false` leaves EventBridge Scheduler out of
 * a bundle whose deployment does not have it.
 */
declare const LOVAGE_SCHEDULER: boolean;

/** See `open.ts`. */
declare const LOVAGE_BUNDLE: "aws";

const LIMITS: BrokerLimits = {
  maxBytes: MAX_BYTES,
  maxDelaySeconds: 900,
  maxVisibilitySeconds: 43_200,
  priority: false,
  maxReceive: 10,
  maxReceives: MAX_RECEIVES,
  // The AWS SDK does.
  retries: true,
  rolloutSeconds: 60,
};

/** Of one request that names several messages. */
const MAX_ENTRIES = 10;
/** How long one request of a long poll waits, in seconds: Celery's default of `wait_time_seconds`. */
const WAIT_SECONDS = 10;
/** For one try of a request, in milliseconds; a long poll has its wait on top. */
const REQUEST_TIMEOUT_MS = 5000;
/** In seconds. */
const DAY = 86_400;
/** How often an entry is sent that SQS refused alone, for reasons of its own, while it took the others. */
const ENTRY_ATTEMPTS = 4;
/** The longest wait before its second attempt, in milliseconds; twice as much before each further one. */
const ENTRY_BACKOFF_MS = 100;
/** Entries of Scheduler that are made at a time. It takes 250 requests a second of an account in small regions. */
const MAX_SCHEDULES = 10;

/** Opens the broker. No connection is made and no credentials are read before the first call. */
export function open(url: string, context: BrokerContext): Broker {
  const sqs = connect(url, context.options);
  const closing = new AbortController();
  /** What is under way: long polls only where their caller has gone, with releases of what they brought. */
  const pending = new Set<Promise<void>>();

  /** Asks the same of many messages of many queues, ten to a request, and puts the answers in order. */
  async function ask<T>(
    entries: readonly T[],
    queueOf: (entry: T) => string,
    request: (
      queue: string,
      entries: readonly { readonly Id: string; readonly entry: T }[],
    ) => Promise<readonly Refused[]>,
  ): Promise<Settled> {
    const settled: (Error | undefined)[] = entries.map(() => undefined);
    const batches: { readonly queue: string; readonly places: number[] }[] = [];
    for (const [queue, places] of Map.groupBy(entries.keys(), (place) => queueOf(entries[place] as T))) {
      for (let at = 0; at < places.length; at += MAX_ENTRIES)
        batches.push({ queue, places: places.slice(at, at + MAX_ENTRIES) });
    }
    await inParallel(batches, MAX_SOCKETS, async ({ queue, places }) => {
      try {
        const refused = await request(
          queue,
          places.map((place) => ({ Id: String(place), entry: entries[place] as T })),
        );
        for (const { place, error } of refused) settled[place] = error;
      } catch (error) {
        for (const place of places) settled[place] = error as Error;
      }
    });
    return settled;
  }

  /** By queue: each is asked once, however many texts wait for it. */
  const sizes = new Map<string, Promise<number>>();

  function maxBytes(queue: string): Promise<number> {
    let size = sizes.get(queue);
    if (size === undefined) {
      // Where it may not be asked, or cannot be just now, it is taken for SQS's own, and SQS tells.
      size = askMaxBytes(queue).catch(() => {
        sizes.delete(queue);
        return MAX_BYTES;
      });
      sizes.set(queue, size);
    }
    return size;
  }

  async function askMaxBytes(queue: string): Promise<number> {
    const { Attributes } = await sqs.call(queue, "GetQueueAttributes", (QueueUrl) =>
      sqs.client.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["MaximumMessageSize"] })),
    );
    return Number(Attributes?.["MaximumMessageSize"] ?? MAX_BYTES);
  }

  /** Why SQS, or this queue, cannot take an entry. */
  async function refusalOf(entry: Outgoing): Promise<Error | undefined> {
    const refused = refusal(entry, LIMITS);
    // As in `refusal`: most texts need not be measured.
    if (refused !== undefined || entry.body.length * 3 <= LEAST_MAX_BYTES) return refused;
    if (sizeOf(entry) <= LEAST_MAX_BYTES) return undefined;
    return refusal(entry, { ...LIMITS, maxBytes: await maxBytes(entry.queue) });
  }

  async function send(entries: readonly Outgoing[]): Promise<Settled> {
    const settled: (Error | undefined)[] = await Promise.all(entries.map(refusalOf));
    const accepted = [...entries.keys()].filter((place) => settled[place] === undefined);
    const { scheduler } = sqs;
    if ((typeof LOVAGE_SCHEDULER === "undefined" || LOVAGE_SCHEDULER) && scheduler !== undefined) {
      const now = context.now();
      const [far, near] = partition(accepted, (place) => isFarOff(entries[place] as Outgoing, scheduler, now));
      await Promise.all([
        sendAll(entries, near, settled),
        scheduleAll(entries, far, settled).then((hops) => sendAll(entries, hops, settled)),
      ]);
    } else await sendAll(entries, accepted, settled);
    return settled;
  }

  /** Has texts kept by Scheduler until they are due. Returns the places of those that have to go by hops. */
  async function scheduleAll(
    entries: readonly Outgoing[],
    places: readonly number[],
    settled: (Error | undefined)[],
  ): Promise<readonly number[]> {
    const hops: number[] = [];
    await inParallel(places, MAX_SCHEDULES, async (place) => {
      const entry = entries[place] as FarOff;
      try {
        const dead = translateQueueName(sqs.prefix, entry.deadLetters ?? deadLetterQueue(entry.queue));
        const made = await sqs.call(entry.queue, "SendMessage", async (url) =>
          (await sqs.entries())?.make(entry, url, dead),
        );
        if (!made) hops.push(place);
      } catch (error) {
        settled[place] = error as Error;
      }
    });
    return hops;
  }

  async function sendAll(
    entries: readonly Outgoing[],
    accepted: readonly number[],
    settled: (Error | undefined)[],
  ): Promise<void> {
    const batches: Batch[] = [];
    for (const [queue, places] of Map.groupBy(accepted, (place) => (entries[place] as Outgoing).queue)) {
      batches.push(
        ...batchesOf(
          queue,
          places.map((place) => ({ place, entry: entries[place] as Outgoing })),
        ),
      );
    }
    const report = (place: number, error: Error) => {
      settled[place] = error;
    };
    // A FIFO queue keeps the order of what it is sent, so its batches go one after the other.
    const lanes = [...Map.groupBy(batches, (batch) => (isFifo(batch.queue) ? batch.queue : batch)).values()];
    await inParallel(lanes, MAX_SOCKETS, async (lane) => {
      for (const batch of lane) await sendBatch(batch, report);
    });
  }

  async function sendBatch(batch: Batch, report: (place: number, error: Error) => void): Promise<void> {
    const { queue } = batch;
    let entries = batch.entries;
    for (let attempt = 1; ; attempt++) {
      let failed: readonly BatchResultErrorEntry[];
      try {
        const answer = await sqs.call(queue, "SendMessageBatch", (QueueUrl) =>
          sqs.client.send(new SendMessageBatchCommand({ QueueUrl, Entries: [...entries] })),
        );
        failed = answer.Failed ?? [];
      } catch (error) {
        if (entries.length > 1 && error instanceof OperationalError && isFaultOfOne(error)) {
          for (const entry of entries) await sendBatch({ queue, entries: [entry] }, report);
          return;
        }
        for (const entry of entries) report(Number(entry.Id), tooLarge(entry, error) ?? (error as Error));
        return;
      }
      const overtaken = isFifo(queue) ? overtakenIn(entries, failed) : new Set();
      const passing = new Set<string | undefined>();
      for (const entry of failed) {
        // Not by SenderFault: SQS says so of a throttled sender too.
        const isRefused = isRefusal(entry.Code ?? "");
        if (overtaken.has(entry.Id) && !isRefused) report(Number(entry.Id), overtakenError(queue, entry));
        else if (isRefused || attempt === ENTRY_ATTEMPTS)
          report(Number(entry.Id), entryError("sqs:SendMessage", queue, entry));
        else passing.add(entry.Id);
      }
      if (passing.size === 0) return;
      entries = entries.filter(({ Id }) => passing.has(Id));
      await systemClock.sleep(context.random() * ENTRY_BACKOFF_MS * 2 ** (attempt - 1));
    }
  }

  async function receive(queue: string, options: ReceiveOptions): Promise<readonly Delivery[]> {
    const signals = options.signal === undefined ? [closing.signal] : [options.signal, closing.signal];
    let rest = Math.ceil(options.wait / 1000);
    for (;;) {
      if (signals.some((signal) => signal.aborted)) return [];
      const wait = Math.min(rest, sqs.waitSeconds);
      rest -= wait;
      const deliveries = await unlessAborted(receiveOnce(queue, options, wait), signals, release);
      if (deliveries.length > 0 || rest === 0) return deliveries;
    }
  }

  async function receiveOnce(queue: string, options: ReceiveOptions, wait: number): Promise<readonly Delivery[]> {
    const visibility = options.visibility === undefined ? sqs.visibilityTimeout : Math.ceil(options.visibility / 1000);
    const answer = await sqs.call(queue, "ReceiveMessage", (QueueUrl) =>
      sqs.client.send(
        new ReceiveMessageCommand({
          QueueUrl,
          MaxNumberOfMessages: Math.min(options.max, MAX_ENTRIES),
          WaitTimeSeconds: wait,
          MessageSystemAttributeNames: [
            "ApproximateReceiveCount",
            "SentTimestamp",
            "MessageGroupId",
            "MessageDeduplicationId",
          ],
          MessageAttributeNames: ["All"],
          ...(visibility !== undefined && { VisibilityTimeout: visibility }),
          // A second try by the SDK gets the messages of the first, whose reply was lost, instead of locked groups.
          ...(isFifo(queue) && { ReceiveRequestAttemptId: globalThis.crypto.randomUUID() }),
        }),
        { requestTimeout: REQUEST_TIMEOUT_MS + wait * 1000 },
      ),
    );
    return (answer.Messages ?? []).map((message) => toDelivery(queue, message));
  }

  /**
   * A request that is broken off may have been answered already, and what SQS then handed out to nobody stays hidden for
   * the queue's whole visibility. So an aborted poll goes on by itself, and what it still brings goes back at once.
   */
  function release(poll: Promise<readonly Delivery[]>): void {
    // What could not be released comes back by itself.
    void awaited(
      poll.then((deliveries) => changeVisibility(deliveries.map((delivery) => ({ delivery, visibility: 0 })))),
    );
  }

  /** Has {@link close} wait for it, whoever else does. */
  function awaited<T>(work: Promise<T>): Promise<T> {
    const end = () => void pending.delete(task);
    const task = work.then(end, end);
    pending.add(task);
    return work;
  }

  function changeVisibility(
    entries: readonly { readonly delivery: Delivery; readonly visibility: number }[],
  ): Promise<Settled> {
    return ask(
      entries,
      ({ delivery }) => delivery.queue,
      async (queue, batch) => {
        const answer = await sqs.call(queue, "ChangeMessageVisibilityBatch", (QueueUrl) =>
          sqs.client.send(
            new ChangeMessageVisibilityBatchCommand({
              QueueUrl,
              Entries: batch.map(({ Id, entry: { delivery, visibility } }) => ({
                Id,
                ReceiptHandle: delivery.receipt,
                VisibilityTimeout: Math.ceil(visibility / 1000),
              })),
            }),
          ),
        );
        return refusedOf("sqs:ChangeMessageVisibility", queue, answer.Failed);
      },
    );
  }

  function remove(deliveries: readonly Delivery[]): Promise<Settled> {
    return ask(
      deliveries,
      ({ queue }) => queue,
      async (queue, batch) => {
        const answer = await sqs.call(queue, "DeleteMessageBatch", (QueueUrl) =>
          sqs.client.send(
            new DeleteMessageBatchCommand({
              QueueUrl,
              Entries: batch.map(({ Id, entry }) => ({ Id, ReceiptHandle: entry.receipt })),
            }),
          ),
        );
        return refusedOf("sqs:DeleteMessage", queue, answer.Failed);
      },
    );
  }

  /**
   * What is under way ends first, or a process that ends then would take it along: a message would stay hidden that was being
   * handed back. A long poll takes `wait_time_seconds` at the most.
   */
  async function close(): Promise<void> {
    closing.abort();
    while (pending.size > 0) await Promise.all(pending);
    await sqs.close();
  }

  return {
    limits: LIMITS,
    send: (entries) => awaited(send(entries)),
    receive,
    delete: (deliveries) => awaited(remove(deliveries)),
    changeVisibility: (entries) => awaited(changeVisibility(entries)),
    maxBytes,
    close,
    // A bundle of a function has no `app.control`, and nobody else asks.
    ...(typeof LOVAGE_BUNDLE === "undefined" ? forOperators(sqs) : ({} as ForOperators)),
  };
}

type ForOperators = Pick<Broker, "queues" | "size" | "purge">;

function forOperators(sqs: ReturnType<typeof connect>): ForOperators {
  /** By their names on SQS, without the prefix: `media-large` where the app says `media.large`. */
  async function queues(): Promise<readonly string[]> {
    const prefix = translateQueueName(sqs.prefix, "");
    const names: string[] = [];
    let NextToken: string | undefined;
    try {
      do {
        const answer = await sqs.client.send(
          new ListQueuesCommand({
            MaxResults: 1000,
            ...(prefix && { QueueNamePrefix: prefix }),
            ...(NextToken && { NextToken }),
          }),
        );
        for (const url of answer.QueueUrls ?? []) names.push(url.slice(url.lastIndexOf("/") + 1 + prefix.length));
        NextToken = answer.NextToken;
      } while (NextToken);
    } catch (error) {
      throw translateError(error, { action: "sqs:ListQueues", resource: `the queues named ${prefix}*` });
    }
    return names.sort();
  }

  async function size(queue: string): Promise<QueueSize> {
    const { Attributes } = await sqs.call(queue, "GetQueueAttributes", (QueueUrl) =>
      sqs.client.send(
        new GetQueueAttributesCommand({
          QueueUrl,
          AttributeNames: [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesDelayed",
            "ApproximateNumberOfMessagesNotVisible",
          ],
        }),
      ),
    );
    const count = (name: QueueAttributeName) => Number(Attributes?.[name] ?? 0);
    return {
      ready: count("ApproximateNumberOfMessages"),
      delayed: count("ApproximateNumberOfMessagesDelayed"),
      inFlight: count("ApproximateNumberOfMessagesNotVisible"),
    };
  }

  /** SQS takes up to a minute for it, and takes no second purge of the queue within it. */
  async function purge(queue: string): Promise<undefined> {
    await sqs.call(queue, "PurgeQueue", (QueueUrl) => sqs.client.send(new PurgeQueueCommand({ QueueUrl })));
  }

  return { queues, size, purge };
}

/**
 * Makes queues as a deployment would, each with its dead-letter queue, for tests and emulators. Those that exist with the same
 * settings are left alone. Throws `OperationalError`.
 *
 * @param options.visibility The queues' visibility timeout in seconds. Default: SQS's 30.
 * @param options.maxReceiveCount After how many deliveries SQS itself moves a message to the dead letters. Default: 1000, as `TaskQueues` deploys them.
 */
export async function createQueues(
  url: string,
  queues: readonly string[],
  options: { readonly visibility?: number; readonly maxReceiveCount?: number } = {},
): Promise<void> {
  const { client, prefix } = connect(url, {});
  const create = async (QueueName: string, attributes: Partial<Record<QueueAttributeName, string>>) => {
    const Attributes = { ...attributes, ...(isFifo(QueueName) && { FifoQueue: "true" }) };
    const { QueueUrl } = await client.send(new CreateQueueCommand({ QueueName, Attributes }));
    return QueueUrl;
  };
  try {
    for (const queue of queues) {
      const name = translateQueueName(prefix, queue);
      try {
        const QueueUrl = await create(deadLetterQueue(name), { MessageRetentionPeriod: String(14 * DAY) });
        const { Attributes } = await client.send(
          new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn"] }),
        );
        await create(name, {
          MessageRetentionPeriod: String(7 * DAY),
          VisibilityTimeout: String(options.visibility ?? 30),
          RedrivePolicy: JSON.stringify({
            deadLetterTargetArn: Attributes?.QueueArn,
            maxReceiveCount: options.maxReceiveCount ?? MAX_RECEIVES,
          }),
        });
      } catch (error) {
        throw translateError(error, { action: "sqs:CreateQueue", resource: `the queue ${name}` });
      }
    }
  } finally {
    client.destroy();
  }
}

// ── the connection ───────────────────────────────────────────────────────────────────────────────────────────────────

function connect(url: string, transportOptions: Readonly<Record<string, unknown>>) {
  const parsed = parseAwsUrl("brokerUrl", url, transportOptions, SQS_OPTIONS);
  const prefix = textOption("brokerTransportOptions", parsed.options, "queue_name_prefix") ?? "";
  const predefined = new Map(predefinedQueues(parsed.options["predefined_queues"]));
  const urls = new Map<string, Promise<string>>();
  const visibilityTimeout = secondsOption(parsed.options, "visibility_timeout");
  const waitSeconds = secondsOption(parsed.options, "wait_time_seconds") ?? WAIT_SECONDS;
  const scheduler = typeof LOVAGE_SCHEDULER === "undefined" || LOVAGE_SCHEDULER ? schedulerOf(parsed) : undefined;
  const inLine = createLine();
  let opened: SQSClient | undefined;
  let entries: Promise<Entries | undefined> | undefined;

  /** What is loaded when a first text is to be kept; nothing where the bundle does without, and then texts go by hops. */
  async function openEntries(): Promise<Entries | undefined> {
    const { open }: Partial<typeof import("./sqs-scheduler.ts")> =
      typeof LOVAGE_SCHEDULER === "undefined" || LOVAGE_SCHEDULER ? await import("./sqs-scheduler.ts") : {};
    if (scheduler === undefined || open === undefined) return undefined;
    return open(parsed, await connection.client.config.region(), scheduler);
  }

  /** The URL of a queue, looked up once. */
  function urlOf(name: string): Promise<string> {
    const known = predefined.get(name) ?? urls.get(name);
    if (known !== undefined) return known;
    const found = connection.client.send(new GetQueueUrlCommand({ QueueName: name })).then(({ QueueUrl }) => {
      if (QueueUrl === undefined)
        throw new OperationalError(`SQS gave no URL for the queue ${name}`, { retryable: true });
      return QueueUrl;
    });
    urls.set(name, found);
    found.catch(() => urls.delete(name));
    return found;
  }

  const connection = {
    prefix,
    visibilityTimeout,
    waitSeconds,
    scheduler,
    entries: () => (entries ??= openEntries()),
    async close(): Promise<void> {
      connection.client.destroy();
      (await entries)?.close();
    },
    get client(): SQSClient {
      opened ??= new SQSClient({
        // A host of one's own has any region, kombu's by default.
        ...(parsed.endpoint !== undefined && { region: globalThis.process?.env["AWS_REGION"] ?? "us-east-1" }),
        ...clientConfig(parsed, REQUEST_TIMEOUT_MS),
        // The URL of a queue names it; where it is reached is known from the region or the endpoint.
        useQueueUrlAsEndpoint: false,
        // TLS guards what is on its way.
        md5: false,
      });
      return opened;
    },
    /** Makes a request about one queue. Throws `QueueNotFound`, or what the SDK's error means. */
    async call<T>(queue: string, operation: string, request: (url: string) => Promise<T>): Promise<T> {
      const name = translateQueueName(prefix, queue);
      let action = "sqs:GetQueueUrl";
      try {
        const queueUrl = await urlOf(name);
        action = `sqs:${operation.replace(/Batch$/, "")}`;
        return await inLine(connection.client, () => request(queueUrl), operation === "ReceiveMessage");
      } catch (error) {
        if (error instanceof Error && /QueueDoesNotExist|NonExistentQueue|InvalidAddress/.test(error.name)) {
          urls.delete(name);
          const what = predefined.has(name) ? "predefined_queues" : "queue_name_prefix";
          const remedy = `SQS has none named ${JSON.stringify(name)} in ${await connection.client.config.region()} and this account; declare it in taskQueues and deploy (cdk deploy), or see whether ${what} is right`;
          throw new QueueNotFound(queue, [], { cause: error, remedy });
        }
        throw translateError(error, { action, resource: `the queue ${name}` });
      }
    },
  };
  return connection;
}

/** SQS counts in whole seconds. The config has seen to it that they are some. */
const secondsOption = (options: AwsUrl["options"], name: string): number | undefined =>
  options[name] === undefined ? undefined : Math.ceil(Number(options[name]));

/** Celery's `predefined_queues`: `{ "<prefixed name on SQS>": { url } }`. Spares the look-up, and the right to it. */
const predefinedQueues = (value: unknown) =>
  Object.entries((value ?? {}) as Readonly<Record<string, { readonly url: string }>>).map(
    ([name, { url }]) => [name, Promise.resolve(url)] as const,
  );

// ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** One request. Each entry's `Id` is its place among what is being sent. */
interface Batch {
  readonly queue: string;
  readonly entries: readonly SendMessageBatchRequestEntry[];
}

/** Fills requests in order: ten entries, and one message's size, are the most a request may have. */
function batchesOf(
  queue: string,
  outgoing: readonly { readonly place: number; readonly entry: Outgoing }[],
): readonly Batch[] {
  const batches: { readonly queue: string; readonly entries: SendMessageBatchRequestEntry[] }[] = [];
  let room = 0;
  for (const { place, entry } of outgoing) {
    const size = sizeOf(entry);
    let batch = batches.at(-1);
    if (batch === undefined || batch.entries.length === MAX_ENTRIES || size > room) {
      batch = { queue, entries: [] };
      batches.push(batch);
      room = MAX_BYTES;
    }
    batch.entries.push(toEntry(String(place), entry));
    room -= size;
  }
  return batches;
}

function toEntry(Id: string, entry: Outgoing): SendMessageBatchRequestEntry {
  const fifo = isFifo(entry.queue);
  const attributes = Object.entries(entry.attributes ?? {});
  return {
    Id,
    MessageBody: entry.body,
    // SQS counts in whole seconds. Rather late than early.
    ...(entry.delaySeconds ? { DelaySeconds: Math.ceil(entry.delaySeconds) } : {}),
    ...(fifo || entry.groupId !== undefined ? { MessageGroupId: entry.groupId ?? "default" } : {}),
    ...(fifo && { MessageDeduplicationId: entry.deduplicationId ?? globalThis.crypto.randomUUID() }),
    ...(attributes.length > 0 && {
      MessageAttributes: Object.fromEntries(
        attributes.map(([name, StringValue]) => [name, { DataType: "String", StringValue }]),
      ),
    }),
  };
}

function toDelivery(queue: string, message: Message): Delivery {
  const { MessageGroupId: groupId, MessageDeduplicationId: deduplicationId, ...system } = message.Attributes ?? {};
  const attributes: Record<string, string> = {};
  for (const [name, { StringValue }] of Object.entries(message.MessageAttributes ?? {})) {
    if (StringValue !== undefined) attributes[name] = StringValue;
  }
  return {
    queue,
    body: message.Body ?? "",
    messageId: message.MessageId ?? "",
    receipt: message.ReceiptHandle ?? "",
    receiveCount: Number(system["ApproximateReceiveCount"] ?? 1),
    sentAt: Number(system["SentTimestamp"] ?? 0),
    ...(groupId !== undefined && { groupId }),
    ...(deduplicationId !== undefined && { deduplicationId }),
    attributes,
  };
}

// ── what is answered ─────────────────────────────────────────────────────────────────────────────────────────────────

interface Refused {
  readonly place: number;
  readonly error: Error;
}

/** AWS says it in many ways: the receipt is of an earlier delivery, or the message is no longer in flight, or gone. */
const STALE = /ReceiptHandle(IsInvalid)?\b|MessageNotInflight|not in ?flight|does not exist|expired/i;

function refusedOf(action: string, queue: string, failed: readonly BatchResultErrorEntry[] = []): readonly Refused[] {
  return failed
    .filter(({ Code = "", Message = "" }) => !STALE.test(`${Code} ${Message}`))
    .map((entry) => ({ place: Number(entry.Id), error: entryError(action, queue, entry) }));
}

function entryError(action: string, queue: string, { Code, Message }: BatchResultErrorEntry): OperationalError {
  return new OperationalError(`${action} on the queue ${queue}: ${Code}${Message ? ` (${Message})` : ""}`, {
    retryable: !isRefusal(Code ?? ""),
  });
}

/**
 * Entries that SQS refused while it took a later one of their group: each entry of a request is taken or refused by itself.
 * What was taken cannot be withdrawn, so that another try would put them behind it.
 */
function overtakenIn(
  entries: readonly SendMessageBatchRequestEntry[],
  failed: readonly BatchResultErrorEntry[],
): ReadonlySet<string | undefined> {
  const refused = new Set(failed.map(({ Id }) => Id));
  const overtaken = new Set<string | undefined>();
  const taken = new Set<string | undefined>();
  for (const { Id, MessageGroupId } of entries.toReversed()) {
    if (!refused.has(Id)) taken.add(MessageGroupId);
    else if (taken.has(MessageGroupId)) overtaken.add(Id);
  }
  return overtaken;
}

function overtakenError(queue: string, { Code, Message }: BatchResultErrorEntry): OperationalError {
  return new OperationalError(
    `sqs:SendMessage on the queue ${queue}: ${Code}${Message ? ` (${Message})` : ""}; it was not sent, and not tried again, because a later message of its group was taken: send it again if it may come after that one`,
    { retryable: true },
  );
}

/** A queue that takes less than others says so when it is sent more. */
function tooLarge(entry: SendMessageBatchRequestEntry, error: unknown): PayloadTooLarge | undefined {
  const [, limit] = /shorter than (\d+) bytes/.exec(error instanceof Error ? error.message : "") ?? [];
  if (limit === undefined) return undefined;
  const size = sizeOf({ queue: "", body: entry.MessageBody ?? "" });
  return new PayloadTooLarge("the message", size, Number(limit), { cause: error });
}

/** SQS refuses a whole request for some faults of a single entry (a character, an empty text). */
function isFaultOfOne(error: OperationalError): boolean {
  const cause = error.cause;
  return (
    !error.retryable &&
    cause instanceof Error &&
    /InvalidMessageContents|InvalidParameter|MissingParameter|Validation|TooLong/.test(cause.name)
  );
}

// ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A poll's deliveries; none as soon as a signal aborts, and then the poll itself goes to `abandon`. */
function unlessAborted(
  poll: Promise<readonly Delivery[]>,
  signals: readonly AbortSignal[],
  abandon: (poll: Promise<readonly Delivery[]>) => void,
): Promise<readonly Delivery[]> {
  const { promise, resolve, reject } = Promise.withResolvers<readonly Delivery[]>();
  const stop = () => {
    for (const signal of signals) signal.removeEventListener("abort", onAbort);
  };
  const onAbort = () => {
    stop();
    abandon(poll);
    resolve([]);
  };
  for (const signal of signals) signal.addEventListener("abort", onAbort);
  // What comes is its caller's, or is abandoned: from here on nobody aborts it any more.
  poll.finally(stop).then(resolve, reject);
  return promise;
}

/** Those of which it is true, and the others. */
function partition<T>(items: readonly T[], isOne: (item: T) => boolean): readonly [T[], T[]] {
  const [ones, others]: [T[], T[]] = [[], []];
  for (const item of items) (isOne(item) ? ones : others).push(item);
  return [ones, others];
}
