/** The members of a group that a generator gives: they can be gone through once, whoever holds the group. */
import { ImproperlyConfigured } from "../errors.ts";
import type { SignatureData } from "../protocol/message.ts";
import type { Step } from "./fit.ts";
import type { SignatureApplier } from "./signature.ts";

/** Members that come one by one. A generator can be gone through once. */
export type Members = Iterable<Step> | AsyncIterable<Step>;

/** The app that signatures are sent by: that of the first that knows one. */
export const appOf = (signatures: readonly Step[]): SignatureApplier | undefined =>
  signatures.find(({ app }) => app !== undefined)?.app;

export const unknownApp = ({ task }: SignatureData): ImproperlyConfigured =>
  new ImproperlyConfigured(
    task,
    "has no signature that an app made, so no app can send it; make one with app.signature(…)",
  );

export class Pending {
  #members: Members;
  #isSpent = false;

  constructor(members: Members) {
    this.#members = members;
  }

  /** What they are sent by, where they are known. */
  get app(): SignatureApplier | undefined {
    return Array.isArray(this.#members) ? appOf(this.#members) : undefined;
  }

  /** The members, for whoever sends them. Throws `ImproperlyConfigured` where they were taken before. */
  take(): Members {
    if (this.#isSpent)
      throw new ImproperlyConfigured(
        "group",
        "its members came from a generator, which gives them once only, and they are sent; give a list to send them again",
      );
    this.#isSpent = !Array.isArray(this.#members);
    return this.#members;
  }

  /** All of them, now. They can be taken again. Throws `ImproperlyConfigured` where they come from an async generator. */
  list(): readonly Step[] {
    if (!(Symbol.iterator in this.#members))
      throw new ImproperlyConfigured(
        "group",
        "members of an async generator can only be sent by the group itself, or by a chord of which it is the header; await them into a list first",
      );
    return this.#keep([...(this.take() as Iterable<Step>)]);
  }

  /** All of them, when they have come. They can be taken again. */
  async whenListed(): Promise<readonly Step[]> {
    if (Symbol.iterator in this.#members) return this.list();
    const steps: Step[] = [];
    for await (const step of this.take()) steps.push(step);
    return this.#keep(steps);
  }

  #keep(steps: readonly Step[]): readonly Step[] {
    this.#members = steps;
    this.#isSpent = false;
    return steps;
  }

  /** The same members, changed as they come. Only one of both can be gone through. */
  map(change: (step: Step) => Step): Pending {
    const take = () => this.take();
    function* each() {
      for (const step of take() as Iterable<Step>) yield change(step);
    }
    async function* eachToCome() {
      for await (const step of take()) yield change(step);
    }
    return new Pending(Symbol.iterator in this.#members ? each() : eachToCome());
  }
}
