/** What a worker does whose disk cannot be written for a while. */
import { execFileSync, spawnSync } from "node:child_process";
import { describe, expect, test, vi } from "vitest";
import { skipped } from "../skipped.ts";
import { place } from "./run.ts";

const until = { timeout: 60_000, interval: 20 };
const hasLimits = spawnSync("prlimit", ["--version"]).status === 0 || skipped("there is no prlimit (util-linux) here");

/** Lets a process write nothing beyond a file's first page, or all again. As on a disk that is full, it is a commit that fails. */
const fillDisk = (pid: number, isFull: boolean) =>
  execFileSync("prlimit", ["--pid", String(pid), `--fsize=${isFull ? 4096 : "unlimited"}:`]);

describe.skipIf(hasLimits === undefined)("a disk that is full", () => {
  test("while a task ends: its outcome is stored when there is space again, and it has run once", async () => {
    const { worker, app, runs } = place();
    const { says } = await worker(["-c", "2"]);
    const nap = await app.sendTask("cli.nap", [1]);
    await vi.waitUntil(() => runs().length === 1, until);
    const pid = Number(runs()[0]?.[0]);
    fillDisk(pid, true);
    await vi.waitUntil(() => runs().length === 2, until);
    // Its lease is over by then, and the message comes again.
    await says(/Queue celery could not be read/);
    fillDisk(pid, false);
    expect(await nap.get({ timeout: 60 })).toBe("slept");
    expect(runs().map(([, word]) => word)).toEqual(["begin", "end"]);
  });
});
