/** Why an action would not be done to a task, for who only asks: the same verdicts, and nothing is changed. */
import type { Engine } from "../engine.ts";
import { type Row, taskKey } from "../results/backend.ts";
import { isEnded } from "../results/record.ts";
import { PENDING } from "../states.ts";
import { waitingRedrive } from "./rows.ts";

/** Why a task that has ended in this state cannot be revoked. */
export const endedText = (state: string): string =>
  state === PENDING ? "it has ended already, and its result is forgotten" : `it has ended already: ${state}`;

/** Why a task of which there is no row cannot be forgotten. */
export const NOT_STORED = "nothing is stored of it";

async function foresee(
  engine: Engine,
  ids: readonly string[],
  judge: (id: string, row: Row | undefined) => string | undefined | Promise<string | undefined>,
): Promise<readonly (string | undefined)[]> {
  const rows = await (await engine.backend()).read(ids.map(taskKey), { consistent: true });
  return Promise.all(ids.map((id, at) => judge(id, rows[at])));
}

export const foreseeRevoke = (engine: Engine, ids: readonly string[]): Promise<readonly (string | undefined)[]> =>
  foresee(engine, ids, async (id, row) => {
    if (row === undefined || !isEnded(row)) return undefined;
    if ((await waitingRedrive(await engine.backend(), id, row)) !== undefined) return undefined;
    return endedText((await engine.reader.meta(id)).status);
  });

export const foreseeForget = (engine: Engine, ids: readonly string[]): Promise<readonly (string | undefined)[]> =>
  foresee(engine, ids, (_, row) => (row === undefined ? NOT_STORED : undefined));
