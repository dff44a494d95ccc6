/** What is tried on the deployed app. Each check throws when it does not see what its text says. */
import { setTimeout as sleep } from "node:timers/promises";
import { chord, group, TaskError } from "lovage";
import { startWorker } from "lovage/worker";
import { slotId } from "../../src/beat/slot-id.ts";
import * as tasks from "./tasks.ts";

const { app } = tasks;

export interface Check {
  readonly text: string;
  run(): Promise<void>;
}

/** For one task, in seconds: cold starts, a function that is just enabled, an emulator that is slow. */
const PATIENCE_S = 60;
const patiently = { timeout: PATIENCE_S };
/** EventBridge fires once a minute, anywhere within it, and a rule that is new may miss its first one. */
const MINUTES_S = 200;
/** Lambda takes its time to stop fetching, or to begin. */
const MAPPING_S = 180;
const LARGE = 1_000_000;

export function checks(members: number): Readonly<Record<string, Check>> {
  const sized = members.toLocaleString("en");
  return {
    call: {
      text: "a call is answered, through each of the functions' clients",
      async run() {
        for (const queue of ["celery", "sdk"])
          same(await (await tasks.add.applyAsync([1, 2], { queue })).get(patiently), 3);
      },
    },
    batch: {
      text: "25 calls in one turn are all answered",
      async run() {
        const results = await Promise.all(Array.from({ length: 25 }, (_, n) => tasks.add.delay(n, 1)));
        const sums = await Promise.all(results.map((result) => result.get(patiently)));
        same(
          sums,
          sums.map((_, n) => n + 1),
        );
      },
    },
    failure: {
      text: "what a task throws reaches its caller",
      async run() {
        const error: unknown = await (await tasks.divide.delay(1, 0)).get({ ...patiently, propagate: false });
        if (!(error instanceof TaskError) || error.name !== "RangeError")
          throw new Error(`get() gave ${String(error)}`);
      },
    },
    retry: {
      text: "a task that asks for another attempt gets it",
      async run() {
        for (const queue of ["celery", "sdk"])
          same(await (await tasks.unsteady.applyAsync([1], { queue })).get(patiently), 2);
      },
    },
    delay: {
      text: "a task with a countdown of 5 s runs then, not before",
      run: () => delayed(5, 2),
    },
    longDelay: {
      text: `EventBridge Scheduler keeps what is due in ${tasks.LONG_DELAY_S} s, and sends it`,
      run: () => delayed(tasks.LONG_DELAY_S, 0),
    },
    chord: {
      text: "a chord's body gets the results of its members, with the SDK's clients too",
      async run() {
        for (const queue of ["celery", "sdk"]) {
          const headers = [1, 2, 3].map((n) => app.signature("smoke.add", [n, n], { queue }));
          same(await (await chord(headers, app.signature("smoke.sum", [], { queue })).delay()).get(patiently), 12);
        }
      },
    },
    group: {
      text: `a group of ${sized} is answered, in order`,
      async run() {
        const sent = await group(Array.from({ length: members }, (_, n) => tasks.add.s(n, 1))).delay();
        const sums = (await sent.get({ timeout: 4 * PATIENCE_S })) as number[];
        same(
          sums,
          sums.map((_, n) => n + 1),
        );
        same(sums.length, members);
        await sent.save();
        const found = await app.groupResult(sent.id);
        if (found === null || found === undefined) throw new Error("the group that was saved is not found");
        await found.forget();
      },
    },
    family: {
      text: "tasks send tasks: a group, a chord, and one that Scheduler keeps",
      async run() {
        const ofQueue = async (queue: string) => {
          const { members: ids, total, late } = await (await tasks.family.applyAsync([], { queue })).get(patiently);
          for (const [n, id] of ids.entries()) same(await app.result(id).get(patiently), 2 * n);
          same(await app.result(total).get(patiently), 6);
          await app.result(late).get({ timeout: tasks.LONG_DELAY_S + MINUTES_S });
        };
        await Promise.all(["celery", "sdk"].map(ofQueue));
      },
    },
    fifo: {
      text: "a FIFO queue runs a group's messages one after another, in the order of sending",
      async run() {
        const results = [];
        for (let n = 0; n < 12; n++)
          results.push(await tasks.when.applyAsync([], { queue: "orders.fifo", MessageGroupId: "a" }));
        const times = await Promise.all(results.map((result) => result.get(patiently)));
        same(
          times,
          [...times].sort((a, b) => a - b),
        );
        const retried = await tasks.unsteady.applyAsync([1], { queue: "orders.fifo", MessageGroupId: "b" });
        const behind = await tasks.add.applyAsync([1, 2], { queue: "orders.fifo", MessageGroupId: "b" });
        same([await retried.get(patiently), await behind.get(patiently)], [2, 3]);
      },
    },
    deadLetters: {
      text: "what cannot be done is a dead letter, is listed, runs when it is sent back mended, and can be deleted",
      async run() {
        const [first, second] = [await tasks.refuse.delay(false), await tasks.refuse.delay(false)];
        for (const id of [first.id, second.id]) await app.result(id).get({ ...patiently, propagate: false });
        const letters: string[] = [];
        await until("two dead letters", PATIENCE_S, async () => {
          letters.length = 0;
          for await (const { id } of app.control.deadLetters.list({ queue: "celery", task: "smoke.refuse" }))
            if (id !== undefined) letters.push(id);
          // A letter that is shown stays hidden for a while.
          return letters.length > 0;
        });
        let redriven = 0;
        await until("a redrive of both", 3 * PATIENCE_S, async () => {
          const { count, failed } = await app.control.deadLetters.redrive({
            queue: "celery",
            id: first.id,
            args: [true],
          });
          if (failed.length > 0) throw failed[0]?.error;
          redriven += count;
          return redriven === 1;
        });
        // Its failure is what is stored of it until it starts again.
        await until("its success", PATIENCE_S, async () => (await app.result(first.id).state()) === "SUCCESS");
        same(await app.result(first.id).get(patiently), "worked");
        let deleted = 0;
        await until("the other one's deletion", 3 * PATIENCE_S, async () => {
          deleted += (await app.control.deadLetters.delete({ queue: "celery", id: second.id })).count;
          return deleted === 1;
        });
      },
    },
    revoke: {
      text: "a task that is revoked before it starts does not run, one that runs is ended, and a result is forgotten",
      async run() {
        const waiting = await tasks.add.applyAsync([1, 2], { countdown: 30 });
        await waiting.revoke();
        await waiting.get({ ...patiently, propagate: false });
        same(await waiting.state(), "REVOKED");
        const running = await tasks.nap.delay(50_000);
        await until("its start", PATIENCE_S, async () => (await running.state()) === "STARTED");
        await running.revoke({ terminate: true });
        await running.get({ ...patiently, propagate: false });
        same(await running.state(), "REVOKED");
        const done = await tasks.add.delay(1, 2);
        await done.get(patiently);
        await app.control.forget(done.id);
        // A result that was read keeps what it has read.
        same(await app.result(done.id).state(), "PENDING");
      },
    },
    pause: {
      text: "a queue that is paused keeps its tasks, and runs them when it is resumed",
      async run() {
        same(await (await tasks.add.applyAsync([1, 2], { queue: "pausing" })).get(patiently), 3);
        await app.control.pause("pausing");
        await mapping("pausing", "Disabled");
        const kept = await tasks.add.applyAsync([3, 4], { queue: "pausing" });
        await sleep(10_000);
        same(await kept.state(), "PENDING");
        same((await app.control.inspect().queues()).find(({ queue }) => queue === "pausing")?.ready, 1);
        await app.control.resume("pausing");
        await mapping("pausing", "Enabled");
        same(await kept.get({ timeout: MAPPING_S }), 7);
      },
    },
    beat: {
      text: "beat sends what the app declares, and what is put at run time, until it is removed",
      async run() {
        const started = Date.now();
        const entry = { task: tasks.tick.name, schedule: 60 };
        await app.beat.put("now", entry);
        await app.beat.put("paused", entry);
        await app.beat.pause("paused");
        same((await app.beat.list()).map(({ name, enabled }) => [name, enabled]).sort(), [
          ["now", true],
          ["paused", false],
        ]);
        await app.beat.resume("paused");
        await app.beat.remove("paused");
        await Promise.all([
          until("a run of what is declared", MINUTES_S, async () => {
            // The ids of beat's tasks are known beforehand: by app, entry and slot.
            for (let slot = Math.floor(started / 60_000) * 60_000; slot <= Date.now() + 60_000; slot += 60_000)
              if (await app.result(slotId(app.name, "minute", slot)).ready()) return true;
            return false;
          }),
          until("a run of what was put", MINUTES_S, async () => {
            for await (const { state } of app.journal.find({ task: tasks.tick.name, limit: 1 }))
              return state === "SUCCESS";
            return false;
          }),
        ]);
        await app.beat.remove("now");
        same(await app.beat.list(), []);
      },
    },
    large: {
      text: "a message and a result that are too large go through S3",
      async run() {
        for (const queue of ["celery", "sdk"]) {
          const text = tasks.incompressible(2_000_000);
          same(await (await tasks.length.applyAsync([text], { queue })).get(patiently), text.length);
          same((await (await tasks.grow.applyAsync([LARGE], { queue })).get(patiently)).length, LARGE);
        }
      },
    },
    stream: {
      text: "what a task writes while it runs is read, in order",
      async run() {
        const result = await tasks.words.delay(["one", "two", "three"]);
        const read: unknown[] = [];
        for await (const word of result.stream()) read.push(word);
        same(read, ["one", "two", "three"]);
      },
    },
    limits: {
      text: "a rate, a number at a time and a unique key are kept, and a rate is changed while it runs",
      async run() {
        await app.control.rateLimit("smoke.limited", "1200/m");
        const results = await Promise.all(Array.from({ length: 12 }, (_, n) => tasks.limited.delay(n)));
        same(await Promise.all(results.map((result) => result.get({ timeout: 2 * PATIENCE_S }))), [...results.keys()]);
        await app.control.rateLimit("smoke.limited", null);
        const [first, second] = [await tasks.single.delay("key"), await tasks.single.delay("key")];
        same(second.id, first.id);
        same(await first.get(patiently), "key");
        await app.control.inspect().waiting();
      },
    },
    journal: {
      text: "the journal tells what failed, of what group, and a task is run again from it",
      async run() {
        const failed = await tasks.divide.delay(2, 0);
        await failed.get({ ...patiently, propagate: false });
        await until("an entry of the failure", PATIENCE_S, async () => {
          for await (const { id } of app.journal.find({ state: "FAILURE", task: "smoke.divide", limit: 10 }))
            if (id === failed.id) return true;
          return false;
        });
        const failures = await app.journal.failures();
        if (!failures.some(({ task }) => task === "smoke.divide")) throw new Error("failures() does not have it");
        await app.workflow(failed.id);
        await app.control.retry(failed.id);
        await app.control.retryFailed({ task: "smoke.divide" });
      },
    },
    inspect: {
      text: "queues, functions and CloudWatch's numbers are seen",
      async run() {
        const inspect = app.control.inspect();
        const queues = (await inspect.queues({ cloudWatch: true })).map(({ queue }) => queue);
        for (const queue of Object.keys(app.config.taskQueues))
          if (!queues.includes(queue)) throw new Error(`${queue} is not among ${queues.join(", ")}`);
        const served = new Set((await inspect.functions({ cloudWatch: true })).map(({ queue }) => queue));
        same([...served].sort(), ["celery", "orders.fifo", "pausing", "sdk"]);
        await inspect.ping();
      },
    },
    here: {
      text: "a worker on this machine takes from SQS, and keeps what takes longer than its lease",
      async run() {
        const worker = await startWorker(app, { queues: ["here"], concurrency: 4 });
        try {
          const long = await tasks.nap.applyAsync([tasks.LEASE_S * 1500], { queue: "here" });
          const again = await tasks.unsteady.applyAsync([1], { queue: "here" });
          same(await again.get(patiently), 2);
          same(await long.get(patiently), tasks.LEASE_S * 1500);
          await app.control.inspect().active();
        } finally {
          await worker.stop();
        }
        await tasks.add.applyAsync([1, 2], { queue: "here" });
        await app.control.purge("here");
      },
    },
  };
}

async function delayed(seconds: number, early: number): Promise<void> {
  const sent = Date.now();
  const result = await tasks.when.applyAsync([], { countdown: seconds });
  const waited = (await result.get({ timeout: seconds + MINUTES_S })) - sent;
  // SQS counts in seconds of its own.
  if (waited < (seconds - early) * 1000) throw new Error(`it ran after ${waited} ms`);
}

/** Waits until the event source of a queue is in a state. */
const mapping = (name: string, wanted: string): Promise<void> =>
  until(`${name} to be ${wanted}`, MAPPING_S, async () => {
    const found = (await app.control.inspect().functions()).find(({ queue }) => queue === name);
    return found?.state === wanted;
  });

async function until(what: string, seconds: number, isSo: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(1000)) if (await isSo()) return;
  throw new Error(`waited ${seconds} s for ${what}`);
}

function same(given: unknown, wanted: unknown): void {
  if (JSON.stringify(given) !== JSON.stringify(wanted))
    throw new Error(`got ${JSON.stringify(given)} in place of ${JSON.stringify(wanted)}`.slice(0, 500));
}
