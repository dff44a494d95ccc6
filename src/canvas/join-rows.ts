/** The rows of a chord: who is in its header, how many they are, and which row a member is counted in. */
import type { ResultTuple } from "../protocol/meta.ts";
import { encodeGroupMeta, type MetaCodec } from "../protocol/meta.ts";
import { groupKey, joinKey } from "../results/backend.ts";
import { type Command, MEMBER_LENGTH } from "../results/record.ts";
import type { JoinPlan } from "./apply.ts";

/** What rows are written with. */
export interface RowContext {
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly ttl: number | undefined;
  readonly codec: MetaCodec;
}

/** The id under which some members of a chord are counted. */
export const leafId = (group: string, leaf: number): string => `${group}.leaf-${leaf}`;

/** What must be stored before a member of the chord is sent. Storing it again changes nothing. */
export async function joinRows({ id, members, leafSize }: JoinPlan, context: RowContext): Promise<Command[]> {
  if (leafSize === undefined) return [await membersRow(id, members, context), sizeRow(id, countIds(members), context)];
  const leaves = Math.ceil(members.length / leafSize);
  const rows: Command[] = [];
  for (let leaf = 0; leaf < leaves; leaf++) {
    const own = members.slice(leaf * leafSize, (leaf + 1) * leafSize);
    rows.push(await membersRow(leafId(id, leaf), own, context));
    if (own.length < leafSize) rows.push(sizeRow(leafId(id, leaf), own.length, context));
  }
  return [...rows, await membersRow(id, leafTuples(id, leaves), context), sizeRow(id, leaves, context)];
}

/** Celery's row of a header: the results that are in it, in order. */
export async function membersRow(
  id: string,
  members: readonly ResultTuple[],
  { now, ttl, codec }: RowContext,
): Promise<Command> {
  return { type: "store", key: groupKey(id), now, ttl, result: await encodeGroupMeta([[id, null], members], codec) };
}

export const sizeRow = (id: string, size: number, { now, ttl }: RowContext): Command => ({
  type: "join",
  key: joinKey(id),
  now,
  ttl,
  size,
});

/** In the row of a large header, groups without members stand for its leaves. */
export const leafTuples = (id: string, leaves: number): readonly ResultTuple[] =>
  Array.from({ length: leaves }, (_, leaf) => [[leafId(id, leaf), null], []]);

/** Ids of all tasks in it. */
export const idsOf = (tuples: readonly ResultTuple[]): readonly string[] =>
  tuples.flatMap(([[id], members]) => (members === null ? [id] : idsOf(members)));

/** How many tasks end in it. One that is in it twice runs once, and counts once. */
export const countIds = (tuples: readonly ResultTuple[]): number => new Set(idsOf(tuples)).size;

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** What a member is known by in the row of its chord: 64 bits of its id, in base64url ("cyrb53", unclipped). */
export function memberHash(id: string): string {
  let a = 0xdeadbeef;
  let b = 0x41c6ce57;
  for (let at = 0; at < id.length; at++) {
    const code = id.charCodeAt(at);
    a = Math.imul(a ^ code, 2654435761);
    b = Math.imul(b ^ code, 1597334677);
  }
  const x = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  const y = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(x ^ (x >>> 13), 3266489909);
  let rest = (BigInt(x >>> 0) << 32n) | BigInt(y >>> 0);
  let text = "";
  for (let digit = 0; digit < MEMBER_LENGTH; digit++) {
    text += DIGITS[Number(rest & 63n)];
    rest >>= 6n;
  }
  return text;
}
