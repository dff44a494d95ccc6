import { Ignore, Lovage, Task, TaskError } from "lovage";
import { testApp } from "lovage/testing";
import { expect, test } from "vitest";

class Busy extends Error {}

test("apply runs a task here and now, and its result has the same face", async () => {
  const app = new Lovage("tasks", { brokerUrl: "sqlite:////nowhere/at/all.db" });
  const add = app.task("tasks.add", { bind: true }, (self, x: number, y: number) => (self.request.isEager ? x + y : 0));
  const result = await add.apply([1, 2], { taskId: "id" });
  expect(result.id).toBe("id");
  expect([await result.state(), await result.get(), await result.ready(), await result.traceback()]).toEqual([
    "SUCCESS",
    3,
    true,
    null,
  ]);
  await result.forget();
  expect(await result.state()).toBe("PENDING");
});

test("a failure is an outcome of apply, not its own error", async () => {
  const app = new Lovage("tasks");
  const fail = app.task("tasks.fail", () => {
    throw new Busy("no");
  });
  const result = await fail.apply();
  expect(await result.state()).toBe("FAILURE");
  await expect(result.get()).rejects.toThrow(TaskError);
  await expect(result.get()).rejects.toMatchObject({ name: "Busy", message: "no" });
});

test("retries run at once, hooks in their order, and what follows runs too", async () => {
  const calls: string[] = [];
  const app = new Lovage("tasks");
  class Noting extends Task {
    override onRetry() {
      calls.push("onRetry");
    }
    override onSuccess() {
      calls.push("onSuccess");
    }
  }
  const next = app.task("tasks.next", (n: number) => void calls.push(`next ${n}`));
  const flaky = app.task("tasks.flaky", { base: Noting, autoretryFor: [Busy] }, () => {
    calls.push("run");
    if (calls.length < 4) throw new Busy();
    return 7;
  });
  const result = await flaky.apply([], { link: next.s() });
  expect(await result.get()).toBe(7);
  expect(calls).toEqual(["run", "onRetry", "run", "onRetry", "run", "onSuccess", "next 7"]);
});

test("a value that cannot travel fails here as it would there", async () => {
  const app = new Lovage("tasks");
  const odd = app.task("tasks.odd", (): unknown => () => 1);
  expect(await (await odd.apply()).state()).toBe("FAILURE");
  expect(
    await (
      await app
        .task("tasks.quit", () => {
          throw new Ignore();
        })
        .apply()
    ).state(),
  ).toBe("PENDING");
});

test("with taskAlwaysEager every call runs in its caller, by name too", async () => {
  const app = new Lovage("tasks", { taskAlwaysEager: true });
  const add = app.task("tasks.add", (x: number, y: number) => x + y);
  expect(await (await add.delay(1, 2)).get()).toBe(3);
  expect(await (await app.sendTask("tasks.add", [3, 4])).get()).toBe(7);
  await expect(app.sendTask("tasks.ad", [3, 4])).rejects.toThrow(/did you mean tasks\.add\?/);
});

test("taskEagerPropagates throws a failure at the call", async () => {
  const app = new Lovage("tasks", { taskAlwaysEager: true, taskEagerPropagates: true });
  const fail = app.task("tasks.fail", () => {
    throw new Busy("no");
  });
  await expect(fail.delay()).rejects.toMatchObject({ name: "Busy", message: "no" });
});

test("taskStoreEagerResult makes the result readable by its id", async () => {
  const app = new Lovage("tasks", { brokerUrl: "memory://eager", taskAlwaysEager: true, taskStoreEagerResult: true });
  const add = app.task("tasks.add", (x: number, y: number) => x + y);
  const { id } = await add.delay(1, 2);
  expect(await app.result(id).get()).toBe(3);
  await app.close();
});

test("taskStoreEagerResult stores nothing of a task that ignores its result, but its error where that is asked for", async () => {
  const app = new Lovage("tasks", { brokerUrl: "memory://eager", taskStoreEagerResult: true });
  const quiet = app.task("tasks.quiet", { ignoreResult: true }, () => 1);
  const loud = app.task("tasks.loud", { ignoreResult: true, storeErrorsEvenIfIgnored: true }, () => {
    throw new Busy();
  });
  const [one, other] = [await quiet.apply(), await loud.apply()];
  expect([await one.get(), await other.state()]).toEqual([1, "FAILURE"]);
  expect([await app.result(one.id).state(), await app.result(other.id).state()]).toEqual(["PENDING", "FAILURE"]);
  await app.close();
});

test("those who listen are told of a run in its caller, and no worker counts it", async () => {
  const app = new Lovage("tasks");
  const inner = app.task("tasks.inner", () => 1);
  const outer = app.task("tasks.outer", async () => (await inner.apply()).get());
  const told: string[] = [];
  app.on("taskPostrun", ({ task, request }) => void told.push(`${task} ${request.isEager}`));
  await using t = testApp(app);
  await outer.delay();
  const runs = await t.drain();
  expect(told).toEqual(["tasks.inner true", "tasks.outer false"]);
  expect(runs.map(({ task }) => task)).toEqual(["tasks.outer"]);
});

test.each(["json", "yaml", "msgpack"] as const)(
  "what runs in its caller is given what a worker would be, by %s",
  async (serializer) => {
    const app = new Lovage("tasks", { taskAlwaysEager: true, taskSerializer: serializer });
    class Money {
      cents = 250;
    }
    const show = app.task(
      "tasks.show",
      ((money: object) => `${money.constructor.name} ${JSON.stringify(money)}`) as (money: { cents: number }) => string,
    );
    const change = app.task("tasks.change", { bind: true }, (self, list: number[], by: number | bigint) => {
      list.push(Number(by));
      return self.request.retries === 0 ? self.retry({ args: [list, 5n], countdown: 0 }) : [list, typeof by];
    });
    expect(await (await show.delay(new Money())).get()).toBe('Object {"cents":250}');
    const list = [1];
    expect(await (await change.delay(list, 4)).get()).toEqual([[1, 4, 5], "number"]);
    expect(await (await change.apply([list, 4])).get()).toEqual([[1, 4, 5], "number"]);
    expect(list).toEqual([1]);
  },
);
