import { describe, expect, it } from "vitest";
import { type ConfigInput, resolveConfig, type TaskAnnotations } from "../../src/config/config.ts";
import { configFromObject } from "../../src/config/config-object.ts";
import { ImproperlyConfigured } from "../../src/errors.ts";
import { LIVE } from "../../src/config/live.ts";
import { refuse } from "../../src/config/names.ts";
import { FIXED } from "../../src/config/refused.ts";

/** What JavaScript, or a file read at run time, can hand over. */
const untyped = (input: Record<string, unknown>): ConfigInput => input as ConfigInput;
const failure = (input: Record<string, unknown>, env = {}): string => {
  try {
    resolveConfig(untyped(input), env);
  } catch (error) {
    expect(error).toBeInstanceOf(ImproperlyConfigured);
    return (error as Error).message;
  }
  throw new Error("nothing was refused");
};

describe("defaults", () => {
  it("fill in everything", () => {
    expect(resolveConfig()).toEqual({
      brokerUrl: "sqlite://",
      brokerUrlRequired: false,
      resultBackend: "sqlite://",
      brokerTransportOptions: {
        visibilityTimeout: 30,
        maxDelay: Number.POSITIVE_INFINITY,
        region: undefined,
        queueNamePrefix: "",
        waitTimeSeconds: 10,
        predefinedQueues: {},
        schedulerRoleArn: undefined,
        schedulerGroup: "default",
        schedulerKeyArn: undefined,
        schedulerMinDelay: 3600,
      },
      resultBackendTransportOptions: { globalKeyprefix: "" },
      timezone: "UTC",
      acceptContent: ["json"],
      resultAcceptContent: ["json"],
      taskSerializer: "json",
      resultSerializer: "json",
      taskCompression: undefined,
      resultCompression: undefined,
      resultExpires: 86_400,
      journal: true,
      journalExpires: 604_800,
      keepFailed: true,
      metrics: "queue",
      resultExtended: false,
      taskDefaultQueue: "celery",
      taskDefaultExchange: "",
      taskDefaultRoutingKey: "celery",
      taskDefaultPriority: undefined,
      taskQueues: { celery: { name: "celery", exchange: "", routingKey: "celery" } },
      taskRoutes: [],
      taskCreateMissingQueues: true,
      taskIgnoreResult: false,
      taskStoreErrorsEvenIfIgnored: false,
      taskTrackStarted: true,
      taskTimeLimit: undefined,
      taskSoftTimeLimit: undefined,
      taskAlwaysEager: false,
      taskEagerPropagates: false,
      taskStoreEagerResult: false,
      taskInheritParentPriority: false,
      taskAllowErrorCbOnChordHeader: false,
      taskPublishRetry: true,
      taskPublishRetryPolicy: { maxRetries: 3, intervalStart: 0, intervalStep: 0.2, intervalMax: 1 },
      taskAnnotations: {},
      maxDeliveries: 3,
      beatSchedule: {},
      workerPool: "async",
      workerConcurrency: undefined,
      workerPrefetchMultiplier: 4,
      imports: [],
      include: [],
      workerMaxTasksPerChild: undefined,
      workerMaxMemoryPerChild: undefined,
      workerSoftShutdownTimeout: 20,
    });
  });

  it("stand in for undefined and null", () => {
    const nothing = Object.fromEntries(Object.keys(LIVE).map((name, i) => [name, i % 2 ? null : undefined]));
    expect(resolveConfig(untyped(nothing))).toEqual(resolveConfig());
  });

  it("cannot be changed through the config", () => {
    const config = resolveConfig();
    expect(() => Object.assign(config.taskQueues, { other: {} })).toThrow(TypeError);
    expect(() => Object.assign(config.brokerTransportOptions, { maxDelay: 1 })).toThrow(TypeError);
    expect(() => Object.assign(config, { timezone: "Asia/Shanghai" })).toThrow(TypeError);
  });
});

