import assert from "node:assert/strict";
import { test } from "node:test";
import { testApp } from "lovage/testing";
import { service } from "./service.ts";
import { app } from "./tasks.ts";

test("a report is ordered, watched and read", async (context) => {
  const t = testApp(app);
  context.after(() => t.close());
  const order = { method: "POST", body: JSON.stringify({ customer: "Ada", pages: 2 }) };
  const accepted = await service.request("/reports", order);
  assert.equal(accepted.status, 202);
  const place = accepted.headers.get("location") ?? "";
  assert.deepEqual(await (await service.request(place)).json(), { state: "PENDING" });

  await t.drain();
  const events = await (await service.request(`${place}/events`)).text();
  assert.match(events, /event: chunk\ndata: {"page":2,"pages":2}/);
  assert.match(events, /event: result\ndata: {"customer":"Ada","pages":2}/);
  assert.deepEqual(await (await service.request(place)).json(), {
    state: "SUCCESS",
    result: { customer: "Ada", pages: 2 },
  });
});
