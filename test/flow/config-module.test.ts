import { ImproperlyConfigured, Lovage } from "lovage";
import { expect, test } from "vitest";
import { inMemory } from "./stores.ts";

/** Celery's tutorial, as its config module has it. */
const CELERY_OLD = {
  BROKER_URL: "memory://",
  CELERY_RESULT_BACKEND: "memory://",
  CELERY_TIMEZONE: "Asia/Shanghai",
  CELERYBEAT_SCHEDULE: {
    "multiply-every-30-seconds": { task: "tasks.multiply", schedule: 30, args: [4, 3] },
  },
  CELERY_QUEUES: {
    default: { exchange: "default", binding_key: "default" },
    add_queue: { exchange: "compute", binding_key: "compute.add" },
  },
  CELERY_DEFAULT_QUEUE: "default",
  CELERY_DEFAULT_EXCHANGE: "default",
  CELERY_ROUTES: { "tasks.add": { exchange: "compute", routing_key: "compute.add" } },
};

const CELERY_NEW = {
  broker_url: "memory://",
  result_backend: "memory://",
  timezone: "Asia/Shanghai",
  beat_schedule: { "multiply-every-30-seconds": { task: "tasks.multiply", schedule: 30, args: [4, 3] } },
  task_queues: {
    default: { exchange: "default", binding_key: "default" },
    add_queue: { exchange: "compute", binding_key: "compute.add" },
  },
  task_default_queue: "default",
  task_default_exchange: "default",
  task_routes: { "tasks.add": { exchange: "compute", routing_key: "compute.add" } },
};

const OURS = {
  brokerUrl: "memory://",
  resultBackend: "memory://",
  timezone: "Asia/Shanghai",
  beatSchedule: { "multiply-every-30-seconds": { task: "tasks.multiply", schedule: 30, args: [4, 3] } },
  taskQueues: {
    default: { exchange: "default", routingKey: "default" },
    add_queue: { exchange: "compute", routingKey: "compute.add" },
  },
  taskDefaultQueue: "default",
  taskDefaultExchange: "default",
  taskRoutes: { "tasks.add": { exchange: "compute", routingKey: "compute.add" } },
};

test.each([
  ["Celery's old names", CELERY_OLD],
  ["Celery's new names", CELERY_NEW],
  ["our names", OURS],
])("a config module with %s sets queues, routes, beat and zone", async (_, module) => {
  const app = new Lovage("tasks").configFromObject(module);
  app.task("tasks.add", (x: number, y: number) => x + y);
  app.task("tasks.multiply", (x: number, y: number) => x * y);
  const t = inMemory(app, { beat: true });
  await app.sendTask("tasks.add", [1, 2]);
  expect(await t.drain()).toMatchObject([{ task: "tasks.add", queue: "add_queue", result: 3 }]);
  expect(await t.advance({ seconds: 60 })).toMatchObject([
    { task: "tasks.multiply", queue: "default", result: 12 },
    { task: "tasks.multiply", queue: "default", result: 12 },
  ]);
  expect(app.config.timezone).toBe("Asia/Shanghai");
});

test("an unknown name is refused with the nearest known one", () => {
  const app = new Lovage("tasks");
  expect(() => app.configFromObject({ CELERYBEAT_SHEDULE: {} })).toThrow(/CELERYBEAT_SCHEDULE/);
  expect(() => app.configFromObject({ beatShedule: {} })).toThrow(/beatSchedule/);
});

test("a setting that would change nothing here is refused with the reason", () => {
  expect(() => new Lovage("tasks").configFromObject({ broker_pool_limit: 5 })).toThrow(ImproperlyConfigured);
});

test("an app that is in use cannot be configured any more", async () => {
  const app = new Lovage("tasks");
  const add = app.task("tasks.add", (x: number, y: number) => x + y);
  inMemory(app);
  await add.delay(1, 2);
  expect(() => app.configFromObject({ timezone: "UTC" })).toThrow(/in use already/);
});

test("a test on an app leaves the app as it was", async () => {
  const app = new Lovage("tasks", { brokerUrl: "memory://own", timezone: "Europe/Berlin" });
  const add = app.task("tasks.add", (x: number, y: number) => x + y);
  await add.applyAsync([1, 2], { taskId: "before" });
  const t = inMemory(app);
  await add.applyAsync([1, 2], { taskId: "inside" });
  expect(await t.drain()).toMatchObject([{ id: "inside" }]);
  await t.close();
  expect(app.config.brokerUrl).toBe("memory://own");
  expect(await (await app.engine.broker()).size("celery")).toMatchObject({ ready: 1 });
  await app.close();
});
