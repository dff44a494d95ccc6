import { describe, expect, it } from "vitest";
import { crontab } from "../../src/beat/crontab.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { configFromObject } from "../../src/config/config-object.ts";
import { ImproperlyConfigured } from "../../src/errors.ts";
import celery from "./celery-settings.json" with { type: "json" };
import * as celeryconfig from "./celeryconfig.ts";

const failure = (source: object, options = {}): string => {
  try {
    configFromObject(source, options);
  } catch (error) {
    expect(error).toBeInstanceOf(ImproperlyConfigured);
    return (error as Error).message;
  }
  throw new Error("nothing was refused");
};

describe("names", () => {
  it.each([
    ["ours", { taskTimeLimit: 5, timezone: "Asia/Tokyo", maxDeliveries: 2 }],
    ["Celery's new ones", { task_time_limit: 5, timezone: "Asia/Tokyo", max_deliveries: 2 }],
    ["ours and Celery's new ones", { taskTimeLimit: 5, timezone: "Asia/Tokyo", max_deliveries: 2 }],
  ])("can be %s", (_, source) => {
    expect(configFromObject(source)).toEqual({ taskTimeLimit: 5, timezone: "Asia/Tokyo", maxDeliveries: 2 });
  });

  it("can be Celery's old ones", () => {
    const source = {
      BROKER_URL: "memory://",
      CELERYD_TASK_TIME_LIMIT: 5,
      CELERY_TIMEZONE: "Asia/Tokyo",
      CELERY_MESSAGE_COMPRESSION: "zlib",
      ENABLE_UTC: true,
    };
    expect(configFromObject(source)).toEqual({
      brokerUrl: "memory://",
      taskTimeLimit: 5,
      timezone: "Asia/Tokyo",
      taskCompression: "zlib",
    });
  });

  it.each(celery.settings)("knows $name and $old", ({ name, old }) => {
    const message = (key: string) => {
      try {
        configFromObject({ [key]: Symbol("no value of any setting") });
        return "";
      } catch (error) {
        return (error as Error).message;
      }
    };
    for (const key of [name, old]) {
      expect(message(key)).toContain(key);
      expect(message(key)).not.toContain("is not a setting");
    }
  });

  it.each([
    ["taskRoute", 'taskRoute: is not a setting; did you mean "taskRoutes"?'],
    ["task_rutes", 'task_rutes: is not a setting; did you mean "task_routes"?'],
    ["CELERY_ROUTE", 'CELERY_ROUTE: is not a setting; did you mean "CELERY_ROUTES"?'],
    [
      "CELERY_TASK_TIME_LIMIT",
      'CELERY_TASK_TIME_LIMIT: is not a setting: its old name is CELERYD_TASK_TIME_LIMIT, its new one task_time_limit; for Django\'s form give { namespace: "CELERY" }',
    ],
    ["somethingElseAltogether", "somethingElseAltogether: is not a setting"],
  ])("suggest the nearest for %s", (key, message) => {
    expect(failure({ [key]: 1 })).toBe(message);
  });

  it("refuse a setting without a meaning by the name it was given", () => {
    expect(failure({ CELERYD_POOL_RESTARTS: true })).toMatch(
      /^CELERYD_POOL_RESTARTS: has no meaning here: the pool starts and replaces its processes/,
    );
    expect(failure({ task_acks_late: false })).toMatch(/^task_acks_late: is always true here/);
    expect(configFromObject({ CELERY_ACKS_LATE: true, CELERYD_POOL_RESTARTS: null })).toEqual({});
    expect(configFromObject({ CELERYD_POOL: "gevent" })).toEqual({ workerPool: "gevent" });
  });

  it("have CELERY_ENABLE_UTC, which Celery's documentation names though Celery reads ENABLE_UTC", () => {
    expect(configFromObject({ CELERY_ENABLE_UTC: true, ENABLE_UTC: true, CELERY_TIMEZONE: "UTC" })).toEqual({
      timezone: "UTC",
    });
    expect(failure({ CELERY_ENABLE_UTC: false })).toMatch(
      /^CELERY_ENABLE_UTC: is always true here, and false was given/,
    );
  });

  it("name the setting as it was written when its value is at fault", () => {
    expect(failure({ CELERYD_TASK_TIME_LIMIT: "5" })).toBe(
      'CELERYD_TASK_TIME_LIMIT: must be a number of seconds over 0 (given: "5")',
    );
  });
});

