/**
 * What is done with a delivery, whoever fetched it, a file for each step: `read.ts` → `limited.ts`, for a task that has limits →
 * `claim.ts` → `run.ts` → `settle.ts`, and then what may happen to the message. The poller, a Lambda function and tests differ
 * only in how they fetch and acknowledge.
 *
 * Where broker and backend are one store, steps that follow each other are one unit (`unit.ts`): the message is taken and its
 * row claimed, and its outcome is stored, what follows is sent, and the message is deleted. They are the same steps.
 */
import type { Lovage } from "../app.ts";
import type { Delivery } from "../brokers/broker.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { Engine } from "../engine.ts";
import { OTHER_COPY } from "../other-copy.ts";
import type { Message } from "../protocol/message.ts";
import type { Final } from "../results/record.ts";
import type { Payload } from "../results/backend.ts";
import type { Unit } from "../unit.ts";
import { comesNoMore, createContext, type WorkerOptions } from "./context.ts";
import { endInTime, giveUp } from "./bury.ts";
import { type Disposition, LEAVE } from "./disposition.ts";
import { guard } from "./guard.ts";
import { readOnce } from "./read.ts";
import type { RunEnd, Settling, Watch } from "./run.ts";
import { releaseLate } from "./unreleased.ts";

/** Whether a task of the app that is bundled gathers calls. */
declare const LOVAGE_BATCHES: boolean;

export type { WorkerOptions } from "./context.ts";
export type { Disposition } from "./disposition.ts";
export type { RunEnd, Settling, Watch } from "./run.ts";

/** A delivery that is to be run. */
export interface Run {
  /** The delivery. */
  readonly delivery: Delivery;
  /** The message, decoded. */
  readonly message: Message;
  /** The row's key and its owner: what keeps the claim alive. `undefined` where the task does not claim. */
  readonly claim: { readonly key: string; readonly owner: string } | undefined;
  /** Seconds that it may take; `null`: no limit. */
  readonly timeLimit: number | null;
  /** How many workers died while they ran it. */
  readonly deaths: number;
  /**
   * It must run alone, so that no other task dies with it: two workers died while they ran it, or one more death would be its last.
   */
  readonly suspect: boolean;
  /** Its outcome is known without a run: it was revoked, has expired, or too many workers died while they ran it. */
  readonly decided: boolean;
  /** What stores that it did not end within so many seconds; `undefined` where that cannot be said as JSON, or it does not claim. */
  overrun(seconds: number): Promise<Omit<Final, "now" | "ttl"> | undefined>;
  /**
   * Runs it to its end. Never throws.
   *
   * @param watch Is told when {@link timeLimit} is over, and how long hooks may take.
   * @param settling See {@link Settling}.
   */
  execute(watch?: Watch, settling?: Settling): Promise<RunEnd>;
  /** Tells the journal that it runs, once it has done so for some seconds. To be called now and then. Never throws. */
  noteRunning(): Promise<void>;
  /** The task's `signal` aborts: revoked with `terminate`. */
  terminate(): void;
  /** The task's `signal` aborts, as its worker stops. Where it ends by throwing, {@link execute} hands it back. */
  abort(): void;
  /** The row of its result, as it is where the task waits. */
  waiting(): Promise<Payload>;
  /**
   * Gives it up without an outcome, and aborts it: another worker takes it at once, and no death is counted, unless `died`
   * says that this was one. What {@link execute} then says of its message is to leave it.
   */
  release(died?: boolean): Promise<Disposition>;
}

/** What becomes of a delivery: it is settled as it stands, or it is to run. */
export type Admission = { readonly disposition: Disposition } | { readonly run: Run };

/** The steps that handle a delivery, for code that fetches messages. */
export interface Worker {
  /**
   * Reads a message and claims its task. Never throws.
   *
   * @param unit In which it is taken. The admission comes when that is durable.
   */
  admit(delivery: Delivery, unit?: Unit): Promise<Admission>;
  /**
   * Reads a message, and gives what then claims its task; neither throws. Where several are read before the first is claimed, a
   * process that dies of reading one costs none of them a death.
   */
  read(delivery: Delivery): Promise<() => Promise<Admission>>;
  /**
   * What becomes of a message that was not done: the same, within what the broker can do, or a dead letter whose row says why,
   * where the broker would soon make it one without a word. Never throws.
   */
  handBack(delivery: Delivery, disposition: Disposition): Promise<Disposition>;
  /** So many workers died before they could claim its task, or after its outcome: it becomes a dead letter, unread. Never throws. */
  giveUp(delivery: Delivery, deaths: number): Promise<Disposition>;
  /**
   * Tries once more to give up what could not be given up while its store was out of reach: a death that another worker has
   * counted for it meanwhile is taken back. To be called now and then. Never throws.
   */
  releaseLate(): Promise<void>;
  /** Whether calls are to wait until their batch is full: with `true` nothing more comes, and what was gathered begins. */
  hurry(isHurried: boolean): void;
  /**
   * Says that a call is on its way to a batch, or is so no more. In a worker that is told, batches begin as soon as none is.
   */
  comes(delivery: Delivery, isComing: boolean): void;
}

/** Makes the steps that handle a delivery, for one app. It fetches nothing: `startWorker` puts a poller around it, and a Lambda handler an invocation. */
export function createWorker(app: Lovage, options: WorkerOptions): Worker {
  // Each copy of the package has errors and a task's context of its own: one would not know what the other's tasks throw.
  if (!(app.engine instanceof Engine)) throw new ImproperlyConfigured("app", OTHER_COPY);
  const context = createContext(app, options);
  return {
    async admit(delivery, unit) {
      const steps = context.within(unit);
      const admission = await guard(steps, delivery, async () => {
        const reading = await readOnce(steps, delivery);
        return "claim" in reading ? await reading.claim() : reading;
      });
      try {
        await unit?.committed;
      } catch {
        // It was not taken: it is in its queue, as it was.
        return { disposition: LEAVE };
      }
      return admission;
    },
    async read(delivery) {
      const reading = await guard(context, delivery, () => readOnce(context, delivery));
      return async () => ("claim" in reading ? guard(context, delivery, reading.claim) : reading);
    },
    async handBack(delivery, disposition) {
      if (disposition.type !== "handBack") return disposition;
      return (await guard(context, delivery, () => endInTime(context, delivery, disposition))).disposition;
    },
    async giveUp(delivery, deaths) {
      return (await guard(context, delivery, () => giveUp(context, delivery, deaths))).disposition;
    },
    releaseLate: () => releaseLate(context),
    hurry(isHurried) {
      if (typeof LOVAGE_BATCHES !== "undefined" && !LOVAGE_BATCHES) return;
      const batches = context.batches();
      batches.isHurried = isHurried;
      if (isHurried) for (const { full } of batches.open.values()) full();
    },
    comes(delivery, isComing) {
      if (typeof LOVAGE_BATCHES !== "undefined" && !LOVAGE_BATCHES) return;
      const batches = context.batches();
      batches.coming ??= new Set();
      if (isComing) batches.coming.add(delivery);
      else comesNoMore(batches, delivery);
    },
  };
}
