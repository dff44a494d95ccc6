import { Lovage, QueueNotFound } from "lovage";
import { describe, expect, test } from "vitest";
import { envelope, signature } from "./envelopes.ts";
import { inMemory, everywhere } from "./stores.ts";

const queues = async (config: ConstructorParameters<typeof Lovage>[1], names: readonly string[]) => {
  const app = new Lovage("tasks", config);
  for (const name of names) app.task(name, () => null);
  const t = inMemory(app);
  for (const name of names) await app.sendTask(name);
  const runs = await t.drain();
  return Object.fromEntries(runs.map(({ task, queue }) => [task, queue]));
};

test("tasks go by their names: exact before glob, glob before nothing; the rest to the default queue", async () => {
  const taskRoutes = { "media.*": { queue: "media" }, "media.mail": "mail" };
  expect(await queues({ taskRoutes }, ["media.cut", "media.mail", "other.task"])).toEqual({
    "media.cut": "media",
    "media.mail": "mail",
    "other.task": "celery",
  });
});

test("routes may be regular expressions and functions; the first that answers decides", async () => {
  const taskRoutes: NonNullable<ConstructorParameters<typeof Lovage>[1]>["taskRoutes"] = [
    [[/^(video|audio)\./, { queue: "media" }]],
    (name) => (name.endsWith(".slow") ? { queue: "slow" } : undefined),
  ];
  expect(await queues({ taskRoutes }, ["video.slow", "web.slow", "web.fast"])).toEqual({
    "video.slow": "media",
    "web.slow": "slow",
    "web.fast": "celery",
  });
});

describe.each(everywhere)("on %s", (_, start) => {
  test("a direct exchange brings a message to the queue whose binding has its routing key", async () => {
    const app = new Lovage("tasks", {
      taskDefaultQueue: "default",
      taskQueues: {
        default: { exchange: "default", routingKey: "default" },
        add_task_queue: { exchange: "compute", routingKey: "compute.add" },
        mul_task_queue: { exchange: "compute", routingKey: "compute.mul" },
      },
      taskRoutes: {
        "tasks.add": { exchange: "compute", routingKey: "compute.add" },
        "tasks.mul": { exchange: "compute", routingKey: "compute.mul" },
      },
    });
    for (const name of ["tasks.add", "tasks.mul", "tasks.other"]) app.task(name, () => null);
    const t = start(app);
    for (const name of app.tasks.keys()) await app.sendTask(name);
    await app.sendTask("tasks.other", [], { exchange: "compute", routingKey: "compute.mul" });
    const runs = await t.drain();
    expect(runs.map(({ task, queue }) => `${task} ${queue}`).sort()).toEqual([
      "tasks.add add_task_queue",
      "tasks.mul mul_task_queue",
      "tasks.other default",
      "tasks.other mul_task_queue",
    ]);
  });

  test("a worker takes from the queues it was given, and from no other", async () => {
    const app = new Lovage("tasks", { taskQueues: { celery: {}, media: {} } });
    const cut = app.task("media.cut", { queue: "media" }, () => "cut");
    const add = app.task("tasks.add", () => "add");
    const t = start(app, { queues: ["media"] });
    const [first, second] = [await cut.delay(), await add.delay()];
    await t.drain();
    expect([await first.state(), await second.state()]).toEqual(["SUCCESS", "PENDING"]);
  });
});

test("the queue of a call comes before that of the route", async () => {
  const app = new Lovage("tasks", { taskRoutes: { "tasks.add": "routed" } });
  const add = app.task("tasks.add", () => null);
  const t = inMemory(app);
  await add.applyAsync([], { queue: "called" });
  expect(await t.drain()).toMatchObject([{ queue: "called" }]);
});

test("a queue, or an exchange with its routing key, is the whole destination: of a call before that of the declaration", async () => {
  const app = new Lovage("tasks", { taskQueues: { celery: {}, feeds: { exchange: "feeds", routingKey: "import" } } });
  const cut = app.task("media.cut", { queue: "media" }, () => null);
  const load = app.task("feeds.load", { exchange: "feeds", routingKey: "import" }, () => null);
  const t = inMemory(app);
  await cut.applyAsync([], { exchange: "feeds", routingKey: "import" });
  await cut.applyAsync([], { exchange: "feeds" });
  await load.delay();
  await load.applyAsync([], { queue: "other" });
  const runs = await t.drain();
  expect(runs.map(({ task, queue }) => `${task} ${queue}`).sort()).toEqual([
    "feeds.load feeds",
    "feeds.load other",
    "media.cut feeds",
    "media.cut media",
  ]);
});

test("what Python says of where a next step goes reaches the queue that Celery would bring it to", async () => {
  const app = new Lovage("tasks", { taskQueues: ["celery", "media"] });
  for (const name of ["tasks.first", "tasks.next"]) app.task(name, () => null);
  const t = inMemory(app);
  const steps = {
    exchange: { exchange: "celery" },
    "unknown-exchange": { exchange: "elsewhere", exchange_type: "direct" },
    "routing-key": { routing_key: "elsewhere" },
    both: { exchange: "celery", routing_key: "celery" },
    anonymous: { exchange: "", queue: "media" },
  };
  for (const [id, options] of Object.entries(steps)) {
    const chain = [signature("tasks.next", [], { task_id: `after-${id}`, ...options })];
    await t.put(envelope({ task: "tasks.first", id, embed: { chain } }));
  }
  const runs = await t.drain();
  expect(runs.filter(({ task }) => task === "tasks.next").map(({ id, queue }) => [id, queue])).toEqual(
    Object.keys(steps).map((id) => [`after-${id}`, id === "anonymous" ? "media" : "celery"]),
  );
});

test("with taskCreateMissingQueues off, a queue that is not declared is refused by name", async () => {
  const app = new Lovage("tasks", { taskCreateMissingQueues: false });
  const add = app.task("tasks.add", () => null);
  inMemory(app);
  const call = add.applyAsync([], { queue: "media" });
  await expect(call).rejects.toThrow(QueueNotFound);
  await expect(call).rejects.toMatchObject({ queue: "media", message: expect.stringContaining("known: celery") });
});

test("a FIFO queue keeps the order of a group, also over a retry", async () => {
  const app = new Lovage("tasks");
  const order: string[] = [];
  const step = app.task("tasks.step", { bind: true, queue: "orders.fifo" }, (self, name: string) => {
    order.push(`${name}${self.request.retries}`);
    if (name === "a1" && self.request.retries === 0) self.retry({ countdown: 60 });
  });
  const t = inMemory(app, { concurrency: 4 });
  for (const name of ["a1", "a2", "b1"]) await step.applyAsync([name], { MessageGroupId: name.slice(0, 1) });
  await t.advance({ minutes: 5 });
  expect(order).toEqual(["a10", "b10", "a11", "a20"]);
});