describe("what is no object", () => {
  it.each([[() => 1], [null], [undefined], ["celeryconfig"], [[{ taskTimeLimit: 5 }]]])("is refused: %s", (source) => {
    expect(failure(source as unknown as object)).toMatch(/^configFromObject: takes an object or a module/);
  });

  it("is refused as options too, and null counts as none", () => {
    expect(configFromObject({ taskTimeLimit: 5 }, null)).toEqual({ taskTimeLimit: 5 });
    expect(failure({}, "CELERY" as unknown as object)).toBe('configFromObject: must be an object (given: "CELERY")');
    expect(failure({}, { namespce: "CELERY" })).toMatch(/^configFromObject\.namespce: is not known; did you mean/);
    expect(failure({}, { namespace: "" })).toMatch(/^configFromObject\.namespace: must be a text that is not empty/);
  });
});

describe("old and new names", () => {
  it("do not mix; the rarer kind is to be renamed, the old ones at a tie", () => {
    expect(failure({ task_routes: {}, CELERY_QUEUES: ["celery"] })).toBe(
      "CELERY_QUEUES: old names of settings and new ones are mixed; rename CELERY_QUEUES → task_queues",
    );
    expect(failure({ task_routes: {}, CELERY_QUEUES: ["celery"], CELERY_TIMEZONE: "UTC" })).toBe(
      "task_routes: old names of settings and new ones are mixed; rename task_routes → CELERY_ROUTES",
    );
  });

  it("may both be given of one setting, of which the new one counts", () => {
    expect(configFromObject({ task_time_limit: 5, CELERYD_TASK_TIME_LIMIT: 9 })).toEqual({ taskTimeLimit: 5 });
    expect(configFromObject({ CELERYD_TASK_TIME_LIMIT: 9, task_time_limit: 5 })).toEqual({ taskTimeLimit: 5 });
  });
});

describe("a namespace", () => {
  it("takes the new names after it and leaves all others aside", () => {
    const settings = {
      SECRET_KEY: "x",
      DEBUG: true,
      CELERY_BROKER_URL: "memory://",
      CELERY_TASK_ROUTES: { a: "b" },
      CELERY_TIMEZONE: "UTC",
    };
    expect(configFromObject(settings, { namespace: "CELERY" })).toEqual({
      brokerUrl: "memory://",
      taskRoutes: { a: "b" },
      timezone: "UTC",
    });
    expect(configFromObject({ app_time_limit: 5, celery_task_time_limit: 5 }, { namespace: "celery" })).toEqual({
      taskTimeLimit: 5,
    });
  });

  it("suggests names with it in front", () => {
    expect(failure({ CELERY_TASK_ROUTE: {} }, { namespace: "CELERY" })).toBe(
      'CELERY_TASK_ROUTE: is not a setting; did you mean "CELERY_TASK_ROUTES"?',
    );
    expect(failure({ CELERY_TASK_RESULT_EXPIRES: 1 }, { namespace: "CELERY" })).toBe(
      "CELERY_TASK_RESULT_EXPIRES: is the old name of a setting; in a namespace it is CELERY_RESULT_EXPIRES",
    );
  });
});

describe("a module", () => {
  it("may export functions and names that begin with _ beside its settings", () => {
    expect(configFromObject(celeryconfig)).toEqual({ timezone: "Asia/Shanghai", taskRoutes: celeryconfig.task_routes });
  });

  it("may have its settings in a default export", () => {
    expect(configFromObject({ default: { timezone: "Asia/Tokyo" }, taskTimeLimit: 5 })).toEqual({
      timezone: "Asia/Tokyo",
      taskTimeLimit: 5,
    });
    expect(configFromObject({ default: () => 1, taskTimeLimit: 5 })).toEqual({ taskTimeLimit: 5 });
    expect(failure({ default: { timezone: "Asia/Tokyo" }, timezone: "UTC" })).toBe(
      "timezone: is given twice, by the module and in its default export",
    );
  });
});

