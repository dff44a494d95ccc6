import "reflect-metadata";
import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { Test } from "@nestjs/testing";
import { testApp } from "lovage/testing";
import { AppModule } from "./app.module.ts";
import { Printer } from "./printer.ts";
import { app } from "./tasks.ts";

test("a report is ordered, watched and read, and the task has the providers of the test", async (context) => {
  const printed: string[] = [];
  const printer = { print: async (customer: string, page: number) => printed.push(`${customer} ${page}`) };
  const module = await Test.createTestingModule({ imports: [AppModule] })
    .overrideProvider(Printer)
    .useValue(printer)
    .compile();
  const server = module.createNestApplication({ logger: ["error"] });
  await server.listen(0, "127.0.0.1");
  const t = testApp(app);
  context.after(async () => {
    await t.close();
    await server.close();
  });
  const at = `http://127.0.0.1:${(server.getHttpServer().address() as AddressInfo).port}/reports`;
  const headers = { "content-type": "application/json" };
  const order = { method: "POST", headers, body: JSON.stringify({ customer: "Ada", pages: 2 }) };
  const accepted = await fetch(at, order);
  assert.equal(accepted.status, 202);
  const { id } = (await accepted.json()) as { id: string };
  assert.deepEqual(await (await fetch(`${at}/${id}`)).json(), { state: "PENDING" });

  await t.drain();
  assert.deepEqual(printed, ["Ada 1", "Ada 2"]);
  const events = await (await fetch(`${at}/${id}/events`)).text();
  assert.match(events, /event: chunk\ndata: {"page":2,"pages":2}/);
  assert.match(events, /event: result\ndata: {"customer":"Ada","pages":2}/);
  assert.deepEqual(await (await fetch(`${at}/${id}`)).json(), {
    state: "SUCCESS",
    result: { customer: "Ada", pages: 2 },
  });
});
