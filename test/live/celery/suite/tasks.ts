/** The tasks of Celery's integration suite, t/integration/tasks.py, as Lovage runs them. */
import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type AsyncResult,
  chain,
  chord,
  type ConfigInput,
  type FailedRequest,
  group,
  type GroupResult,
  Lovage,
  PythonError,
  Reject,
  type RunningTask,
  type Signature,
  type SignatureLike,
} from "lovage";
import type { Redis } from "./redis.ts";

const ExpectedException = (...args: unknown[]) => new PythonError("t.integration.tasks", "ExpectedException", args);

/** `chain()` here throws where it is written. */
const EMPTY_CHAIN = {
  task: "celery.chain",
  args: [],
  kwargs: { tasks: [] },
  options: {},
  subtask_type: "chain",
  immutable: false,
};

/** Python's `+`. */
function plus(x: unknown, y: unknown): unknown {
  if (typeof x === "number" && typeof y === "number") return x + y;
  if (typeof x === "string" && typeof y === "string") return x + y;
  if (Array.isArray(x) && Array.isArray(y)) return [...(x as unknown[]), ...(y as unknown[])];
  throw new TypeError(`unsupported operand type(s) for +: ${typeof x} and ${typeof y}`);
}

type Tuple = readonly [readonly [string, Tuple | null], readonly Tuple[] | null];

function tupleOf(result: AsyncResult | GroupResult): Tuple {
  const parent = result.parent === null ? null : tupleOf(result.parent);
  return [[result.id, parent], "results" in result ? result.results.map(tupleOf) : null];
}

const sum = (numbers: readonly unknown[]): unknown => numbers.reduce(plus, 0);