describe("broker and backend", () => {
  it.each(["memory://", "sqlite:///tmp/jobs.db"])("keeps results beside the messages of %s", (brokerUrl) => {
    expect(resolveConfig({ brokerUrl }).resultBackend).toBe(brokerUrl);
  });

  it("wants a result backend beside SQS", () => {
    expect(failure({ brokerUrl: "sqs://" })).toBe(
      'resultBackend: has to be given beside an SQS broker, such as "dynamodb://eu-west-1/celery"',
    );
    expect(resolveConfig({ brokerUrl: "sqs://", resultBackend: "dynamodb:///celery" }).resultBackend).toBe(
      "dynamodb:///celery",
    );
  });

  it("lets the environment override the config, unless a variable is empty", () => {
    const input = { brokerUrl: "memory://", resultBackend: "memory://" };
    const config = resolveConfig(input, {
      LOVAGE_BROKER_URL: "sqs://eu-west-1",
      LOVAGE_RESULT_BACKEND: "dynamodb://eu-west-1/t",
      TZ: "Asia/Tokyo",
    });
    expect([config.brokerUrl, config.resultBackend, config.timezone]).toEqual([
      "sqs://eu-west-1",
      "dynamodb://eu-west-1/t",
      "UTC",
    ]);
    expect(resolveConfig(input, { LOVAGE_BROKER_URL: "" }).brokerUrl).toBe("memory://");
  });

  it("names the variable when its value is at fault", () => {
    expect(failure({}, { LOVAGE_BROKER_URL: "redis://localhost" })).toBe(
      "LOVAGE_BROKER_URL: must be sqlite://, sqlite:///path, memory://, or sqs://[region] (given: one that begins with redis://)",
    );
  });

  it("does not repeat a URL in an error, since it may hold a password", () => {
    expect(failure({ brokerUrl: "amqp://guest:secret@host//" })).not.toContain("secret");
  });

  it("reads region and prefix from the broker's URL, before the options", () => {
    const options = { region: "eu-west-1", queueNamePrefix: "a-" };
    const resolve = (brokerUrl: string) => {
      const { region, queueNamePrefix } = resolveConfig({
        brokerUrl,
        resultBackend: "memory://",
        brokerTransportOptions: options,
      }).brokerTransportOptions;
      return [region, queueNamePrefix];
    };
    expect(resolve("sqs://")).toEqual(["eu-west-1", "a-"]);
    expect(resolve("sqs://us-east-2?queue_name_prefix=b-")).toEqual(["us-east-2", "b-"]);
    expect(resolve("sqs://key:sec%2Fret@?queue_name_prefix=")).toEqual(["eu-west-1", ""]);
    // An endpoint is no region.
    expect(resolve("sqs://key:secret@127.0.0.1:4566")).toEqual(["eu-west-1", "a-"]);
    expect(resolve("sqs://?region=us-east-2&queueNamePrefix=b-")).toEqual(["us-east-2", "b-"]);
  });

  it("reads all other options from the broker's URL too, as they are read elsewhere", () => {
    const resolve = (query: string) =>
      resolveConfig({
        brokerUrl: `sqs://eu-west-1?${query}`,
        resultBackend: "memory://",
        brokerTransportOptions: { visibilityTimeout: 60, waitTimeSeconds: 5 },
      }).brokerTransportOptions;
    expect(resolve("visibility_timeout=120.5&waitTimeSeconds=20&scheduler_min_delay=80")).toMatchObject({
      visibilityTimeout: 120.5,
      waitTimeSeconds: 20,
      schedulerMinDelay: 80,
    });
    expect(resolve("is_secure=true")).toMatchObject({ visibilityTimeout: 60, waitTimeSeconds: 5 });
    for (const [query, message] of [
      ["visibility_timeout=43201", "brokerUrl.visibilityTimeout: must be a number of seconds over 0, at most 43200"],
      ["visibility_timeout=", "brokerUrl.visibilityTimeout"],
      ["wait_time_seconds=0", "brokerUrl.waitTimeSeconds: must be a number of seconds over 0, at most 20 (given: 0)"],
      ["waitTimeSeconds=long", "brokerUrl.waitTimeSeconds"],
      ["scheduler_min_delay=74", "brokerUrl.schedulerMinDelay"],
      ["predefined_queues=media", "brokerUrl.predefinedQueues: must be an object"],
    ] as const) {
      expect(() => resolve(query), query).toThrow(message);
    }
  });

  it("ends a key prefix with a sign, as Celery does", () => {
    const prefix = (globalKeyprefix: string) =>
      resolveConfig({ resultBackendTransportOptions: { globalKeyprefix } }).resultBackendTransportOptions
        .globalKeyprefix;
    expect(["shop", "shop_", "shop:", ""].map(prefix)).toEqual(["shop_", "shop_", "shop:", ""]);
  });
});

