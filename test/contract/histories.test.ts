/** The model test compares random histories: here is counted that they hold what they are said to hold. */
import { expect, test } from "vitest";
import { type Row, taskKey } from "../../src/results/backend.ts";
import { decide, isExpired, LEASE_MARGIN_MS } from "../../src/results/record.ts";
import { KEYS, randomHistory, toCommand } from "../../src/testing/backend-contract.ts";
import { seededRandom } from "../../src/testing/random.ts";

/** As many as the suite is given where it is given fewest: on DynamoDB. */
const HISTORIES = 60;

test("sixty random histories have several owners, leases that end, lost replies, late writers and Python in them", () => {
  const counts = {
    "a claim of the first owner": 0,
    "a take-over after a lease": 0,
    "a take-over of a take-over": 0,
    "a duplicate of a live run": 0,
    "a duplicate of a settled attempt": 0,
    "a message of an attempt that is over": 0,
    "a later attempt over an earlier one": 0,
    "a redrive of a dead letter": 0,
    "a failure that is run again": 0,
    "a failure that is not to be run again": 0,
    "a task sent again over one that was forgotten": 0,
    "a claim over a row that has expired": 0,
    "an outcome of the owner's": 0,
    "a second final of the owner's": 0,
    "a late writer that is refused": 0,
    "a hand-back": 0,
    "a death that is known": 0,
    "a mark to revoke that is told": 0,
    "a forgotten row that guards": 0,
    "commands that are sent again": 0,
    "a reply that is lost on its way": 0,
    "Python over a live lease": 0,
    "a claim over what Python wrote": 0,
    "Python's outcome, which nothing is claimed over": 0,
  };
  const count = (what: keyof typeof counts, isSo: boolean) => {
    if (isSo) counts[what]++;
  };
  for (let seed = 1; seed <= HISTORIES; seed++) {
    const rows = new Map<string, Row>();
    const keys = KEYS.map((key) => taskKey(`${key}`));
    let now = Date.UTC(2026, 0);
    const alive = (row: Row | undefined) => row?.lease !== undefined && now < row.lease + LEASE_MARGIN_MS;
    for (const step of randomHistory(seededRandom(seed), true)) {
      if (step.type === "advance") now += step.ms;
      else if (step.type === "python") {
        const key = keys[step.key] as string;
        count("Python over a live lease", alive(rows.get(key)));
        rows.set(key, { result: step.result, timestamp: now / 1000 });
      } else {
        for (const draft of step.commands) {
          const key = keys[draft.key] as string;
          const stored = rows.get(key);
          const row = stored !== undefined && isExpired(stored, now) ? undefined : stored;
          const command = toCommand(draft, key, stored, now);
          const { write, outcome } = decide(stored, command);
          const python = row !== undefined && row.attempt === undefined && row.done !== true;
          count("commands that are sent again", step.again && write !== undefined);
          count("a reply that is lost on its way", step.lost && write !== undefined);
          const told = "revoked" in outcome && outcome.revoked !== undefined && command.type !== "revoke";
          count("a mark to revoke that is told", told);
          if (command.type === "claim") {
            const claimed = outcome.type === "claimed";
            count("a claim of the first owner", claimed && stored === undefined);
            count("a claim over a row that has expired", claimed && stored !== undefined && row === undefined);
            count("a take-over after a lease", claimed && outcome.runs > 1);
            count("a take-over of a take-over", claimed && outcome.runs > 2);
            count("a duplicate of a live run", outcome.type === "running");
            count("a duplicate of a settled attempt", outcome.type === "settled");
            count("a message of an attempt that is over", outcome.type === "superseded" && !python);
            count("a later attempt over an earlier one", claimed && (row?.attempt ?? Number.NaN) < command.attempt);
            count("a redrive of a dead letter", claimed && row?.buried === true);
            count("a failure that is run again", claimed && row?.kept !== undefined && command.redrive !== undefined);
            count(
              "a task sent again over one that was forgotten",
              claimed && row?.forgotten !== undefined && row.done === true,
            );
            count("a claim over what Python wrote", claimed && python);
            count("Python's outcome, which nothing is claimed over", outcome.type === "superseded" && python);
            count("a forgotten row that guards", outcome.type === "settled" && row?.hidden === true);
          }
          count(
            "a failure that is not to be run again",
            command.type === "revoke" && write !== undefined && row?.done === true,
          );
          if ("owner" in command && command.type !== "claim") {
            const own = row?.owner === command.owner;
            count("a late writer that is refused", outcome.type === "refused" && row?.owner !== undefined && !own);
            count("an outcome of the owner's", command.type === "final" && own && write !== undefined);
            count("a second final of the owner's", command.type === "final" && outcome.type === "written" && !write);
            count("a death that is known", command.type === "release" && (write?.runs ?? 1) > (row?.runs ?? 1));
            count("a hand-back", command.type === "release" && write !== undefined);
          }
          if (write !== undefined) rows.set(key, write);
        }
      }
    }
  }
  // Not by luck alone.
  expect(Object.entries(counts).filter(([, times]) => times < 3)).toEqual([]);
});
