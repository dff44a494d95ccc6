import assert from "node:assert/strict";
import { test } from "node:test";
import { testApp } from "lovage/testing";
import { GET as events } from "./app/reports/[id]/events/route.ts";
import { GET } from "./app/reports/[id]/route.ts";
import { POST } from "./app/reports/route.ts";
import { app } from "./tasks.ts";

test("a report is ordered, watched and read", async (context) => {
  const t = testApp(app);
  context.after(() => t.close());
  const body = JSON.stringify({ customer: "Ada", pages: 2 });
  const accepted = await POST(new Request("http://localhost/reports", { method: "POST", body }));
  assert.equal(accepted.status, 202);
  const { id } = (await accepted.json()) as { id: string };
  const request = new Request("http://localhost/");
  const params = Promise.resolve({ id });
  assert.deepEqual(await (await GET(request, { params })).json(), { state: "PENDING" });

  await t.drain();
  const said = await (await events(request, { params })).text();
  assert.match(said, /event: chunk\ndata: {"page":2,"pages":2}/);
  assert.match(said, /event: result\ndata: {"customer":"Ada","pages":2}/);
  assert.deepEqual(await (await GET(request, { params })).json(), {
    state: "SUCCESS",
    result: { customer: "Ada", pages: 2 },
  });
});
