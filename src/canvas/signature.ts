/** A call that is made later: a task or a whole canvas of them, some arguments, and options. */
import { ImproperlyConfigured } from "../errors.ts";
import type { SignatureData } from "../protocol/message.ts";
import type { AsyncResult } from "../results/async-result.ts";
import { GroupResult } from "../results/group-result.ts";
import { tracked } from "../tasks/context.ts";
import { type CallOptions, checkCall, checkCallOptions } from "../tasks/options.ts";
import type { ChainOf, IsLinked, ResultOf, Step } from "./fit.ts";
import {
  chordData,
  type Form,
  formOf,
  groupData,
  membersOf,
  pipe,
  tasksOf,
  withArguments,
  withOptions,
} from "./shape.ts";
import { sendStream } from "./stream.ts";
import { signatureData, signatureList, toWireOptions } from "./wire-options.ts";

/** What comes of applying a signature: the result of a task, or of a group. */
export type Applied = AsyncResult | GroupResult;

/** A group whose members are sent as they come. */
export interface OpenStream {
  readonly groupId: string;
  /** Sends members under the next places of the group. Resolves when the broker has them. */
  send(members: readonly SignatureData[]): Promise<void>;
  /** There are no more members. */
  end(): Promise<Applied>;
}

/** Sends what signatures say; the app is one. */
export interface SignatureApplier {
  applySignature(signature: SignatureData, args: readonly unknown[], options: CallOptions): Promise<Applied>;
  /** Runs it here and now. */
  applySignatureEagerly(signature: SignatureData, args: readonly unknown[], options: CallOptions): Promise<Applied>;
  /** Begins a group, or a chord (then `signature` is one with a body), whose members are still to come. */
  openStream(signature: SignatureData, args: readonly unknown[], options: CallOptions): OpenStream;
}

/** Members that come one by one. A generator can be gone through once. */
export type Members = Iterable<Step> | AsyncIterable<Step>;

/** A signature, or its JSON as Celery writes it. */
export type SignatureLike = Signature<never, unknown, unknown, Form> | SignatureData;

/**
 * A signature: made by `add.s(1)`, by `chain`, `group` and `chord`, or by `app.signature("tasks.add", …)` from a name. `A`
 * are the arguments still to be given, `R` is what comes of it, `H` is what its caller holds, `F` is its form. It is
 * immutable: all that changes something gives a new one.
 */
export class Signature<
  A extends readonly unknown[] = readonly unknown[],
  R = unknown,
  H = AsyncResult<R>,
  F extends Form = Form,