describe("names", () => {
  it.each([
    ["taskRoute", 'taskRoute: is not a setting; did you mean "taskRoutes"?'],
    ["task_routes", "task_routes: is called taskRoutes here; app.configFromObject() takes Celery's own names"],
    ["frobnicate", "frobnicate: is not a setting"],
    ["broker", "broker: is called brokerUrl here"],
    ["backend", "backend: is called resultBackend here"],
  ])("refuses %s", (name, message) => {
    expect(failure({ [name]: {} })).toBe(message);
  });

  it.each(Object.entries(FIXED))(
    "refuses a value of %s that would change nothing, and takes one that is true anyway",
    (name, { accepts }) => {
      expect(failure({ [name]: "another" })).toMatch(
        accepts.length === 0 ? /: has no meaning here: ./ : /: is always .* here, and "another" was given: ./,
      );
      for (const value of [...accepts, null, undefined])
        expect(() => resolveConfig(untyped({ [name]: value }))).not.toThrow();
    },
  );

  it("says why", () => {
    expect(failure({ taskAcksLate: false })).toMatch(
      /^taskAcksLate: is always true here, and false was given: a message is acknowledged after/,
    );
    expect(() => refuse("workerPoolRestarts", true, "CELERYD_POOL_RESTARTS")).toThrow(
      "CELERYD_POOL_RESTARTS: has no meaning here: the pool starts and replaces its processes or threads itself",
    );
  });
});

