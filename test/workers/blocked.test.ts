/** Who is named where the event loop did not turn. */
import { expect, test } from "vitest";
import { createBlocking } from "../../src/workers/blocked.ts";
import type { Named } from "../../src/workers/report.ts";

const message = (task: string, id = "1"): Named => ({ task, id, shadow: null });

/** A loop whose time is moved by hand. */
function scene() {
  const lines: string[] = [];
  let time = 0;
  const blocking = createBlocking(
    (_, line) => lines.push(line),
    () => time,
  );
  const look = (ms = 500) => {
    time += ms;
    return blocking.look();
  };
  const pass = (ms: number) => {
    time += ms;
  };
  return { ...blocking, lines, look, pass, said: () => lines.map((line) => /^(.*?) blocked/.exec(line)?.[1]) };
}

test("a loop that turns is nobody's fault, and an idle one that stood neither", () => {
  const { look, began, lines } = scene();
  look();
  look(9_000);
  began(message("tasks.slow"));
  look();
  look(1_400);
  expect(lines).toEqual([]);
});

test("nobody needs to look while nothing runs, and that time counts for nobody", () => {
  const { look, pass, began, ended, lines, said } = scene();
  const first = began(message("tasks.short"));
  expect(look()).toBe(true);
  ended(first);
  expect(look()).toBe(false);
  pass(60_000);
  began(message("tasks.later"));
  look();
  expect(lines).toEqual([]);
  pass(1_000);
  began(message("tasks.beside"));
  look(2_000);
  expect(said()).toEqual(["Task tasks.beside[1]"]);
});

test("what blocks is named once, with how long and what to do", () => {
  const { look, began, ended, lines } = scene();
  const first = began(message("tasks.crunch"));
  look(3_500);
  began(message("tasks.crunch", "2"));
  ended(first);
  look(3_500);
  expect(lines).toEqual([
    expect.stringMatching(/^Task tasks\.crunch\[1] blocked the event loop for 3\.0 s, .*--pool processes/),
  ]);
});

test("what began or ended while nothing turned is named before what waited", () => {
  const { look, began, ended, said } = scene();
  began(message("tasks.waits"));
  look();
  const second = began(message("tasks.crunch"));
  look(2_500);
  ended(second);
  look();
  const third = began(message("tasks.late"));
  look();
  ended(third);
  look(2_500);
  expect(said()).toEqual(["Task tasks.crunch[1]", "Task tasks.late[1]"]);
});

test("where it may have been several, they are all named", () => {
  const { look, began, said } = scene();
  began(message("tasks.one"));
  began(message("tasks.other"));
  look();
  look(2_000);
  expect(said()).toEqual(["One of 2 tasks (tasks.one[1], tasks.other[1])"]);
});
