import assert from "node:assert/strict";
import { test } from "node:test";
import { testApp } from "lovage/testing";
import { service } from "./service.ts";
import { app } from "./tasks.ts";

test("a report is ordered, watched and read", async (context) => {
  const t = testApp(app);
  context.after(() => t.close());
  const payload = { customer: "Ada", pages: 2 };
  const accepted = await service.inject({ method: "POST", url: "/reports", payload });
  assert.equal(accepted.statusCode, 202);
  const place = String(accepted.headers.location);
  assert.deepEqual((await service.inject(place)).json(), { state: "PENDING" });
  assert.equal((await service.inject({ method: "POST", url: "/reports", payload: {} })).statusCode, 400);

  await t.drain();
  const { body } = await service.inject(`${place}/events`);
  assert.match(body, /event: chunk\ndata: {"page":2,"pages":2}/);
  assert.match(body, /event: result\ndata: {"customer":"Ada","pages":2}/);
  assert.deepEqual((await service.inject(place)).json(), { state: "SUCCESS", result: { customer: "Ada", pages: 2 } });
});
