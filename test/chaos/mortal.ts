/**
 * Workers that die between two given steps: every operation on broker or backend, and every place that a task marks, is
 * a step, and a worker that has died does nothing any more, as if its process were gone. Others finish what it left.
 */
import { type Broker, type BrokerContext, isFifo } from "../../src/brokers/broker.ts";
import { openBackend, openBroker, registerBackend, registerBroker } from "../../src/open.ts";
import type { Backend, BackendContext } from "../../src/results/backend.ts";
import type { Disposition } from "../../src/workers/worker.ts";
import { createWorker } from "../../src/workers/worker.ts";
import { Lovage } from "lovage";
import type { VirtualClock } from "lovage/testing";

/** Where a worker dies: before its n-th step (from 0), or when that is done and its answer is on the way. */
export interface Death {
  readonly step: number;
  readonly when: "before" | "after";
}

/** What a worker did or was about to do. */
export interface Step {
  readonly name: string;
  /** Others were under way when it began: what is done before it begins is not all that was done. */
  readonly among: boolean;
  /** It found nothing to do. */
  idle: boolean;
}

/** One worker's life. */
export interface Life {
  /** Does a step, unless this is where it ends. What a dead worker asks for is never answered. */
  step<T>(name: string, act: () => T | Promise<T>): Promise<T>;
  /** Resolves when it dies. */
  readonly died: Promise<void>;
  /** Resolves when all that it has asked for is done: by then others see what a dead worker left. */
  atRest(): Promise<void>;
  /** The steps that it has come to. */
  readonly steps: readonly Step[];
}

const never = () => new Promise<never>(() => {});

export function createLife(death: Death | undefined): Life {
  const steps: Step[] = [];
  const underWay = new Set<Promise<unknown>>();
  let dead = false;
  const { promise: died, resolve } = Promise.withResolvers<void>();
  function die(): Promise<never> {
    dead = true;
    resolve();
    return never();
  }
  return {
    steps,
    died,
    async atRest() {
      while (underWay.size > 0) await Promise.allSettled(underWay);
    },
    async step(name, act) {
      if (dead) return never();
      const step: Step = { name, among: underWay.size > 0, idle: false };
      const index = steps.push(step) - 1;
      if (index === death?.step && death.when === "before") return die();
      const doing = (async () => act())();
      underWay.add(doing);
      const answer = await doing.finally(() => underWay.delete(doing));
      step.idle = Array.isArray(answer) && answer.length === 0;
      if (dead) return never();
      return index === death?.step ? die() : answer;
    },
  };
}

/** Where workers live: what opens a broker and a backend for each. */
export interface Ground {
  readonly clock: VirtualClock;
  /** When the next message of these queues comes back, in milliseconds since the epoch, where that can be known. */
  readonly nextDue?: (queues: readonly string[]) => number | undefined;
  openBroker(context: BrokerContext): Promise<Broker>;
  openBackend(context: BackendContext): Promise<Backend>;
}

/** The ground of a URL. What is in memory is there as long as somebody has it open. */
export const groundOf = (url: string, clock: VirtualClock): Ground => ({
  clock,
  openBroker: async (context) => openBroker(url, context),
  openBackend: async (context) => openBackend(url, context),
});

const lives = new Map<
  string,
  { readonly life: Life; readonly ground: Ground; readonly close: (() => Promise<void>)[] }
>();
const lifeOf = (url: string) => {
  const found = lives.get(url);
  if (found === undefined) throw new Error(`nobody lives at ${url}`);
  return found;
};
registerBroker("mortal", async () => ({
  async open(url, context) {
    const { life, ground, close } = lifeOf(url);
    const broker = await ground.openBroker(context);
    close.push(() => broker.close());
    return mortalBroker(broker, life);
  },
}));
registerBackend("mortal", async () => ({
  async open(url, context) {
    const { life, ground, close } = lifeOf(url);
    const backend = await ground.openBackend(context);
    close.push(() => backend.close());
    return mortalBackend(backend, life);
  },
}));

