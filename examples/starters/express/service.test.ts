import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { testApp } from "lovage/testing";
import { service } from "./service.ts";
import { app } from "./tasks.ts";

test("a report is ordered, watched and read", async (context) => {
  const t = testApp(app);
  const server = service.listen(0, "127.0.0.1");
  context.after(async () => {
    server.close();
    await t.close();
  });
  await once(server, "listening");
  const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const headers = { "content-type": "application/json" };
  const order = { method: "POST", headers, body: JSON.stringify({ customer: "Ada", pages: 2 }) };
  const accepted = await fetch(`${at}/reports`, order);
  assert.equal(accepted.status, 202);
  const place = `${at}${accepted.headers.get("location")}`;
  assert.deepEqual(await (await fetch(place)).json(), { state: "PENDING" });

  await t.drain();
  const events = await (await fetch(`${place}/events`)).text();
  assert.match(events, /event: chunk\ndata: {"page":2,"pages":2}/);
  assert.match(events, /event: result\ndata: {"customer":"Ada","pages":2}/);
  assert.deepEqual(await (await fetch(place)).json(), { state: "SUCCESS", result: { customer: "Ada", pages: 2 } });
});