describe("values", () => {
  it.each<[Record<string, unknown>, string]>([
    [{ timezone: "Mars/Olympus" }, "timezone: must be a name of the tz database"],
    [{ payloadStore: "s3://Shop_Texts" }, 'payloadStore: must be s3://bucket/prefix (after "?" region and endpoint)'],
    [{ payloadStore: "s3://" }, "payloadStore: must be s3://bucket/prefix"],
    [{ payloadStore: "s3://texts/a prefix" }, "payloadStore: must be s3://bucket/prefix"],
    [{ payloadStore: "s3://K:secret@texts?regoin=eu-west-1" }, '(given: "s3://K:**@texts?regoin=eu-west-1")'],
    [{ payloadStore: "file://texts" }, "payloadStore: must be s3://bucket/prefix"],
    [{ payloadStore: "memory://two/parts" }, "payloadStore: must be s3://bucket/prefix"],
    [{ acceptContent: ["json", "pickle"] }, "acceptContent: pickle is never written or read"],
    [{ acceptContent: [] }, "acceptContent: must be a list of at least one serializer (given: [])"],
    [{ taskSerializer: "xml" }, 'taskSerializer: must be json, msgpack or yaml (given: "xml")'],
    [{ taskCompression: "lzma" }, "taskCompression: must be gzip, brotli or zstd"],
    [{ resultExpires: -1 }, "resultExpires: must be a number of seconds from 0 (given: -1)"],
    [{ resultExpires: { day: 1 } }, 'resultExpires.day: is not known; did you mean "days"?'],
    [{ resultExpires: { days: "1" } }, 'resultExpires.days: must be a number from 0 (given: "1")'],
    [{ resultExpires: {} }, "resultExpires: must be a number of seconds, or parts"],
    [{ taskTimeLimit: 0 }, "taskTimeLimit: must be a number of seconds over 0 (given: 0)"],
    [{ taskTimeLimit: Number.NaN }, "taskTimeLimit: must be a number of seconds over 0 (given: NaN)"],
    [{ taskTimeLimit: 10, taskSoftTimeLimit: 10 }, "taskSoftTimeLimit: must be below taskTimeLimit (10 s)"],
    [{ taskDefaultPriority: 256 }, "taskDefaultPriority: must be a whole number from 0 to 255 (given: 256)"],
    [{ taskTrackStarted: "yes" }, 'taskTrackStarted: must be true or false (given: "yes")'],
    [{ maxDeliveries: 0 }, "maxDeliveries: must be a whole number from 1 to 100 (given: 0)"],
    [{ workerPrefetchMultiplier: 0 }, "workerPrefetchMultiplier: must be a whole number from 1 to 1000 (given: 0)"],
    [{ workerConcurrency: 1.5 }, "workerConcurrency: must be a whole number from 1 to 10000 (given: 1.5)"],
    [{ workerMaxTasksPerChild: 0 }, "workerMaxTasksPerChild: must be a whole number from 1 (given: 0)"],
    [{ imports: [1] }, "imports[0]: must be a text that is not empty (given: 1)"],
    [
      { brokerTransportOptions: { visibilityTimeout: 43_201 } },
      "brokerTransportOptions.visibilityTimeout: must be a number of seconds over 0, at most 43200 (given: 43201)",
    ],
    [
      { brokerTransportOptions: { visibility_timeout: 1 } },
      "brokerTransportOptions.visibility_timeout: is called visibilityTimeout here",
    ],
    [
      { brokerTransportOptions: { waitTimeSeconds: 0 } },
      "brokerTransportOptions.waitTimeSeconds: must be a number of seconds over 0, at most 20 (given: 0)",
    ],
    [
      { brokerTransportOptions: { predefinedQueues: { media: {} } } },
      'brokerTransportOptions.predefinedQueues["media"].url: must be a queue\'s URL (given: undefined)',
    ],
    [
      { brokerTransportOptions: { predefinedQueues: { media: { url: "https://x/1/media.fifo" } } } },
      'brokerTransportOptions.predefinedQueues["media"].url: must be the URL of a standard queue, as its name says: both end in .fifo, or neither does (given: "https://x/1/media.fifo")',
    ],
    [
      { brokerTransportOptions: { predefinedQueues: { "media.fifo": { url: "https://x/1/media" } } } },
      'brokerTransportOptions.predefinedQueues["media.fifo"].url: must be the URL of a FIFO queue, as its name says: both end in .fifo, or neither does (given: "https://x/1/media")',
    ],
    [
      { brokerTransportOptions: { predefinedQueues: { media: { url: "media" } } } },
      'brokerTransportOptions.predefinedQueues["media"].url: must be a queue\'s URL (given: "media")',
    ],
    [
      { brokerTransportOptions: { predefinedQueues: { media: { url: "https://x/1/media", access_key_id: "k" } } } },
      'brokerTransportOptions.predefinedQueues["media"].access_key_id: has no meaning here: all queues are used with the same credentials',
    ],
    [{ brokerTransportOptions: { waitTime: 1 } }, "brokerTransportOptions.waitTime: is not known"],
    [{ brokerTransportOptions: new Map() }, "brokerTransportOptions: must be an object (given: {})"],
    [
      { taskPublishRetryPolicy: { maxRetries: -1 } },
      "taskPublishRetryPolicy.maxRetries: must be a whole number from 0 (given: -1)",
    ],
    [{ taskAnnotations: { "tasks.*": {} } }, 'taskAnnotations["tasks.*"]: matches no task'],
    [{ beatSchedule: { tick: { task: "tick", schedule: 0 } } }, 'beatSchedule["tick"].schedule: must be from 0.001'],
    [{ taskRoutes: { "a.*": { queu: "x" } } }, 'taskRoutes["a.*"].queu: is not known; did you mean "queue"?'],
    [{ taskRoutes: { "a.*": { routing_key: "x" } } }, 'taskRoutes["a.*"].routing_key: is called routingKey here'],
    [
      { taskRoutes: { "a.*": { queue: "x", exchangeType: "topic" } } },
      'taskRoutes["a.*"].exchangeType: "topic" is refused: only exchanges of the type "direct"',
    ],
    [
      { taskRoutes: [["a.*", { queue: "x" }]] },
      "taskRoutes[0]: must be a router; put pairs of a pattern and a route into a list of their own",
    ],
    [{ taskRoutes: ["proj.routers.route"] }, "taskRoutes[0]: a router is not found by its name here"],
  ])("refuses %j", (input, message) => {
    expect(failure(input)).toContain(message);
  });

  it("takes serializers by name and MIME type, and results as tasks unless told", () => {
    const config = resolveConfig({
      acceptContent: ["application/json", "json", "msgpack"],
      taskSerializer: "application/x-yaml",
    });
    expect(config.acceptContent).toEqual(["json", "msgpack"]);
    expect(config.resultAcceptContent).toEqual(["json", "msgpack"]);
    expect(config.taskSerializer).toBe("yaml");
    const yaml = resolveConfig({ resultAcceptContent: ["yaml"], resultSerializer: "yaml" });
    expect(yaml.resultAcceptContent).toEqual(["yaml"]);
  });

  it("reads what it writes itself, unless told otherwise", () => {
    const config = resolveConfig({ taskSerializer: "msgpack", resultSerializer: "yaml" });
    expect(config.acceptContent).toEqual(["json", "msgpack"]);
    expect(config.resultAcceptContent).toEqual(["json", "msgpack", "yaml"]);
  });

  it("refuses to write results that it may not read", () => {
    expect(failure({ resultAcceptContent: ["json"], resultSerializer: "yaml" })).toContain(
      "must have resultSerializer (yaml)",
    );
  });

  it("takes kombu's names of compressions", () => {
    const named = ["gzip", "zlib", "application/x-gzip", "brotli", "zstd", "zstandard"].map(
      (taskCompression) => resolveConfig({ taskCompression }).taskCompression,
    );
    expect(named).toEqual(["gzip", "gzip", "gzip", "brotli", "zstd", "zstd"]);
  });

  it("keeps results for seconds, parts that add up, or for ever", () => {
    expect(resolveConfig({ resultExpires: 90 }).resultExpires).toBe(90);
    expect(resolveConfig({ resultExpires: { days: 1, minutes: 2 } }).resultExpires).toBe(86_520);
    expect(resolveConfig({ resultExpires: { days: 1, hours: undefined } }).resultExpires).toBe(86_400);
    expect(resolveConfig({ resultExpires: 0 }).resultExpires).toBe(Infinity);
  });

  it("takes the number of CPUs for auto", () => {
    expect(resolveConfig({ workerConcurrency: "auto" }).workerConcurrency).toBeUndefined();
    expect(
      (["prefork", "processes", "threads", "gevent", "eventlet", "solo"] as const).map(
        (workerPool) => resolveConfig({ workerPool }).workerPool,
      ),
    ).toEqual(["processes", "processes", "threads", "async", "async", "solo"]);
  });

  it("merges lists of annotations, the first that knows a task deciding", () => {
    const taskAnnotations: TaskAnnotations[] = [
      { "tasks.add": { maxRetries: 5 } },
      { "tasks.add": { maxRetries: 9 }, "*": { ignoreResult: true } },
    ];
    expect(resolveConfig({ taskAnnotations }).taskAnnotations).toEqual({
      "tasks.add": { maxRetries: 5 },
      "*": { ignoreResult: true },
    });
  });

  it("fills up a retry policy that is given in part", () => {
    expect(resolveConfig({ taskPublishRetryPolicy: { maxRetries: null } }).taskPublishRetryPolicy).toEqual({
      maxRetries: null,
      intervalStart: 0,
      intervalStep: 0.2,
      intervalMax: 1,
    });
  });
});

