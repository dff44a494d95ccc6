/** What tells a run to stop. Its `AbortSignal` is made when somebody asks for it: most tasks never look at theirs. */
export class Stop {
  #controller: AbortController | undefined;
  #isStopped = false;
  #reason: unknown;
  #follower: Stop | undefined;
  /** The task's own code has ended: what there is to stop is no more. */
  isOver = false;

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Why; `undefined` before it is stopped. */
  get reason(): unknown {
    return this.#reason;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isStopped) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** The first reason counts. */
  stop(reason: unknown): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#reason = reason;
    this.#controller?.abort(reason);
    this.#follower?.stop(reason);
  }

  /** Another one, which may be stopped by itself and is stopped as this one is, until {@link leave}. There is one at a time. */
  follower(): Stop {
    const other = new Stop();
    if (this.#isStopped) other.stop(this.#reason);
    this.#follower = other;
    return other;
  }

  /** It has no follower any more. */
  leave(): void {
    this.#follower = undefined;
  }
}