> {
  readonly #app: SignatureApplier | undefined;
  #data: SignatureData;
  /** Members that were not asked for yet. */
  #members: Members | undefined;

  constructor(app: SignatureApplier | undefined, data: SignatureData, members?: Members) {
    this.#app = app;
    this.#data = data;
    this.#members = members;
  }

  /** The task's name; of a canvas `celery.chain`, `celery.group` or `celery.chord`. */
  get task(): string {
    return this.#data.task;
  }

  get form(): F {
    // `F` is what `chain`, `group`, `chord` and `s` say that they made.
    return formOf(this.#data) as F;
  }

  /** The app that it is sent by; `undefined` for a group that knows no member yet. */
  get app(): SignatureApplier | undefined {
    return this.#app;
  }

  /** The members of a group or the header of a chord that are still to come. Whoever takes them must send them. */
  get pending(): Members | undefined {
    return this.#members;
  }

  #with(data: SignatureData): Signature<A, R, H, F> {
    return new Signature<A, R, H, F>(this.#app, data, this.#members);
  }

  /** Options added to those it has; the new ones win. Throws `ImproperlyConfigured` for what no call takes. */
  set(options: CallOptions): Signature<A, R, H, F> {
    const given = options ?? {};
    checkCallOptions(this.task, given);
    return this.#with({ ...this.#data, options: { ...this.#data.options, ...toWireOptions(given) } });
  }

  /** A copy with further arguments before its own, unless it is immutable. */
  clone(args: readonly unknown[] = [], options: CallOptions = {}): Signature<readonly unknown[], R, H, F> {
    const given = options ?? {};
    checkCall(this.task, args, given);
    const { kwargs, ...rest } = given;
    const data = withArguments(this.#data, args, kwargs);
    return new Signature<readonly unknown[], R, H, F>(this.#app, data, this.#members).set(rest);
  }

  /** Called with the result when it succeeds: of a chain the last step's, of a chord the body's. */
  link(...callbacks: readonly SignatureLike[]): Signature<A, R, H, F> {
    if (this.form === "group") {
      throw new ImproperlyConfigured(
        "link",
        "a group has no single result to link to; use a chord, whose body gets all of them",
      );
    }
    return this.#with(withOptions(this.#data, { link: signatureList(callbacks) }));
  }

  /** Called with the id of the task that failed: of a chain any step, of a group any member, of a chord the body. */
  linkError(...errbacks: readonly SignatureLike[]): Signature<A, R, H, F> {
    return this.#with(withOptions(this.#data, { link_error: signatureList(errbacks) }));
  }

  /** Marks every message of it: the tasks find them in `request.stamps`. */
  stamp(stamps: Readonly<Record<string, unknown>>): Signature<A, R, H, F> {
    return this.#with(stamped(this.toJSON(), stamps));
  }

  /** This, and then that: a group becomes the header of a chord, a chord's body goes on, all else is a chain. */
  pipe<T extends Step, S extends Step>(
    this: T,
    next: IsLinked<[T, S]> extends true ? S : Misfit<ResultOf<T>>,
  ): ChainOf<[T, S]>;
  pipe(next: unknown): Step {
    // The conditional type only keeps out what cannot take the result.
    const step = next as Step;
    const members = this.#members;
    return members !== undefined && formOf(this.#data) === "group"
      ? new Signature(this.#app ?? step.app, chordData([], signatureData(step), this.#data.options), members)
      : new Signature(this.#app ?? step.app, pipe(this.toJSON(), signatureData(step)));
  }

  /** Sends it, with the rest of its arguments. */
  delay(...args: A): Promise<H> {
    return this.applyAsync(args);
  }

  /** Sends it, with further arguments before its own and options over its own. */
  async applyAsync(args: readonly unknown[] = [], options: CallOptions = {}): Promise<H> {
    const members = this.#members;
    if (members !== undefined) {
      this.#members = undefined;
      const used = this.#data;
      this.#data = { ...used, kwargs: { ...used.kwargs, [formOf(used) === "group" ? "tasks" : "header"]: SENT } };
      return (await tracked(sendStream(members, this.#app, used, args, options))) as H;
    }
    if (this.#isNothing()) return GroupResult.empty() as H;
    // What `chain`, `group`, `chord` and `s` give `H` as is what the app gives for such a form.
    return (await this.#applier().applySignature(this.toJSON(), args, options)) as H;
  }

  /** Runs it here and now, without broker or backend. */
  async apply(args: readonly unknown[] = [], options: CallOptions = {}): Promise<H> {
    if (this.#isNothing()) return GroupResult.empty() as H;
    return (await this.#applier().applySignatureEagerly(this.toJSON(), args, options)) as H;
  }

  /** A group of none: it needs no app. */
  #isNothing(): boolean {
    const data = this.toJSON();
    return this.#app === undefined && formOf(data) === "group" && membersOf(tasksOf(data)).length === 0;
  }

  #applier(): SignatureApplier {
    if (this.#app !== undefined) return this.#app;
    throw new ImproperlyConfigured(
      this.task,
      "holds no signature of an app's, so there is nothing to send it by; use app.signature(…)",
    );
  }

  /** Celery's JSON of it. */
  toJSON(): SignatureData {
    if (this.#members !== undefined) {
      const tasks = [...ordered(this.#members)].map(signatureData);
      this.#members = undefined;
      const { kwargs } = this.#data;
      this.#data = { ...this.#data, kwargs: formOf(this.#data) === "group" ? { tasks } : { ...kwargs, header: tasks } };
    }
    return this.#data;
  }
}

/** In place of members that a generator gave and that are gone. */
const SENT = "the members came from a generator and were sent";

/** Why a step does not fit: its first parameter cannot take what comes before it. */
export interface Misfit<R> {
  readonly cannotTake: R;
}

function ordered(members: Members): Iterable<Step> {
  if (Symbol.iterator in members) return members;
  throw new ImproperlyConfigured(
    "group",
    "members of an async generator can only be sent by the group itself, or by a chord of which it is the header; await them into a list first",
  );
}

function stamped(signature: SignatureData, stamps: Readonly<Record<string, unknown>>): SignatureData {
  switch (formOf(signature)) {
    case "chain":
      return { ...signature, kwargs: { tasks: tasksOf(signature).map((task) => stamped(task, stamps)) } };
    case "group":
      return groupData(
        tasksOf(signature).map((task) => stamped(task, stamps)),
        signature.options,
      );
    case "chord": {
      const { header, body } = signature.kwargs as {
        readonly header: SignatureData | readonly SignatureData[];
        readonly body: SignatureData;
      };
      const all = Array.isArray(header)
        ? header.map((task: SignatureData) => stamped(task, stamps))
        : stamped(header as SignatureData, stamps);
      return { ...signature, kwargs: { ...signature.kwargs, header: all, body: stamped(body, stamps) } };
    }
    default: {
      const before = signature.options["stamped_headers"];
      const names = new Set([...(Array.isArray(before) ? (before as string[]) : []), ...Object.keys(stamps)]);
      return { ...signature, options: { ...signature.options, ...stamps, stamped_headers: [...names] } };
    }
  }
}
