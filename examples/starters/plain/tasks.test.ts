import assert from "node:assert/strict";
import { test } from "node:test";
import { testApp } from "lovage/testing";
import { app, build } from "./tasks.ts";

test("a report has as many pages as were asked for", async (context) => {
  // Queues and results in memory, by a clock that moves when it is told to.
  const t = testApp(app, { beat: true });
  context.after(() => t.close());
  const result = await build.delay("Ada", 2);
  await t.drain();
  assert.deepEqual(await result.get(), { customer: "Ada", pages: 2 });

  const runs = await t.advance({ hours: 1 });
  assert.deepEqual(
    runs.map(({ task }) => task),
    ["reports.cleanUp"],
  );
});