export function createApp(config: ConfigInput, redis: Redis): Lovage {
  const app = new Lovage("t.integration", config);
  type Self = RunningTask;
  const named = (name: string) => `t.integration.tasks.${name}`;
  const s = (name: string, ...args: unknown[]) => app.signature(named(name), args);
  const si = (name: string, ...args: unknown[]) => app.signature(named(name), args, { immutable: true });
  const push = (key: string, text: string) => redis.command("RPUSH", key, text);

  app.task(named("identity"), { params: ["x"] }, (x: unknown) => x);
  app.task(named("add"), { params: ["x", "y", "z?"] }, (x: unknown, y: unknown, z?: unknown) =>
    z ? plus(plus(x, y), z) : plus(x, y),
  );
  app.task(named("mul"), { params: ["x", "y"] }, (x: number, y: number) => x * y);
  app.task(named("write_to_file_and_return_int"), { params: ["file_name", "i"] }, (name: string, i: number) => {
    appendFileSync(name, `${i}\n`);
    return i;
  });
  app.task(named("add_not_typed"), { params: ["x", "y"] }, plus);
  app.task(named("add_ignore_result"), { params: ["x", "y"], ignoreResult: true }, plus);
  app.task(named("add_with_result"), { params: ["x", "y"], ignoreResult: false }, plus);
  app.task(named("raise_error"), () => {
    throw new PythonError("builtins", "ValueError", ["deliberate error"]);
  });
  app.task(named("chain_add"), { params: ["x", "y"] }, async (x: number, y: number) => {
    await chain(s("add", x, x), s("add", y)).applyAsync();
  });
  app.task(named("chord_add"), { params: ["x", "y"] }, async (x: number, y: number) => {
    await chord(group([s("add", x, x)]), s("add", y)).applyAsync();
  });
  for (const name of ["delayed_sum", "delayed_sum_with_soft_guard"])
    app.task(
      named(name),
      { bind: true, params: ["numbers", "pause_time"] },
      async (self: Self, numbers: unknown[], seconds: number = 1) => {
        try {
          await sleep(seconds * 1000, undefined, { signal: self.signal });
        } catch {
          if (name === "delayed_sum_with_soft_guard") return 0;
          throw self.signal.reason;
        }
        return sum(numbers);
      },
    );
  app.task(named("tsum"), { params: ["nums"] }, (nums: unknown[]) => sum(nums));
  app.task(named("xsum"), { params: ["nums"] }, (nums: unknown[]) =>
    sum(nums.map((num) => (Array.isArray(num) ? sum(num as unknown[]) : num))),
  );
  app.task(
    named("sum_and_record"),
    { bind: true, params: ["values", "redis_key"] },
    async (self: Self, values: unknown[], key: string) => {
      await push(key, self.request.id);
      return sum(values);
    },
  );
  app.task(named("add_replaced"), { bind: true, params: ["x", "y"] }, (self: Self, x: number, y: number) =>
    self.replace(s("add", x, y)),
  );
  app.task(
    named("record_replaced_task_nesting"),
    { bind: true, params: ["replacements", "nesting?"] },
    (self: Self, replacements: number, nesting?: number[]) => {
      const all = [...(nesting ?? []), self.request.replacedTaskNesting];
      if (replacements) self.replace(s("record_replaced_task_nesting", replacements - 1, all));
      return all;
    },
  );
  app.task(named("add_replaced_with_chain"), { bind: true, params: ["x", "y"] }, (self: Self, x: number, y: number) =>
    self.replace(chain(s("add", x, y), s("identity"))),
  );
  const linked = (message: string | null | undefined) => (message ? si("redis_echo", message) : s("redis_echo"));
  app.task(
    named("replace_with_chain"),
    { bind: true, params: ["...args", "link_msg?"] },
    (self: Self, args: unknown[], message?: string | null) =>
      self.replace(chain(s("identity", ...args), s("identity")).link(linked(message))),
  );
  app.task(
    named("replace_with_chain_which_raises"),
    { bind: true, params: ["...args", "link_msg?"] },
    (self: Self, args: unknown[], message?: string | null) =>
      self.replace(chain(s("identity", ...args), s("raise_error")).linkError(linked(message))),
  );
  app.task(named("replace_with_empty_chain"), { bind: true, params: ["...args"] }, (self: Self) =>
    self.replace(EMPTY_CHAIN),
  );
  app.task(named("replace_with_chain_which_contains_a_group"), { bind: true }, (self: Self) =>
    self.replace(chain(s("add", 1, 2), group([s("add", 1), s("add", 1)]))),
  );
  app.task(named("add_to_all"), { bind: true, params: ["nums", "val"] }, (self: Self, nums: number[], val: number) =>
    self.replace(group(nums.map((num) => s("add", num, val)))),
  );
  app.task(
    named("add_to_all_to_chord"),
    { bind: true, params: ["nums", "val"] },
    async (self: Self, nums: number[], val: number) => {
      for (const num of nums) await self.addToChord(s("add", num, val));
      return 0;
    },
  );
  app.task(
    named("add_chord_to_chord"),
    { bind: true, params: ["nums", "val"] },
    async (self: Self, nums: number[], val: number) => {
      await self.addToChord(group(nums.map((num) => s("add", num, val))).pipe(s("tsum")));
      return 0;
    },
  );
  app.task(
    named("print_unicode"),
    { bind: true, params: ["log_message", "print_message"] },
    (self: Self, log: string = "håå®ƒ valmuefrø", print = "hiöäüß") => {
      self.log.warning(log);
      process.stdout.write(`${print}\n`);
    },
  );
  app.task(named("return_exception"), { params: ["e"] }, (e: unknown) => [e, true]);
  app.task(named("sleeping"), { bind: true, params: ["i", "**_"] }, async (self: Self, seconds: number) => {
    await sleep(seconds * 1000, undefined, { signal: self.signal });
  });
  const ids = ({ request }: Self, i: unknown) => [request.rootId, request.parentId, i];
  app.task(named("ids"), { bind: true, params: ["i"] }, ids);
  app.task(named("collect_ids"), { bind: true, params: ["res", "i"] }, (self: Self, res: unknown, i: unknown) => [
    res,
    ids(self, i),
  ]);
  app.task(
    named("retry"),
    { bind: true, params: ["return_value?"], defaultRetryDelay: 1 },
    (self: Self, value?: unknown) => {
      if (value && self.request.retries >= 3) return value;
      return self.retry({ exc: ExpectedException(), countdown: 5 });
    },
  );
  app.task(
    named("retry_unpickleable"),
    { bind: true, params: ["foo", "bar", "*", "retry_kwargs"] },
    (self: Self, foo: string, _bar: string, options: { countdown: number; max_retries: number }) =>
      self.retry({
        exc: new PythonError("t.integration.tasks", "UnpickleableException", [foo]),
        countdown: options.countdown,
        maxRetries: options.max_retries,
      }),
  );
  app.task(
    named("retry_with_args_after_kwargs"),
    { bind: true, params: ["foo", "bar", "label?"], maxRetries: 1 },
    (self: Self, foo: number, bar: number, label: string | null = null) => {
      const { retries, isEager } = self.request;
      if (!retries) self.retry({ args: [foo + 1, bar + 1], countdown: 0 });
      return { foo, bar, label, retries, is_eager: isEager };
    },
  );
  app.task(
    named("retry_with_kwargs_after_args"),
    { bind: true, params: ["foo", "bar"], maxRetries: 1 },
    (self: Self, foo: number, bar: number) => {
      const { retries, isEager } = self.request;
      if (!retries) self.retry({ kwargs: { foo: foo + 1 }, countdown: 0 });
      return { foo, bar, retries, is_eager: isEager };
    },
  );
  app.task(
    named("retry_once"),
    { bind: true, params: ["...args", "expires?", "max_retries", "countdown"], expires: 120, maxRetries: 1 },
    (
      self: Self,
      _args: unknown[],
      expires: number | null | undefined,
      maxRetries: number | null = 1,
      countdown: number | null = 0.1,
    ) => {
      if (self.request.retries) return self.request.retries;
      return self.retry({
        ...(expires ? { expires } : {}),
        ...(countdown === null ? {} : { countdown }),
        maxRetries,
      });
    },
  );
  for (const [name, ignoreResult] of [
    ["retry_once_ignore_result", true],
    ["retry_once_with_result", false],
  ] as const)
    app.task(named(name), { bind: true, ignoreResult }, (self: Self) =>
      self.request.retries ? self.request.retries : self.retry({ countdown: 0 }),
    );
  app.task(named("retry_once_priority"), { bind: true, maxRetries: 1 }, (self: Self) =>
    self.request.retries ? self.request.deliveryInfo.priority : self.retry({ countdown: 0.1, maxRetries: 1 }),
  );
  app.task(named("retry_once_headers"), { bind: true, maxRetries: 1 }, (self: Self) =>
    self.request.retries ? self.request.headers : self.retry({ countdown: 0.1, maxRetries: 1 }),
  );
  app.task(
    named("redis_echo"),
    { params: ["message", "redis_key"] },
    async (message: unknown, key: string = "redis-echo") => {
      await push(key, message instanceof Uint8Array ? Buffer.from(message).toString() : String(message));
    },
  );
  app.task(
    named("redis_echo_group_id"),
    { bind: true, params: ["_", "redis_key"] },
    async (self: Self, _: unknown, key: string = "redis-group-ids") => {
      await push(key, String(self.request.group));
    },
  );
  const count = async (key = "redis-count") => void (await redis.command("INCR", key));
  app.task(named("redis_count"), { params: ["redis_key"] }, count);
  for (const [name, letter, next] of [
    ["second_order_replace1", "A", () => s("second_order_replace2")],
    ["second_order_replace2", "B", () => s("redis_echo", "In/Out C")],
  ] as const)
    app.task(named(name), { bind: true, params: ["state"] }, async (self: Self, state = false) => {
      await push("redis-echo", `${state ? "Out" : "In"} ${letter}`);
      if (state) return;
      const again = app.signature(named(name), [], { kwargs: { state: true }, immutable: true });
      self.replace(chain(next(), again));
    });
  app.task(named("build_chain_inside_task"), async () => {
    // The test looks at the form of a result within a result: [[id, parent], children].
    const steps = [s("add", 1, 1), s("add", 2), group([s("add", 3), s("add", 4)]), s("add", 5)] as const;
    return tupleOf(await chain(...steps).applyAsync());
  });
  const fail = (...args: unknown[]) => {
    throw ExpectedException("Task expected to fail", ...args);
  };
  app.task(named("fail"), fail);
  app.task(named("fail_unpickleable"), { params: ["foo", "bar"] }, (foo: string) => {
    throw new PythonError("t.integration.tasks", "UnpickleableException", [foo]);
  });
  app.task(named("fail_replaced"), { bind: true }, (self: Self, ...args: unknown[]) =>
    self.replace(si("fail", ...args)),
  );
  app.task(
    named("return_priority"),
    { bind: true, params: ["...args"] },
    (self: Self) => `Priority: ${self.request.deliveryInfo.priority ?? "None"}`,
  );
  app.task(named("return_request_eta"), { bind: true }, (self: Self) => self.request.eta);
  app.task(named("return_properties"), { bind: true }, (self: Self) => self.request.properties);
  app.task(
    "auto_retry_class_task",
    { bind: true, autoretryFor: [PythonError], retryKwargs: { maxRetries: 1 }, retryBackoff: true },
    (self: Self) => {
      if (self.request.retries) return self.request.retries;
      throw new PythonError("builtins", "ValueError");
    },
  );
  const nested = {
    chain_chain: () => chain(chain(s("add"))),
    chain_group: () => chain(group([s("add")])),
    chain_chord: () => chain(chord([s("add")], s("add"))),
    group_chain: () => group([chain(s("add"))]),
    group_group: () => group([group([s("add")])]),
    group_chord: () => group([chord([s("add")], s("add"))]),
    chord_chain: () => chord([chain(s("add"))], s("add")),
    chord_group: () => chord(group([s("add")]), s("add")),
    chord_chord: () => chord([chord([s("add")], s("add"))], s("add")),
  };
  for (const [name, make] of Object.entries(nested))
    app.task(named(`return_nested_signature_${name}`), () => (make() as Signature).toJSON() as never);
  app.task(named("rebuild_signature"), { params: ["sig_dict"] }, (data: SignatureLike) => {
    app.signature(data as never);
  });
  app.task(named("errback_old_style"), { params: ["request_id"] }, async (id: string) => {
    await count(id);
    return id;
  });
  app.task(named("errback_new_style"), async ({ id }: FailedRequest, _exc: Error, _traceback: string | null) => {
    await count(id);
    return id;
  });
  app.task(
    named("errback_old_style_with_args"),
    { params: ["request_id", "label"], errback: false },
    (id: string, label: string) => push(id, label).then(() => null),
  );
  app.task(
    named("errback_new_style_with_args"),
    ({ id }: FailedRequest, _exc: Error, _traceback: string | null, label: string) => push(id, label).then(() => null),
  );
  app.task(named("replaced_with_me"), () => true);
  for (const name of ["add_pydantic", "add_pydantic_string_annotations"])
    app.task(named(name), { params: ["data"] }, ({ x, y }: { readonly x: number; readonly y: number }) => ({
      result: x + y,
    }));
  app.task(
    named("replace_with_stamped_task"),
    { bind: true, params: ["replace_with?"] },
    (self: Self, replacement?: SignatureLike | null) => {
      const stamps = { StampOnReplace: "This is the replaced task" };
      self.replace(app.signature((replacement as never) ?? s("replaced_with_me").toJSON()).stamp(stamps));
    },
  );
  app.task(named("reject_then_succeed"), { bind: true }, (self: Self) => {
    if (!self.request.deliveryInfo.redelivered) throw new Reject("once more", { requeue: true });
    return "second-pass";
  });
  app.task(named("reject_without_requeue"), () => {
    throw new Reject("rejected", { requeue: false });
  });
  const limits = (self: Self) => ({
    time_limit: self.request.timeLimit,
    soft_time_limit: self.request.softTimeLimit,
  });
  app.task(named("return_request_time_limits"), { bind: true }, limits);
  app.task(named("task_with_declared_time_limits"), { bind: true, timeLimit: 60, softTimeLimit: 45 }, limits);
  return app;
}
