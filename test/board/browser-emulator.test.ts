/** The main pages on SQS and DynamoDB, as an emulator has them: what they show comes over the wire of AWS. */
import { Lovage } from "lovage";
import { createBoard } from "lovage/board";
import { startWorker } from "lovage/worker";
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import type { Emulator } from "../../scripts/emulator.ts";
import { createQueues } from "../../src/brokers/sqs.ts";
import * as dynamodb from "../../src/results/dynamodb.ts";
import { emulator, emulatorUrl } from "../live/emulators.ts";
import { browser, serveBoard, violations, visit } from "./chromium.ts";

const aws = await emulator("ministack");
const started = await browser();

describe.skipIf(!started || aws === undefined)("on SQS and DynamoDB", () => {
  let url: string;
  beforeAll(async () => {
    url = emulatorUrl("dynamodb", aws as Emulator, "/board");
    await createQueues(emulatorUrl("sqs", aws as Emulator), ["board"]);
    await dynamodb.createTable(url);
    await dynamodb.createJournalTable(url, "journal");
  });

  test("what failed is seen, run again from its group, and seen to have succeeded", async () => {
    let isUp = false;
    const app = new Lovage("shop", {
      brokerUrl: emulatorUrl("sqs", aws as Emulator),
      resultBackend: url,
      taskQueues: { board: {} },
      taskDefaultQueue: "board",
    });
    app.task("shop.charge", (order: number) => {
      if (!isUp) throw new RangeError(`order ${order} cannot be charged`);
      return order;
    });
    const worker = await startWorker(app, { queues: ["board"], log: () => {} });
    const served = await serveBoard(createBoard(app, { refresh: 0.5 }).fetch);
    onTestFinished(async () => {
      await served.close();
      await worker.stop();
      await app.close();
    });
    const result = await app.sendTask("shop.charge", [7]);
    await expect(result.get({ timeout: 60 })).rejects.toThrow("order 7 cannot be charged");

    const page = await visit(started, `${served.url}/failures`);
    isUp = true;
    await page.getByRole("button", { name: /^Retry all of shop.charge/ }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Retry 1 task" }).click();
    await page.getByText("1 task is sent again.").waitFor();
    // Until it is begun, its row tells of the failure.
    await vi.waitFor(async () => expect(await app.result(result.id).state()).toBe("SUCCESS"), {
      timeout: 60_000,
      interval: 200,
    });

    for (const [path, text] of [
      ["/", "board"],
      ["/tasks?task=shop.*", "order 7 cannot be charged"],
      [`/tasks/${result.id}`, "Attempts"],
      [`/workflows/${result.id}`, "1 task"],
    ] as const) {
      await page.goto(served.url + path);
      await page.locator("main").getByText(text).first().waitFor();
      expect(await violations(page)).toEqual([]);
    }
    await page.goto(served.url);
    await page.getByRole("button", { name: "Pause board" }).waitFor();
    await page.locator(".plot canvas").first().waitFor();
  });
});
