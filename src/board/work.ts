/** Work that takes long, and how far it is. */
import { problemOf } from "./live.ts";
import type { Doing } from "./actions.ts";

export interface Work {
  readonly id: string;
  readonly operation: string;
  readonly state: "running" | "done" | "failed";
  /** Of so many, where that is known. */
  readonly done: number;
  readonly total?: number | undefined;
  readonly result?: unknown;
  readonly error?: string | undefined;
}

/** What has ended is told of as long as it is among so many. */
const MOST_KEPT = 200;

/** The work of one process: another one knows nothing of it. */
export function createWorks(uuid: () => string): {
  /** Throws nothing: that it failed is told of. */
  begin(operation: string, doing: Doing, run: (doing: Doing) => Promise<unknown>): Work;
  find(id: string): Work | undefined;
} {
  const works = new Map<string, Work>();
  return {
    begin(operation, { by }, run) {
      const id = uuid();
      const set = (more: Partial<Work>) => {
        const known = works.get(id);
        if (known !== undefined) works.set(id, { ...known, ...more });
      };
      const work: Work = { id, operation, state: "running", done: 0 };
      works.set(id, work);
      for (const [old, { state }] of works) {
        if (works.size <= MOST_KEPT) break;
        if (state !== "running") works.delete(old);
      }
      run({ by, progress: (done, total) => set({ done, total }) }).then(
        (result) => set({ state: "done", result }),
        (error: unknown) => set({ state: "failed", error: problemOf(error) }),
      );
      return work;
    },
    find: (id) => works.get(id),
  };
}
