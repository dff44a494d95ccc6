/** Lambda's event source and its functions on a virtual clock: functions that can die, with all that they have in hand. */
import { Lovage } from "lovage";
import { type BatchResponse, createWorkerHandler } from "lovage/lambda";
import { virtualClock } from "lovage/testing";
import { onTestFinished } from "vitest";
import type { Clock } from "../../src/clock.ts";
import { toRecord } from "./function.ts";

const never = () => new Promise<never>(() => {});

export interface Life {
  /** Of the function: nothing of a dead one ever wakes. */
  readonly clock: Clock;
  /** The event loop is blocked for so long: nothing of the function wakes meanwhile. */
  block(ms: number): Promise<void>;
  /** As out of memory is: nothing is answered, stored or handed back any more. */
  die(): Promise<never>;
}

interface EventSourceOptions {
  /** Declares the tasks of an app, which a function of its own runs. */
  readonly declare: (app: Lovage, life: Life) => void;
  /** Seconds; the queue hides messages five seconds longer, as deployed. */
  readonly timeout: number;
  readonly concurrency: number;
  readonly batchSize?: number;
}

let homes = 0;
const turns = async () => {
  for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => setImmediate(resolve));
};

export function eventSource({ declare, timeout, concurrency, batchSize = 10 }: EventSourceOptions) {
  const clock = virtualClock();
  const home = `memory://event-source-${++homes}`;
  const requests = { hides: 0, extends: 0 };
  const seen: string[] = [];

  function start(life: Life): Lovage {
    const app = new Lovage("shop", { brokerUrl: home, resultBackend: home });
    declare(app, life);
    const back = app.engine.move({
      config: { brokerUrl: home, resultBackend: home },
      platform: { clock: life.clock, env: {} },
      wrapBroker: (broker) => ({
        ...broker,
        changeVisibility(entries) {
          requests.hides += Math.ceil(entries.length / 10);
          return broker.changeVisibility(entries);
        },
      }),
      wrapBackend: (backend) => ({
        ...backend,
        apply(commands, unit) {
          requests.extends += commands.filter(({ type }) => type === "extend").length;
          return backend.apply(commands, unit);
        },
      }),
    });
    onTestFinished(back);
    return app;
  }

  /** Sends, and looks at results. */
  const app = start({ clock, die: never, block: never });
  let running = 0;
  let deaths = 0;

  async function invoke(records: Awaited<ReturnType<typeof receive>>): Promise<void> {
    running++;
    const end = clock.now() + timeout * 1000;
    const { promise: died, resolve } = Promise.withResolvers<void>();
    let dead = false;
    let free: Promise<unknown> = Promise.resolve();
    const life: Life = {
      clock: {
        now: clock.now,
        async sleep(ms, signal) {
          await clock.sleep(ms, signal);
          await free;
          if (dead) await never();
        },
      },
      async block(ms) {
        free = clock.sleep(ms);
        await free;
      },
      die() {
        dead = true;
        deaths++;
        resolve();
        return never();
      },
    };
    const worker = start(life);
    // What is loaded at first use takes real time, in which no virtual second may pass.
    await Promise.all([worker.engine.broker(), worker.engine.backend()]);
    const handler = createWorkerHandler(worker, { write: (line) => seen.push(line) });
    const context = { awsRequestId: "r", getRemainingTimeInMillis: () => end - clock.now() };
    void answered(records, Promise.race([handler({ Records: records.map(toRecord) }, context), died]));
  }

  async function answered(
    records: Awaited<ReturnType<typeof receive>>,
    answering: Promise<BatchResponse | void>,
  ): Promise<void> {
    const answer = await answering;
    running--;
    if (!answer) return;
    const failed = new Set(answer.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
    await (await app.engine.broker()).delete(records.filter(({ messageId }) => !failed.has(messageId)));
  }

  async function receive() {
    return (await app.engine.broker()).receive("celery", {
      max: batchSize,
      wait: 0,
      visibility: (timeout + 5) * 1000,
    });
  }

  return {
    app,
    clock,
    requests,
    get deaths() {
      return deaths;
    },
    get log() {
      return seen.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
    },
    /** Lets a second after the other pass, with as many invocations as may run, until there is nothing left to do. */
    async drain(seconds: number, eachSecond: () => Promise<void> = async () => {}): Promise<void> {
      const end = clock.now() + seconds * 1000;
      while (clock.now() < end) {
        await eachSecond();
        while (running < concurrency) {
          const records = await receive();
          if (records.length === 0) break;
          await invoke(records);
          await turns();
        }
        await turns();
        const { ready, delayed, inFlight } = await (await app.engine.broker()).size("celery");
        if (ready + delayed + inFlight === 0) return;
        clock.moveTo(clock.now() + 1000);
        await turns();
      }
    },
  };
}
