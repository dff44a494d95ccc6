import { describe, expect, test } from "vitest";
import { envelope } from "../flow/envelopes.ts";
import { module, place } from "./run.ts";

/** A folder with three dead letters of its app. */
async function withLetters() {
  const here = place();
  const broker = await here.app.engine.broker();
  const letter = (id: string, task: string, args: readonly unknown[], reason: string) => ({
    queue: "celery-dlq",
    body: envelope({ task, id, args }),
    attributes: {
      id,
      task,
      reason,
      error: "Reject",
      queue: "celery",
      deliveries: "1",
      deadAt: "2026-01-01T00:00:00.000Z",
    },
  });
  await broker.send([
    letter("id-1", "cli.add", [1, 2], "no room"),
    letter("id-2", "cli.add", [3, 4], "too late"),
    letter("id-3", "media.cut", [], "no room"),
  ]);
  const dlq = (...args: string[]) => here.start(["dlq", ...args, "-A", module]).exited;
  const sizes = async () => [(await broker.size("celery")).ready, (await broker.size("celery-dlq")).ready];
  return { ...here, broker, dlq, sizes };
}

describe("lovage dlq", () => {
  test("list shows those that are meant, show all of one", async () => {
    const { dlq, sizes } = await withLetters();
    // One after the other: they hide from each other what they look at.
    expect((await dlq("list")).stdout).toMatch(/queue .*reason\ncelery .*id-1.*no room\n/);
    expect((await dlq("show", "id-9")).code).toBe(1);
    const alone = await dlq("list", "--json", "--task", "cli.*", "--error", "room");
    expect(JSON.parse(alone.stdout)).toMatchObject([{ id: "id-1", task: "cli.add", error: "Reject" }]);
    expect((await dlq("show", "id-2")).stdout).toContain(envelope({ task: "cli.add", id: "id-2", args: [3, 4] }));
    expect(await sizes()).toEqual([0, 3]);
  });

  test("redrive sends back those that are meant, with other arguments where they are given", async () => {
    const { dlq, sizes, broker } = await withLetters();
    expect(await dlq("redrive", "--task", "cli.add", "--dry-run")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("Would send back 2 dead letters."),
    });
    // Many are asked about, or need --yes.
    expect(await dlq("redrive")).toMatchObject({ code: 2, stderr: expect.stringContaining("--yes") });
    expect(await sizes()).toEqual([0, 3]);
    expect(await dlq("redrive", "--id", "id-2", "--args", "[5, 6]")).toMatchObject({
      code: 0,
      stdout: "Sent back 1 dead letter.\n",
    });
    expect(await sizes()).toEqual([1, 2]);
    const [back] = await broker.receive("celery", { max: 1, wait: 0 });
    expect(back?.body).toContain("[[5,6], {}");
    expect(Number(back?.attributes["redrivenAt"])).toBeGreaterThan(1.7e12);
  });

  test("delete deletes those that are meant, and asks before", async () => {
    const { dlq, sizes } = await withLetters();
    expect((await dlq("delete", "--task", "cli.add")).code).toBe(2);
    expect((await dlq("delete", "--task", "cli.add", "--yes")).stdout).toBe("Deleted 2 dead letters.\n");
    expect(await sizes()).toEqual([0, 1]);
  });

  test("one that is named and not there is said, and is a failure, beside others that are there too", async () => {
    const { dlq, sizes } = await withLetters();
    const gone = { code: 1, stderr: "lovage: there is no dead letter of gone\n" };
    expect(await dlq("delete", "--id", "gone")).toMatchObject({ ...gone, stdout: "Deleted 0 dead letters.\n" });
    expect(await dlq("redrive", "--id", "gone", "--dry-run")).toMatchObject(gone);
    expect(await dlq("redrive", "--id", "id-1,gone", "--yes")).toMatchObject({
      ...gone,
      stdout: "Sent back 1 dead letter.\n",
    });
    expect((await dlq("redrive", "--task", "nobody", "--yes")).code).toBe(0);
    expect(await sizes()).toEqual([1, 2]);
  });

  test("redrive sends back each once, also where a worker makes dead letters of them at once", async () => {
    const { dlq, sizes, broker, worker } = await withLetters();
    await broker.purge("celery-dlq");
    await broker.send(
      [1, 2, 3].map((n) => ({ queue: "celery-dlq", body: envelope({ task: "cli.reject", id: `again-${n}` }) })),
    );
    await worker();
    const { code, stdout, stderr } = await dlq("redrive", "--yes");
    expect([code, stdout]).toEqual([expect.any(Number), "Sent back 3 dead letters.\n"]);
    await expect.poll(sizes).toEqual([0, 3]);
    // Who came again before the command had seen all is named.
    expect([code, stderr]).toEqual(code === 0 ? [0, ""] : [1, expect.stringContaining("and has come again")]);
  });
});