describe("values", () => {
  const resolved = (source: object) => resolveConfig(configFromObject(source));

  it("has queues with kombu's keys", () => {
    const expected = {
      feeds: { name: "feeds", exchange: "feeds", routingKey: "feed.import" },
      mail: { name: "mail", exchange: "post", routingKey: "mail.out" },
    };
    const feeds = { exchange: "feeds", exchange_type: "direct", routing_key: "feed.import" };
    expect(
      resolved({
        CELERY_QUEUES: { feeds, mail: { exchange: { name: "post", type: "direct" }, binding_key: "mail.out" } },
      }).taskQueues,
    ).toEqual(expected);
    expect(
      resolved({
        task_queues: [
          { name: "feeds", ...feeds },
          { name: "mail", exchange: "post", routingKey: "mail.out" },
        ],
      }).taskQueues,
    ).toEqual(expected);
    expect(resolved({ task_queues: { feeds: null } }).taskQueues).toEqual({
      feeds: { name: "feeds", exchange: "", routingKey: "feeds" },
    });
    expect(failure({ CELERY_QUEUES: { feeds: { ...feeds, exchange_type: "topic" } } })).toContain(
      "CELERY_QUEUES.feeds.exchangeType: has no meaning here",
    );
    expect(failure({ CELERY_QUEUES: { feeds: { exchange: { name: "feeds", type: "fanout" } } } })).toContain(
      "only exchanges of the type",
    );
  });

  it("has routes with Celery's keys, at every depth", () => {
    const route = { exchange: "feeds", exchange_type: "direct", routing_key: "feed.import" };
    const expected = { exchange: "feeds", routingKey: "feed.import" };
    const dynamic = () => "media";
    expect(resolved({ CELERY_ROUTES: { "feeds.*": route, "feeds.add": "media" } }).taskRoutes).toEqual([
      { "feeds.*": expected, "feeds.add": { queue: "media" } },
    ]);
    expect(
      resolved({
        task_routes: [
          [
            ["feeds.*", route],
            [/feeds/, "media"],
          ],
          { a: route },
          dynamic,
        ],
      }).taskRoutes,
    ).toEqual([
      [
        ["feeds.*", expected],
        [/feeds/, { queue: "media" }],
      ],
      { a: expected },
      expect.any(Function),
    ]);
    expect(resolved({ task_routes: dynamic }).taskRoutes).toEqual([expect.any(Function)]);
  });

  it("has schedules in numbers, parts or crontabs, and leaves keyword arguments alone", () => {
    const morning = crontab({ hour: 9 });
    const options = { routing_key: "a", expires: 5 };
    const { beatSchedule } = resolved({
      CELERYBEAT_SCHEDULE: {
        often: { task: "a", schedule: 30, args: [1], kwargs: { some_thing: 1 }, options },
        sometimes: { task: "a", schedule: { minutes: 5, seconds: 1 } },
        daily: { task: "a", schedule: morning, catch_up: "last" },
      },
    });
    expect(beatSchedule).toEqual({
      often: {
        task: "a",
        schedule: 30,
        args: [1],
        kwargs: { some_thing: 1 },
        options: { routingKey: "a", expires: 5 },
      },
      sometimes: { task: "a", schedule: 301 },
      daily: { task: "a", schedule: morning, catchUp: "last" },
    });
    expect(failure({ beat_schedule: { x: { task: "a", schedule: { minute: 5 } } } })).toContain(
      'beat_schedule["x"].schedule.minute: is not known',
    );
  });

  it("has policies, transport options and annotations with Celery's keys", () => {
    const config = resolved({
      task_publish_retry_policy: { max_retries: 1, interval_max: 2 },
      broker_transport_options: { visibility_timeout: 60, queue_name_prefix: "shop-" },
      result_backend_transport_options: { global_keyprefix: "shop" },
      task_annotations: { "*": { max_retries: 5 } },
    });
    expect(config.taskPublishRetryPolicy).toEqual({
      maxRetries: 1,
      intervalStart: 0,
      intervalStep: 0.2,
      intervalMax: 2,
    });
    expect(config.brokerTransportOptions).toMatchObject({ visibilityTimeout: 60, queueNamePrefix: "shop-" });
    expect(config.resultBackendTransportOptions).toEqual({ globalKeyprefix: "shop_" });
    expect(config.taskAnnotations).toEqual({ "*": { maxRetries: 5 } });
    const predefined = { my_queue: { url: "https://sqs.eu-west-1.amazonaws.com/1/my_queue" } };
    expect(
      resolved({ broker_transport_options: { predefined_queues: predefined } }).brokerTransportOptions.predefinedQueues,
    ).toEqual(predefined);
    expect(failure({ broker_transport_options: { "sqs-creation-attributes": {} } })).toContain(
      "queues are made by the AWS construct",
    );
  });

  it("keeps results for ever where they expire after None, and takes any other null as not given", () => {
    expect(resolved({ CELERY_TASK_RESULT_EXPIRES: null, CELERYD_TASK_TIME_LIMIT: null })).toMatchObject({
      resultExpires: Infinity,
      taskTimeLimit: undefined,
    });
    expect(resolved({ CELERY_TASK_RESULT_EXPIRES: { days: 2 } }).resultExpires).toBe(172_800);
  });

  it("passes on what is of the wrong kind, for the setting's own check to refuse", () => {
    for (const name of [
      "task_queues",
      "task_routes",
      "beat_schedule",
      "task_annotations",
      "broker_transport_options",
      "task_publish_retry_policy",
    ]) {
      expect(failure({ [name]: 7 }), name).toMatch(new RegExp(`^${name}`));
    }
  });
});
