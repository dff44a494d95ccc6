import { Lovage, Task } from "lovage";
import { expect, test } from "vitest";
import { bindTask } from "../../src/tasks/direct.ts";
import type { TaskContext } from "../../src/tasks/context.ts";

class Counting extends Task {
  count = 0;
  #secret = 7;
  handler = () => this.count;
  secret() {
    return this.#secret;
  }
  get double() {
    return this.count * 2;
  }
}

const app = new Lovage("tasks");
const bind = () => {
  const task = app.task(`tasks.count-${app.tasks.size}`, { base: Counting }, () => {});
  const context = { name: "shown", signal: AbortSignal.abort("told") } as unknown as TaskContext;
  return { task, self: bindTask(task as unknown as Task, context) as unknown as Counting & TaskContext };
};

test("a bound task shows its context first, and the task behind it", () => {
  const { task, self } = bind();
  expect([
    self.name,
    self.signal.reason,
    self.app === task.app,
    "signal" in self,
    "count" in self,
    "other" in self,
  ]).toEqual(["shown", "told", true, true, true, false]);
  expect(self).toBeInstanceOf(Counting);
});

test("what a bound task stores is stored on the task", () => {
  const { task, self } = bind();
  self.count = 4;
  expect([task.count, self.double, self.handler()]).toEqual([4, 8, 4]);
});

test("methods of a bound task reach private fields, also when they are taken off it", () => {
  const { secret } = bind().self;
  expect(secret()).toBe(7);
});