const mortalBroker = (broker: Broker, life: Life): Broker => ({
  ...broker,
  send: (entries, unit) => life.step(`send to ${entries.map(({ queue }) => queue)}`, () => broker.send(entries, unit)),
  receive: (queue, options) => life.step(`receive from ${queue}`, () => broker.receive(queue, options)),
  delete: (deliveries, unit) => life.step("acknowledge", () => broker.delete(deliveries, unit)),
  changeVisibility: (entries) => life.step("hand back", () => broker.changeVisibility(entries)),
  close: async () => {},
});

const mortalBackend = (backend: Backend, life: Life): Backend => ({
  ...backend,
  apply: (commands, unit) => life.step(commands.map(({ type }) => type).join("+"), () => backend.apply(commands, unit)),
  close: async () => {},
});

const VISIBILITY_MS = 30_000;
/** So far the clock moves at a time where nobody knows when the next message comes back. */
const STEP_MS = 10_000;
/** A day: what has not ended by then is stuck. */
const PATIENCE_MS = 86_400_000;

let births = 0;

export interface Born {
  readonly app: Lovage;
  /** Closes what it had open, as the end of its process does. */
  bury(): Promise<void>;
}

/** An app whose worker lives that life, on that ground. */
export function bear(ground: Ground, life: Life, settings: object = {}): Born {
  const born = ++births;
  const own = `mortal://${born}`;
  const close: (() => Promise<void>)[] = [];
  lives.set(own, { life, ground, close });
  let ids = 0;
  const app = new Lovage(
    "mortal",
    { brokerUrl: own, resultBackend: own, ...settings },
    { clock: ground.clock, random: () => 0.5, env: {}, uuid: () => `${born}-${++ids}` },
  );
  return {
    app,
    async bury() {
      await Promise.all(close.map((end) => end()));
      lives.delete(own);
    },
  };
}

/** Works until every queue is empty, moving the clock where there is nothing to do. Resolves when done. */
export async function serve(
  app: Lovage,
  { clock, nextDue }: Pick<Ground, "clock" | "nextDue">,
  queues: readonly string[],
): Promise<void> {
  const broker = await app.engine.broker();
  const worker = createWorker(app, {
    hostname: "celery@mortal",
    log: () => {},
    lease: () => clock.now() + VISIBILITY_MS,
  });
  const give = async (delivery: Parameters<Broker["delete"]>[0][number], disposition: Disposition) => {
    if (disposition.type === "delete") await broker.delete([delivery]);
    if (disposition.type === "handBack")
      await broker.changeVisibility([{ delivery, visibility: disposition.visibility }]);
  };
  const end = clock.now() + PATIENCE_MS;
  for (;;) {
    let busy = false;
    for (const queue of queues) {
      const deliveries = await broker.receive(queue, { max: 10, wait: 0, visibility: VISIBILITY_MS });
      let stopped = false;
      for (const delivery of deliveries) {
        busy = true;
        if (stopped) {
          await give(delivery, { type: "handBack", visibility: 0 });
          continue;
        }
        const admission = await worker.admit(delivery);
        const disposition = "run" in admission ? (await admission.run.execute()).disposition : admission.disposition;
        await give(delivery, disposition);
        stopped = isFifo(queue) && disposition.type !== "delete";
      }
    }
    if (busy) continue;
    const sizes = await Promise.all(queues.map((queue) => broker.size(queue)));
    if (sizes.every(({ ready, delayed, inFlight }) => ready + delayed + inFlight === 0)) return;
    if (clock.now() > end) throw new Error(`stuck: ${JSON.stringify(sizes)}`);
    // To ask a service on the way there, again and again, what it does not have yet would be much of all the work.
    clock.moveTo(nextDue?.(queues) ?? clock.now() + STEP_MS);
  }
}
