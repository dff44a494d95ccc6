/** A call that is made later: a task or a whole canvas of them, some arguments, and options. */
import type { Config } from "../config/config.ts";
import type { SignatureData } from "../protocol/message.ts";
import type { AsyncResult } from "../results/async-result.ts";
import { GroupResult } from "../results/group-result.ts";
import { tracked } from "../tasks/context.ts";
import { type CallOptions, checkCall, checkCallOptions } from "../tasks/options.ts";
import type { ChainOf, IsLinked, ResultOf, Step } from "./fit.ts";
import { type Pending, unknownApp } from "./pending.ts";
import {
  changed,
  checkDepth,
  type Form,
  formOf,
  linkedTo,
  membersOf,
  noLinkToGroup,
  pipe,
  tasksOf,
  withArguments,
  withMembers,
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
  readonly config: Pick<Config, "taskAllowErrorCbOnChordHeader">;
  applySignature(signature: SignatureData, args: readonly unknown[], options: CallOptions): Promise<Applied>;
  /** Runs it here and now. */
  applySignatureEagerly(signature: SignatureData, args: readonly unknown[], options: CallOptions): Promise<Applied>;
  /** Begins a group, or a chord (then `signature` is one with a body), whose members are still to come. */
  openStream(signature: SignatureData, args: readonly unknown[], options: CallOptions): OpenStream;
}

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
  readonly #data: SignatureData;
  readonly #pending: Pending | undefined;

  constructor(app: SignatureApplier | undefined, data: SignatureData, pending?: Pending) {
    this.#app = app;
    this.#data = data;
    this.#pending = pending;
  }

  /** The task's name; of a canvas `celery.chain`, `celery.group` or `celery.chord`. */
  get task(): string {
    return this.#data.task;
  }

  /** What it is a signature of. */
  get form(): F {
    // `F` is what `chain`, `group`, `chord` and `s` say that they made.
    return formOf(this.#data) as F;
  }

  /** The app that it is sent by; `undefined` for a group that knows no member yet. */
  get app(): SignatureApplier | undefined {
    return this.#app ?? this.#pending?.app;
  }

  /** The members of a group or the header of a chord that are still to come. */
  get pending(): Pending | undefined {
    return this.#pending;
  }

  /** All of it but what is still to come. */
  get outline(): SignatureData {
    return this.#data;
  }

  #with(data: SignatureData, pending = this.#pending): Signature<A, R, H, F> {
    return new Signature<A, R, H, F>(this.#app, data, pending);
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
    return new Signature<readonly unknown[], R, H, F>(this.#app, data, this.#pending).set(rest);
  }

  /** Called with the result when it succeeds: of a chain the last step's, of a chord the body's. */
  link(...callbacks: readonly SignatureLike[]): Signature<A, R, H, F> {
    if (this.form === "group") throw noLinkToGroup();
    return this.#with(linkedTo(this.#data, { link: signatureList(callbacks) }, false));
  }

  /** Called with the id of the task that failed: of a chain any step, of a group any member, of a chord the body. */
  linkError(...errbacks: readonly SignatureLike[]): Signature<A, R, H, F> {
    const onHeader = this.app?.config.taskAllowErrorCbOnChordHeader ?? false;
    return this.#with(linkedTo(this.#data, { link_error: signatureList(errbacks) }, onHeader));
  }

  /** Marks every message of it, and of what is linked to it: the tasks find them in `request.stamps`. */
  stamp(stamps: Readonly<Record<string, unknown>>): Signature<A, R, H, F> {
    checkDepth(this.#data);
    return this.#with(
      stamped(this.#data, stamps),
      this.#pending?.map((member) => member.stamp(stamps)),
    );
  }

  /** This, and then that: a group becomes the header of a chord, a chord's body goes on, all else is a chain. */
  pipe<T extends Step, S extends Step>(
    this: T,
    next: IsLinked<[T, S]> extends true ? S : Misfit<ResultOf<T>>,
  ): ChainOf<[T, S]>;
  pipe(next: unknown): Step {
    // The conditional type only keeps out what cannot take the result.
    const step = next as Step;
    // Whose app it is may be known only when a generator has been gone through.
    const data = pipe(this.#data, signatureData(step));
    return new Signature(this.app ?? step.app, data, this.#pending);
  }

  /** Sends it, with the rest of its arguments. */
  delay(...args: A): Promise<H> {
    return this.applyAsync(args);
  }

  /** Sends it, with further arguments before its own and options over its own. */
  applyAsync(args: readonly unknown[] = [], options: CallOptions = {}): Promise<H> {
    return tracked(this.#send(args, options));
  }

  async #send(args: readonly unknown[], options: CallOptions): Promise<H> {
    if (this.#pending !== undefined)
      return (await sendStream(this.#pending.take(), this.app, this.#data, args, options)) as H;
    if (this.#isNothing()) return GroupResult.empty() as H;
    // What `chain`, `group`, `chord` and `s` give `H` as is what the app gives for such a form.
    return (await this.#applier().applySignature(this.#data, args, options)) as H;
  }

  /** Runs it here and now, without broker or backend. */
  async apply(args: readonly unknown[] = [], options: CallOptions = {}): Promise<H> {
    if (this.#pending !== undefined) {
      const members = await this.#pending.whenListed();
      return new Signature<A, R, H, F>(this.app, withMembers(this.#data, members.map(signatureData))).apply(
        args,
        options,
      );
    }
    if (this.#isNothing()) return GroupResult.empty() as H;
    return (await this.#applier().applySignatureEagerly(this.#data, args, options)) as H;
  }

  /** A group of none: it needs no app. */
  #isNothing(): boolean {
    const data = this.#data;
    return this.app === undefined && formOf(data) === "group" && membersOf(tasksOf(data)).length === 0;
  }

  #applier(): SignatureApplier {
    if (this.app !== undefined) return this.app;
    throw unknownApp(this.#data);
  }

  /** Celery's JSON of it. */
  toJSON(): SignatureData {
    return this.#pending === undefined ? this.#data : withMembers(this.#data, this.#pending.list().map(signatureData));
  }
}

/** Why a step does not fit: its first parameter cannot take what comes before it. */
export interface Misfit<R> {
  readonly cannotTake: R;
}

function stamped(signature: SignatureData, stamps: Readonly<Record<string, unknown>>): SignatureData {
  const { options, ...rest } = changed(signature, (part) => stamped(part, stamps));
  if (formOf(signature) !== "task") return { ...rest, options };
  const { stamped_headers: before } = options;
  const names = new Set([...(Array.isArray(before) ? (before as string[]) : []), ...Object.keys(stamps)]);
  return { ...rest, options: { ...options, ...stamps, stamped_headers: [...names] } };
}
