/** Beat as it is deployed, on ministack: its rules fire each minute, and the beat function is called by hand besides. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import { slotId } from "../../src/beat/slot-id.ts";
import { npmRun, outputs, stackOf, succeeds } from "./commands.ts";
import { emulator, emulatorUrl } from "./emulators.ts";

const ministack = await emulator("ministack");

describe.skipIf(ministack === undefined)("beat, deployed on ministack", () => {
  const { endpoint } = (ministack ?? {}) as Emulator;
  const folder = mkdtempSync(join(tmpdir(), "lovage-ticks-"));
  const RUNS = join(folder, "runs");
  let live: typeof import("./stack/beat-tasks.ts");
  let beatFunction: string;

  const deploy = () => succeeds(npmRun(endpoint, "deploy:local", ...stackOf("beat-app.ts"), "-c", `runs=${RUNS}`));
  /** The ids of the tasks that were sent with a word, a line for each run. */
  const runs = (word: string): readonly string[] =>
    readFileSync(RUNS, "utf8")
      .split("\n")
      .flatMap((line) => (line.startsWith(`${word} `) ? [line.split(" ")[1] ?? ""] : []));

  /** As a rule does, and without waiting for what comes of it. */
  const fire = async (event: object) => {
    const response = await fetch(`${endpoint}/2015-03-31/functions/${encodeURIComponent(beatFunction)}/invocations`, {
      method: "POST",
      headers: { Authorization: "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request" },
      body: JSON.stringify(event),
    });
    expect(response.headers.get("X-Amz-Function-Error")).toBeNull();
    expect(await response.text()).toMatch(/^(null)?$/);
  };

  /** Nothing waits any more. A copy that met a run of its task is hidden for a while, and finds an outcome then. */
  const idle = () =>
    vi.waitFor(async () => expect(await (await live.app.engine.broker()).size("celery")).toMatchObject({ ready: 0 }), {
      timeout: 60_000,
      interval: 200,
    });

  beforeAll(async () => {
    writeFileSync(RUNS, "");
    await deploy();
    const told = Object.entries(outputs(endpoint));
    beatFunction = told.find(([name]) => name.includes("BeatFunction"))?.[1] ?? "";
    process.env["LOVAGE_BROKER_URL"] = emulatorUrl("sqs", { endpoint }, "?region=us-east-1");
    process.env["LOVAGE_RESULT_BACKEND"] = emulatorUrl("dynamodb", { endpoint }, "/celery");
    process.env["LOVAGE_BEAT_FUNCTION"] = beatFunction;
    live = await import("./stack/beat-tasks.ts");
  }, 180_000);
  afterAll(async () => {
    await live.app.close();
    await succeeds(npmRun(endpoint, "destroy:local"));
    rmSync(folder, { recursive: true, force: true });
  }, 180_000);

  test("an event that comes three times, twice of them at once, sends each slot of its minute once", async () => {
    // A minute that was over before there were rules.
    const minute = Math.floor(Date.now() / 60_000) * 60_000 - 120_000;
    const event = { entry: "tick", time: new Date(minute).toISOString() };
    await Promise.all([fire(event), fire(event)]);
    const ids = Array.from({ length: 6 }, (_, index) => slotId("ticks", "tick", minute + index * 10_000));
    await Promise.all(ids.map((id) => live.app.result(id).get({ timeout: 60 })));
    await fire(event);
    await idle();
    expect(
      runs("tick")
        .filter((id) => ids.includes(id))
        .sort(),
    ).toEqual([...ids].sort());
  });

  test("what is put at run time, from here or by a task there, fires by a rule, and a deployment leaves it", {
    timeout: 300_000,
  }, async () => {
    const { app, note } = live;
    await app.beat.put("here", { task: note.name, schedule: 10, args: ["here"] });
    await (await app.sendTask("ticks.schedule", ["there"])).get({ timeout: 60 });
    await deploy();
    expect((await app.beat.list()).map(({ name }) => name)).toEqual(["here", "there"]);
    await vi.waitFor(
      () => {
        for (const word of ["here", "there"]) expect(runs(word)).not.toEqual([]);
      },
      { timeout: 90_000, interval: 500 },
    );
    for (const name of ["here", "there"]) expect(await app.beat.remove(name)).toBe(true);
    expect(await app.beat.list()).toEqual([]);
    for (const word of ["here", "there", "tick"]) expect(new Set(runs(word)).size).toBe(runs(word).length);
  });
});
