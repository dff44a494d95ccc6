/**
 * Workers that die between two given steps: every operation on broker or backend, and every place that a task marks, is
 * a step, and a worker that has died does nothing any more, as if its process were gone. Others finish what it left.
 */
import { type Broker, isFifo } from "../../src/brokers/broker.ts";
import { openBackend, openBroker, registerBackend, registerBroker } from "../../src/open.ts";
import type { Backend } from "../../src/results/backend.ts";
import type { Disposition } from "../../src/workers/worker.ts";
import { createWorker } from "../../src/workers/worker.ts";
import { Lovage } from "lovage";
import { type VirtualClock, virtualClock } from "lovage/testing";

/** Where a worker dies: before its n-th step (from 0), or when that is done and its answer is on the way. */
export interface Death {
  readonly step: number;
  readonly when: "before" | "after";
}

/** One worker's life. */
export interface Life {
  /** Does a step, unless this is where it ends. What a dead worker asks for is never answered. */
  step<T>(name: string, act: () => T | Promise<T>): Promise<T>;
  /** Resolves when it dies. */
  readonly died: Promise<void>;
  /** The steps that it has come to. */
  readonly steps: readonly string[];
}

const never = () => new Promise<never>(() => {});

export function createLife(death: Death | undefined): Life {
  const steps: string[] = [];
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
    async step(name, act) {
      if (dead) return never();
      const index = steps.push(name) - 1;
      if (index === death?.step && death.when === "before") return die();
      const answer = await act();
      if (dead) return never();
      return index === death?.step ? die() : answer;
    },
  };
}

const lives = new Map<string, { readonly life: Life; readonly url: string }>();
const lifeOf = (url: string) => {
  const found = lives.get(url);
  if (found === undefined) throw new Error(`nobody lives at ${url}`);
  return found;
};
registerBroker("mortal", async () => ({
  async open(url, context) {
    const { life, url: inner } = lifeOf(url);
    return mortalBroker(await openBroker(inner, context), life);
  },
}));
registerBackend("mortal", async () => ({
  async open(url, context) {
    const { life, url: inner } = lifeOf(url);
    return mortalBackend(await openBackend(inner, context), life);
  },
}));

const mortalBroker = (broker: Broker, life: Life): Broker => ({
  ...broker,
  send: (entries) => life.step(`send to ${entries.map(({ queue }) => queue)}`, () => broker.send(entries)),
  receive: (queue, options) => life.step(`receive from ${queue}`, () => broker.receive(queue, options)),
  delete: (deliveries) => life.step("acknowledge", () => broker.delete(deliveries)),
  changeVisibility: (entries) => life.step("hand back", () => broker.changeVisibility(entries)),
});

const mortalBackend = (backend: Backend, life: Life): Backend => ({
  ...backend,
  apply: (commands) => life.step(commands.map(({ type }) => type).join("+"), () => backend.apply(commands)),
});

const VISIBILITY_MS = 30_000;
/** A day: what has not ended by then is stuck. */
const PATIENCE_MS = 86_400_000;

let births = 0;

/** An app whose worker lives that life, on the store of `url`. */
export function bear(url: string, clock: VirtualClock, life: Life, settings: object = {}): Lovage {
  const own = `mortal://${++births}`;
  lives.set(own, { life, url });
  let ids = 0;
  return new Lovage(
    "mortal",
    { brokerUrl: own, resultBackend: own, ...settings },
    { clock, random: () => 0.5, env: {}, uuid: () => `${births}-${++ids}` },
  );
}

/** Works until every queue is empty, moving the clock where there is nothing to do. Resolves when done. */
export async function serve(app: Lovage, clock: VirtualClock, queues: readonly string[]): Promise<void> {
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
    clock.moveTo(clock.now() + 10_000);
  }
}

export { virtualClock };
