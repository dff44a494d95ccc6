/** What every store of large texts has to do. */
import { expect, test } from "vitest";
import { OperationalError, PayloadLost } from "lovage";
import { createPayloads } from "../../src/payloads/payloads.ts";
import type { PayloadStore } from "../../src/payloads/store.ts";
import { keyOf, readKey, readPointer, writePointer } from "../../src/protocol/pointer.ts";

const MIB = 1024 * 1024;

/** @param open Opens the same store each time. */
export function payloadStoreContract(open: () => Promise<PayloadStore>): void {
  const make = async () => createPayloads(await open(), () => crypto.randomUUID(), Date.now);
  const keyIn = (pointer: string): string => readPointer(pointer)?.key ?? "";

  test.each([
    ["of one sign", "x"],
    ["of nothing", ""],
    ["with signs of one, two, three and four bytes", "aé€😀".repeat(3)],
    ["of some pieces, cut within characters", `x${"😀".repeat(MIB)}é`],
  ])("a text %s comes back as it was, by whoever opens the store", async (_, text) => {
    const pointer = await (await make()).put(text, "an-id", 42);
    expect(pointer.length).toBeLessThan(1000);
    const back = await (await make()).get(pointer);
    expect(back.length).toBe(text.length);
    expect(back === text).toBe(true);
  });

  test.each([
    [0, 60],
    [60, 60],
    [61, 120],
    [121, 400],
    [3700, 3700],
    [3701, undefined],
    [Number.POSITIVE_INFINITY, undefined],
  ])("what is needed for %d days is kept for %s", async (days, kept) => {
    const pointer = await (await make()).put("text", "an-id", days);
    expect(readKey(keyIn(pointer))).toMatchObject({ days: kept, id: "an-id", length: 4 });
  });

  test.each<[string, number, number, boolean]>([
    ["that is kept long enough", 4, 56, false],
    ["that would go too early", 5, 56, true],
    ["that is to be kept for longer", 0, 61, true],
  ])("the pointer to a text %s: %d days later, for %d days, it is another: %s", async (_, later, days, isOther) => {
    const store = await open();
    let now = Date.UTC(2026, 0, 1);
    const payloads = createPayloads(
      store,
      () => crypto.randomUUID(),
      () => now,
    );
    const pointer = await payloads.put("text", "an-id", 56);
    now += later * 86_400_000;
    const renewed = await payloads.renew(pointer, days);
    expect(renewed !== pointer).toBe(isOther);
    expect(await payloads.get(renewed)).toBe("text");
    expect(readKey(keyIn(renewed))).toMatchObject({ id: "an-id", at: isOther ? now : Date.UTC(2026, 0, 1) });
  });

  test("the pointer to a text whose age nobody knows, or that is kept without end, stays", async () => {
    const store = await open();
    const payloads = createPayloads(
      store,
      () => crypto.randomUUID(),
      () => 0,
    );
    const key = keyOf(store.prefix, { days: 60, id: "an-id", length: 4, sha256: "0".repeat(64) }, crypto.randomUUID());
    for (const pointer of [
      writePointer({ bucket: store.bucket, key }),
      writePointer({ bucket: store.bucket, key: `${store.prefix}somebody-elses` }),
      await payloads.put("text", "an-id", Number.POSITIVE_INFINITY),
    ])
      expect(await payloads.renew(pointer, 4000)).toBe(pointer);
  });

  test.each(["a/b", "../../etc/passwd", "é 😀", "%2e%2e", "~x", "x".repeat(500), "a\0b"])(
    "the id %j is no obstacle",
    async (id) => {
      const payloads = await make();
      const pointer = await payloads.put("text", id, 1);
      expect(await payloads.get(pointer)).toBe("text");
      expect(readKey(keyIn(pointer))?.id.slice(0, 90)).toBe(id.slice(0, 90));
    },
  );

  test("two of the same are two, and no key can be guessed from another", async () => {
    const payloads = await make();
    const [one, other] = [await payloads.put("same", "an-id", 1), await payloads.put("same", "an-id", 1)];
    expect(one).not.toBe(other);
  });

  test("what is not there is lost, and says where it was", async () => {
    const store = await open();
    const key = keyOf(store.prefix, { days: 60, id: "an-id", length: 4, sha256: "0".repeat(64) }, crypto.randomUUID());
    const pointer = writePointer({ bucket: store.bucket, key });
    const payloads = await make();
    for (const reading of [payloads.get(pointer), payloads.read(pointer, true)]) {
      const error = await reading.catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(PayloadLost);
      expect(error).toMatchObject({ bucket: store.bucket, key });
    }
  });

  test.each([
    ["another length", { length: 5 }],
    ["a smaller length", { length: 2 }],
    ["another hash", { sha256: "0".repeat(64) }],
  ])("a text of %s than its key says is refused", async (_, lie) => {
    const store = await open();
    const payloads = createPayloads(store, () => crypto.randomUUID(), Date.now);
    const facts = readKey(keyIn(await payloads.put("text", "an-id", 1)));
    if (facts === undefined) throw new Error("no facts");
    const key = keyOf(store.prefix, { ...facts, ...lie }, crypto.randomUUID());
    await store.put(key, () => [new TextEncoder().encode("text")], 4);
    const pointer = writePointer({ bucket: store.bucket, key });
    // One after the other: one that fails while nobody waits for it would fail the run.
    for (const read of [
      () => payloads.get(pointer),
      () => payloads.read(pointer, true),
      () => payloads.read(pointer, false),
    ])
      await expect(read()).rejects.toThrow(`the text at ${store.bucket}/${key} is not the one that was kept`);
  });

  test("a pointer elsewhere is refused, and nothing is read", async () => {
    const store = await open();
    const payloads = createPayloads(
      { ...store, get: () => Promise.reject(new Error("it was read")) },
      () => "",
      Date.now,
    );
    for (const pointer of [
      { bucket: `${store.bucket}x`, key: `${store.prefix}60d/x` },
      ...(store.prefix === "" ? [] : [{ bucket: store.bucket, key: "60d/x" }]),
    ])
      for (const reading of [payloads.get(writePointer(pointer)), payloads.read(writePointer(pointer), true)])
        await expect(reading).rejects.toThrow(/is refused: large texts are read from/);
  });

  test("what AWS's own libraries have kept is read, though its key says nothing of it", async () => {
    const store = await open();
    const key = `${store.prefix}${crypto.randomUUID()}`;
    await store.put(key, () => [new TextEncoder().encode("from Java")], 9);
    const pointer = `["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"${store.bucket}","s3Key":"${key}"}]`;
    expect(await (await make()).get(pointer)).toBe("from Java");
  });

  test("a text that cannot be made is not kept by half", async () => {
    const store = await open();
    const key = `${store.prefix}60d/half/${crypto.randomUUID()}`;
    function* broken(): Generator<Uint8Array> {
      yield new TextEncoder().encode("the first half");
      throw new OperationalError("no more", { retryable: true });
    }
    await expect(store.put(key, broken, 100)).rejects.toThrow("no more");
    expect(await store.get(key)).toBeUndefined();
  });
}