describe("taskQueues", () => {
  const queues = (taskQueues: unknown, more: ConfigInput = {}) =>
    resolveConfig({ ...more, ...untyped({ taskQueues }) }).taskQueues;

  it("can be names, objects with a name, or an object by name", () => {
    const expected = {
      celery: { name: "celery", exchange: "", routingKey: "celery" },
      media: { name: "media", exchange: "", routingKey: "media", timeLimit: 600, memorySize: 2048 },
    };
    expect(queues(["celery", { name: "media", timeLimit: 600, memorySize: 2048 }])).toEqual(expected);
    expect(queues({ celery: {}, media: { timeLimit: 600, memorySize: 2048 } })).toEqual(expected);
  });

  it("can have any name, also one that every object knows", () => {
    const bound = { name: "__proto__", exchange: "", routingKey: "__proto__", timeLimit: 5 };
    for (const given of [JSON.parse('{ "__proto__": { "timeLimit": 5 } }'), [{ name: "__proto__", timeLimit: 5 }]]) {
      const declared = queues(given);
      expect(Object.entries(declared)).toEqual([["__proto__", bound]]);
      for (const name of ["constructor", "toString", "hasOwnProperty"]) expect(name in declared).toBe(false);
    }
    const converted = configFromObject({ task_queues: JSON.parse('{ "__proto__": { "time_limit": 5 } }') });
    expect(Object.entries(resolveConfig(converted).taskQueues)).toEqual([["__proto__", bound]]);
    expect(() => queues(["__proto__", "__proto__"])).toThrow('names the queue "__proto__" twice');
    const { taskAnnotations } = resolveConfig({ taskAnnotations: JSON.parse('{ "__proto__": { "timeLimit": 5 } }') });
    expect(Object.entries(taskAnnotations)).toEqual([["__proto__", { timeLimit: 5 }]]);
  });

  it("does not serve the default queue unless it is named, as in Celery", () => {
    expect(Object.keys(queues(["media"]))).toEqual(["media"]);
  });

  it("binds queues to the default exchange, and the default queue by the default routing key", () => {
    const bound = queues(
      { jobs: {}, media: {}, mail: { exchange: "post", routingKey: "out" } },
      { taskDefaultQueue: "jobs", taskDefaultExchange: "tasks", taskDefaultRoutingKey: "any" },
    );
    expect(Object.values(bound).map(({ exchange, routingKey }) => [exchange, routingKey])).toEqual([
      ["tasks", "any"],
      ["tasks", "media"],
      ["post", "out"],
    ]);
  });

  it.each<[unknown, string]>([
    [[], "taskQueues: must be at least one queue"],
    [["a.b", "a-b"], 'taskQueues: the queues "a.b" and "a-b" are both a-b on SQS'],
    [["a", "a"], 'taskQueues: names the queue "a" twice'],
    [["jobs-dlq"], 'the queue name "jobs-dlq" is reserved'],
    [["jobs.dlq"], 'the queue name "jobs.dlq" is reserved'],
    [["jobs-dlq.fifo"], 'the queue name "jobs-dlq.fifo" is reserved'],
    [["größe"], "has characters that SQS refuses"],
    [[""], "a queue name must not be empty"],
    [["q".repeat(77)], "has 81 characters and SQS takes 80"],
    [[`${"q".repeat(72)}.fifo`], "has 81 characters and SQS takes 80"],
    [
      { a: { exchangeType: "topic" } },
      'taskQueues.a.exchangeType: has no meaning here: only exchanges of the type "direct" exist',
    ],
    [{ a: { routingKey: "b" } }, "taskQueues.a: the anonymous exchange reaches a queue by its name alone"],
    [
      { a: { exchange: "x", routingKey: "k" }, b: { exchange: "x", routingKey: "k" } },
      '"a" and "b" have the same exchange "x" and routing key "k"',
    ],
    [{ a: { memorySize: 64 } }, "taskQueues.a.memorySize: must be a whole number from 128 to 10240 (given: 64)"],
    [{ a: { maxConcurrency: 1 } }, "taskQueues.a.maxConcurrency: must be a whole number from 2 to 1000 (given: 1)"],
    [{ "a.fifo": { batchSize: 11 } }, "taskQueues.a.fifo.batchSize: must be at most 10 on a FIFO queue (given: 11)"],
    [{ "a.fifo": { maxBatchingWindow: 1 } }, "AWS has no batching window for FIFO queues"],
    [{ a: { environment: { N: 1 } } }, "taskQueues.a.environment.N: must be a text (given: 1)"],
  ])("refuses %j", (taskQueues, message) => {
    expect(() => queues(taskQueues)).toThrow(message);
  });

  it("takes the longest name whose dead-letter queue fits, prefix included", () => {
    expect(() => queues(["q".repeat(76)])).not.toThrow();
    expect(() => queues(["q".repeat(75)], { brokerTransportOptions: { queueNamePrefix: "p-" } })).toThrow(
      "has 81 characters",
    );
  });
});

describe("types", () => {
  it("refuse what is refused at run time", () => {
    // @ts-expect-error Tasks are acknowledged late, always.
    expect(() => resolveConfig({ taskAcksLate: false })).toThrow(ImproperlyConfigured);
    // @ts-expect-error There is no such pool.
    expect(() => resolveConfig({ workerPool: "custom" })).toThrow(ImproperlyConfigured);
    expect(resolveConfig({ taskAcksLate: true, enableUtc: true, taskProtocol: 2 }).maxDeliveries).toBe(3);
  });
});
