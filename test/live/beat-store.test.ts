import { EventBridgeClient, ListRulesCommand, ListTargetsByRuleCommand } from "@aws-sdk/client-eventbridge";
import { crontab, Lovage } from "lovage";
import { describe, expect, onTestFinished, test } from "vitest";
import { open as openRules } from "../../src/beat/eventbridge.ts";
import { beatStoreContract } from "../contract/beat-store.ts";
import { emulator, emulatorUrl } from "./emulators.ts";

const aws = await emulator("ministack");

describe.skipIf(!aws)("entries put at run time, as rules of EventBridge", () => {
  const open = (fn: string, name = "shop") => {
    const app = new Lovage(name, {
      brokerUrl: emulatorUrl("sqs", aws as NonNullable<typeof aws>, "?region=eu-west-1&queue_name_prefix=shop-"),
      resultBackend: "memory://",
      beatFunction: `arn:aws:lambda:eu-west-1:000000000000:function:${fn}`,
    });
    app.task("shop.add", (x: number, y: number) => x + y);
    onTestFinished(() => app.close());
    return app;
  };

  let places = 0;
  beatStoreContract(() => {
    const url = emulatorUrl("sqs", aws as NonNullable<typeof aws>, "?region=eu-west-1");
    const prefix = `place-${places++}-`;
    return async (app) =>
      openRules(url, {
        app,
        random: Math.random,
        options: {},
        prefix,
        beatFunction: `arn:aws:lambda:eu-west-1:000000000000:function:beat-${app}`,
      });
  });

  test("are put, listed, paused, resumed and removed, each app its own", async () => {
    const app = open("beat");
    const long = `long-${"x".repeat(100)}`;
    await app.beat.put("ü <b>", { task: "shop.add", schedule: crontab({ hour: 9 }), args: ["<time>", 2] });
    await app.beat.put(long, { task: "shop.add", schedule: 30, enabled: false });
    await open("beat-2", "other").beat.put("a", { task: "shop.add", schedule: 30 });
    const events = new EventBridgeClient({
      endpoint: (aws as NonNullable<typeof aws>).endpoint,
      region: "eu-west-1",
      credentials: { accessKeyId: "test", secretAccessKey: "test" },
    });
    onTestFinished(() => events.destroy());
    const { Rules = [] } = await events.send(new ListRulesCommand({ NamePrefix: "shop-beat." }));
    expect(Rules).toHaveLength(3);
    for (const { Name } of Rules) {
      const { Targets } = await events.send(new ListTargetsByRuleCommand({ Rule: Name }));
      // What cannot be handed to the function goes where the deployed rules put it.
      expect(Targets).toMatchObject([
        { DeadLetterConfig: { Arn: "arn:aws:sqs:eu-west-1:000000000000:lovage-shop-beat-dead-letters" } },
      ]);
    }
    expect(await app.beat.list()).toMatchObject([
      { name: long, enabled: false },
      { name: "ü <b>", enabled: true, args: ["<time>", 2], schedule: { hour: [9] } },
    ]);
    expect([await app.beat.pause("ü <b>"), await app.beat.resume(long), await app.beat.pause("none")]).toEqual([
      true,
      true,
      false,
    ]);
    expect((await app.beat.list()).map(({ enabled }) => enabled)).toEqual([true, false]);
    expect([await app.beat.remove(long), await app.beat.remove("ü <b>"), await app.beat.remove("a")]).toEqual([
      true,
      true,
      false,
    ]);
    expect(await app.beat.list()).toEqual([]);
    expect(await open("beat-2", "other").beat.list()).toHaveLength(1);
  });

  test("what a deployment that is gone has left behind is named, and is put over or removed", async () => {
    const names = ["a", "b", `long-${"x".repeat(700)}`];
    const gone = open("beat-gone");
    for (const name of names) await gone.beat.put(name, { task: "shop.add", schedule: 30 });
    await open("beat-other", "other").beat.put("a", { task: "shop.add", schedule: 30 });
    const app = open("beat-new");
    expect(await app.beat.list()).toEqual([]);
    const { unreadable } = await app.beat.stored();
    expect(unreadable.map(({ name }) => name)).toEqual(names);
    expect(unreadable[0]?.error.message).toMatch(
      /^beat\["a"\]: was put for the beat function of another deployment .*put it again, or remove it.*:function:beat-gone, .*:function:beat-new\)$/,
    );
    await expect(app.beat.resume("a")).rejects.toThrow('beat["a"]');
    await app.beat.put("a", { task: "shop.add", schedule: 60 });
    expect(await app.beat.list()).toMatchObject([{ name: "a", schedule: { seconds: 60 } }]);
    for (const name of names) expect(await app.beat.remove(name)).toBe(true);
    expect(await app.beat.stored()).toEqual({ entries: [], unreadable: [] });
    expect(await open("beat-other", "other").beat.list()).toHaveLength(1);
  });
});
