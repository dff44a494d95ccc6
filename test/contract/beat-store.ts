/** What every store of entries put at run time holds to. */
import { expect, onTestFinished, test } from "vitest";
import { crontab } from "../../src/beat/crontab.ts";
import { at } from "../../src/beat/schedule.ts";
import type { BeatStore, RuntimeEntry } from "../../src/beat/store.ts";

const PUT = Date.UTC(2026, 10, 24);

const entryOf = (name: string, more: Partial<RuntimeEntry> = {}): RuntimeEntry => ({
  name,
  task: "shop.add",
  schedule: { type: "interval", seconds: 30 },
  args: [1, 2],
  kwargs: {},
  options: {},
  enabled: true,
  catchUp: "skip",
  within: 86_400,
  since: PUT,
  zone: "Europe/Berlin",
  ...more,
});

/** @param open Opens the store of an app of this name: each test has a place of its own, and each call a connection. */
export function beatStoreContract(open: () => (app: string) => Promise<BeatStore>): void {
  const stores = () => {
    const connect = open();
    return async (app = "shop") => {
      const store = await connect(app);
      onTestFinished(() => store.close());
      return store;
    };
  };
  const names = async (store: BeatStore) => (await store.list()).entries.map(({ name }) => name);

  test("entries are listed by name, as they were put, by whoever has it open, and by no app of another name", async () => {
    const connect = stores();
    const store = await connect();
    const long = `long-${"x".repeat(100)}`;
    const given = [
      entryOf("a", { schedule: at(new Date("2030-01-01T00:00:00Z")), catchUp: "last", within: 21_600 }),
      entryOf(long, { schedule: crontab({ hour: 9 }), enabled: false }),
      entryOf("ü <b>\u202e", { args: ["<time>", { n: null }], options: { expires: new Date(PUT), queue: "media" } }),
    ];
    for (const entry of given.toReversed()) await store.put(entry);
    expect(await (await connect()).list()).toEqual({ entries: given, unreadable: [] });
    expect(await (await connect("other")).list()).toEqual({ entries: [], unreadable: [] });
  });

  test("one that has not changed is the same object each time, where a loop follows them", async () => {
    const store = await stores()();
    if (store.changed === undefined) return;
    for (const name of ["a", "b"]) await store.put(entryOf(name));
    const [a, b] = (await store.list()).entries;
    await store.put(entryOf("b", { args: [3] }));
    const { entries } = await store.list();
    expect(entries[0]).toBe(a);
    expect(entries[1]).not.toBe(b);
    expect(entries[1]).toMatchObject({ args: [3] });
  });

  test("they are replaced, paused, resumed and removed by name", async () => {
    const store = await stores()();
    await store.put(entryOf("a"));
    await store.put(entryOf("a", { args: [3] }));
    expect([await store.setEnabled("a", false, PUT + 1), await store.setEnabled("b", false, PUT)]).toEqual([
      true,
      false,
    ]);
    expect((await store.list()).entries).toMatchObject([{ args: [3], enabled: false }]);
    expect(await store.setEnabled("a", true, PUT + 2)).toBe(true);
    expect((await store.list()).entries).toEqual([entryOf("a", { args: [3], since: PUT + 2 })]);
    expect([await store.remove("a"), await store.remove("a"), await store.setEnabled("a", true, PUT)]).toEqual([
      true,
      false,
      false,
    ]);
    expect(await names(store)).toEqual([]);
  });

  test("what several put at the same time is all there", async () => {
    const connect = stores();
    const both = [await connect(), await connect()];
    const given = Array.from({ length: 20 }, (_, n) => `e${String(n).padStart(2, "0")}`);
    await Promise.all(given.map((name, n) => both[n % 2]?.put(entryOf(name))));
    expect(await names(both[0] as BeatStore)).toEqual(given);
  });

  test.each([
    ["a field of a later version", { later: true }, /later/],
    ["a time zone that is not known here", { zone: "Mars/Olympus" }, /Mars/],
  ])(
    "an entry with %s keeps none of the others back, is named, and can be put over and removed",
    async (_, more, why) => {
      const store = await stores()();
      for (const name of ["a", "c", "d"]) await store.put(entryOf(name));
      // The zone of a rule of EventBridge is in its expression as well.
      const put = (name: string) => store.put({ ...entryOf(name), ...more } as RuntimeEntry);
      if ("zone" in more && (await put("b").catch((error: unknown) => error)) instanceof Error) return;
      await put("b");
      await put("d");
      const { entries, unreadable } = await store.list();
      expect(entries.map(({ name }) => name)).toEqual(["a", "c"]);
      expect(unreadable.map(({ name }) => name)).toEqual(["b", "d"]);
      expect(unreadable[0]?.error.message).toMatch(why);
      expect(unreadable[0]?.error.message).toContain('beat["b"]');
      await expect(store.setEnabled("b", false, PUT)).rejects.toThrow('beat["b"]');
      await store.put(entryOf("d"));
      expect([await store.remove("b"), await names(store)]).toEqual([true, ["a", "c", "d"]]);
      expect((await store.list()).unreadable).toEqual([]);
    },
  );

  test("who waits for a change hears of it, and of its own end", async () => {
    const connect = stores();
    const [store, other] = [await connect(), await connect()];
    const change = store.changed?.();
    if (change === undefined) return;
    await other.put(entryOf("a"));
    await change.over;
    const last = store.changed?.();
    await store.close();
    await last?.over;
  });
}
