/** What the members of a chord have ended in. */
import { idsOf, leafId } from "../canvas/join-rows.ts";
import type { Engine } from "../engine.ts";
import { ChordError, DecodeError } from "../errors.ts";
import { exceptionLine } from "../protocol/exceptions.ts";
import { decodeGroupMeta, decodeRow, type Meta, type ResultTuple, withResult } from "../protocol/meta.ts";
import type { MaybePromise } from "../protocol/serializers.ts";
import { groupKey, taskKey } from "../results/backend.ts";
import { FAILURE, isReady, SUCCESS } from "../states.ts";
import { failedMeta } from "./dead-letter.ts";
import type { Sender } from "./sender.ts";

/** Results in the header of a chord, those of its leaves put together. */
export async function readHeader({ read, engine }: Sender, group: string): Promise<readonly ResultTuple[] | undefined> {
  const [row] = await read([groupKey(group)]);
  if (row === undefined) return undefined;
  const members = membersOf(await decodeGroupMeta(row.result, engine.codec));
  const isLeaf = ([[id], inner]: ResultTuple, index: number) => inner?.length === 0 && id === leafId(group, index);
  if (members.length === 0 || !members.every(isLeaf)) return members;
  const leaves = await read(members.map(([[id]]) => groupKey(id)));
  const tuples = await Promise.all(
    leaves.map(async (leaf) => (leaf === undefined ? [] : membersOf(await decodeGroupMeta(leaf.result, engine.codec)))),
  );
  return tuples.flat();
}

const membersOf = ([, members]: ResultTuple): readonly ResultTuple[] => members ?? [];

type JoinedResults =
  | { readonly type: "complete"; readonly values: readonly unknown[] }
  | { readonly type: "failed"; readonly error: ChordError }
  /** The first that has no outcome yet. `error`: of one that has failed already. */
  | { readonly type: "waiting"; readonly id: string; readonly error: ChordError | undefined };

/** The results of a header in its order, read at once; those of a group within it are a list of their own. */
export async function joinResults(sender: Sender, header: readonly ResultTuple[]): Promise<JoinedResults> {
  const { read, engine, codec = engine.codec } = sender;
  const ids = idsOf(header);
  const rows = await read(ids.map(taskKey));
  const found = rows.map((row) => (row?.result ? readMember(engine, () => decodeRow(row.result, codec)) : undefined));
  let metas = await Promise.all(found);
  // Results that are kept elsewhere are worth their requests only where all are there.
  if (metas.every((meta) => meta?.status === SUCCESS))
    metas = await Promise.all(metas.map((meta) => meta && readMember(engine, () => withResult(meta, codec))));
  const hasEnded = (_: unknown, at: number) => isReady(metas[at]?.status ?? "") || rows[at]?.done === true;
  const failed = metas.findIndex((meta, at) => hasEnded(meta, at) && meta?.status !== SUCCESS);
  const error = failed === -1 ? undefined : new ChordError(`Dependency ${ids[failed]} ${fateOf(metas[failed])}`);
  const waiting = ids.findIndex((id, at) => !hasEnded(id, at));
  if (waiting !== -1) return { type: "waiting", id: ids[waiting] ?? "", error };
  if (error !== undefined) return { type: "failed", error };
  let next = 0;
  const values = (tuples: readonly ResultTuple[]): unknown[] =>
    tuples.map(([, members]) => (members === null ? metas[next++]?.result : values(members)));
  return { type: "complete", values: values(header) };
}

/** Another program's row may hold what nobody can read here, however often: its chord has failed then, and does not wait. */
async function readMember(engine: Engine, read: () => MaybePromise<Meta>): Promise<Meta> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return failedMeta(engine, "", error);
  }
}

/** In Celery's words, as far as it has any. */
function fateOf(meta: Meta | undefined): string {
  // It ended in `Ignore`, and stored no outcome.
  if (meta === undefined || !isReady(meta.status)) return "was ignored and has no result";
  const shown = exceptionLine(meta.result);
  return meta.status === FAILURE ? `raised ${shown}` : `was revoked: ${shown}`;
}
