import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured } from "../../src/errors.ts";
import { decodeEnvelope, encodeEnvelope, peekEnvelope, salvageMessage } from "../../src/protocol/envelope.ts";
import { createMessage, type Message, type SignatureData } from "../../src/protocol/message.ts";

const ALL = { accept: ["json", "msgpack", "yaml"] };
const message = (facts: Partial<Message> = {}): Message =>
  createMessage({ id: "id-1", task: "tasks.add", args: [1, 2], ...facts });

interface Envelope {
  body: string;
  "content-type"?: string;
  "content-encoding"?: string;
  headers: Record<string, unknown>;
  properties: Record<string, unknown>;
}

const opened = async (facts: Partial<Message> = {}, now = 0): Promise<Envelope> =>
  JSON.parse(await encodeEnvelope(message(facts), now));

/** A text that is read, but for what is changed in it. */
async function changed(change: (envelope: Envelope) => unknown): Promise<string> {
  const envelope = await opened();
  change(envelope);
  return JSON.stringify(envelope);
}

describe("what is written", () => {
  test("is raw JSON with a readable body, whole for a Python worker", async () => {
    expect(await opened()).toEqual({
      body: '[[1,2], {}, {"callbacks":null,"errbacks":null,"chain":null,"chord":null}]',
      "content-encoding": "utf-8",
      "content-type": "application/json",
      headers: {
        lang: "js",
        task: "tasks.add",
        id: "id-1",
        shadow: null,
        eta: null,
        expires: null,
        group: null,
        group_index: null,
        retries: 0,
        timelimit: [null, null],
        root_id: "id-1",
        parent_id: null,
        replaced_task_nesting: 0,
        stamped_headers: null,
        stamps: {},
      },
      properties: {
        correlation_id: "id-1",
        reply_to: "",
        delivery_mode: 2,
        delivery_info: { exchange: "", routing_key: "celery" },
      },
    });
  });

  test("has base64 only around a body that is compressed or binary", async () => {
    expect((await opened({ compression: "gzip" })).properties.body_encoding).toBe("base64");
    expect((await opened({ compression: "gzip" })).headers.compression).toBe("application/x-gzip");
    expect((await opened({ contentType: "application/x-msgpack" })).properties.body_encoding).toBe("base64");
    expect((await opened({ contentType: "application/x-yaml" })).properties).not.toHaveProperty("body_encoding");
  });

  test("says in how many milliseconds the message expires, and not less than none", async () => {
    const expires = "1970-01-01T00:01:00+00:00";
    expect((await opened({ expires }, 500)).properties.expiration).toBe("59500");
    expect((await opened({ expires }, 90_000)).properties.expiration).toBe("0");
  });

  test("is at hand at once where nothing has to be loaded", () => {
    expect(typeof encodeEnvelope(message())).toBe("string");
    expect(decodeEnvelope(encodeEnvelope(message()) as string, ALL)).not.toBeInstanceOf(Promise);
  });

  test.each([
    ["a value that cannot travel", { args: [{ callback: () => 1 }] }, "args[0].callback"],
    ["a keyword that cannot travel", { kwargs: { on: new Map() } }, "kwargs.on"],
    [
      "a callback's argument that cannot travel",
      { callbacks: [{ task: "t", args: [Symbol("x")] }] as unknown as SignatureData[] },
      "callbacks[0].args[0]",
    ],
    ["a stamp that cannot travel", { stamps: { x: () => 1 } }, "headers.stamps.x"],
    ["a header named like one of Celery's", { headers: { task: "other" } }, "headers.task"],
    ["a property named like one of Celery's", { properties: { body_encoding: "hex" } }, "properties.body_encoding"],
    ["no id", { id: "" }, "id"],
    ["no task", { task: "" }, "task"],
    ["an eta that is no time", { eta: "soon" }, "eta"],
    ["expires that is no time", { expires: "1795472301" }, "expires"],
    ["arguments that are no list", { args: {} as unknown as unknown[] }, "args"],
    ["keywords that are no object", { kwargs: null as unknown as Record<string, unknown> }, "kwargs"],
    ["pickle", { contentType: "application/x-python-serialize" }, "contentType"],
  ])("is never %s", async (_, facts, path) => {
    try {
      await encodeEnvelope(message(facts));
    } catch (error) {
      expect(error).toBeInstanceOf(EncodeError);
      expect((error as EncodeError).path).toBe(path);
      return;
    }
    throw new Error("it was encoded");
  });

  test.each(["bzip2", "lzma", "zip"])(
    "is not compressed with %s, and what can be used is said",
    async (compression) => {
      await expect(encodeEnvelope(message({ compression }))).rejects.toThrow(ImproperlyConfigured);
      await expect(encodeEnvelope(message({ compression }))).rejects.toThrow(/use gzip, brotli or zstd/);
    },
  );
});

describe("what is read", () => {
  test("may be base64, of ASCII or not, with white space around", async () => {
    const text = await encodeEnvelope(message({ args: ["Grüße 世界"] }));
    const base64 = Buffer.from(text).toString("base64");
    expect(await decodeEnvelope(` ${base64}\n`, ALL)).toEqual(await decodeEnvelope(text, ALL));
  });

  test.each([
    ["utf-16 without a mark", "utf-8", (text: string) => Buffer.from(text, "utf16le")],
    ["utf-16 with a mark", "utf-16", (text: string) => Buffer.from(`\ufeff${text}`, "utf16le")],
    ["utf-8 with a mark", "utf-8", (text: string) => Buffer.from(`\ufeff${text}`)],
    ["utf-8 called binary", "binary", (text: string) => Buffer.from(text)],
    ["latin-1", "iso-8859-1", (text: string) => Buffer.from(text, "latin1")],
  ])("may have a body in %s", async (_, encoding, encode) => {
    const text = await changed((envelope) => {
      envelope.body = encode('[["Grüße"], {}, {}]').toString("base64");
      envelope["content-encoding"] = encoding;
      envelope.properties.body_encoding = "BASE64";
    });
    expect((await decodeEnvelope(text, ALL)).args).toEqual(["Grüße"]);
  });

  test("may be of protocol 1", () => {
    const body = {
      task: "tasks.add",
      id: "old-1",
      args: [1],
      kwargs: { y: 2 },
      retries: 2,
      eta: "2030-01-01T00:00:00",
      expires: null,
      utc: true,
      callbacks: [{ task: "tasks.next" }],
      errbacks: null,
      timelimit: [10, 5],
      taskset: "group-1",
      chord: {
        task: "tasks.sum",
        args: [],
        kwargs: {},
        options: { task_id: "b" },
        subtask_type: null,
        immutable: true,
      },
    };
    const text = JSON.stringify({
      body: JSON.stringify(body),
      "content-type": "application/json",
      headers: {},
      properties: {},
    });
    expect(decodeEnvelope(text, ALL)).toMatchObject({
      id: "old-1",
      task: "tasks.add",
      args: [1],
      kwargs: { y: 2 },
      retries: 2,
      eta: "2030-01-01T00:00:00",
      timelimit: [10, 5],
      group: "group-1",
      callbacks: [{ task: "tasks.next", args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false }],
      chord: body.chord,
      headers: {},
      rootId: "old-1",
    });
  });

  test("may be a hybrid, whose headers win", () => {
    const body = { task: "tasks.old", id: "old-1", args: [1], retries: 2 };
    const headers = { task: "tasks.new", id: "new-1", mine: 1 };
    const text = JSON.stringify({
      body: JSON.stringify(body),
      "content-type": "application/json",
      headers,
      properties: {},
    });
    expect(decodeEnvelope(text, ALL)).toMatchObject({
      id: "new-1",
      task: "tasks.new",
      args: [1],
      kwargs: {},
      retries: 2,
      headers: { mine: 1 },
    });
  });

  test("keeps headers and properties without a meaning here", async () => {
    const text = await changed((envelope) => {
      envelope.headers.tenant = { name: "t1" };
      envelope.properties.MessageGroupId = "g";
      envelope.properties.delivery_mode = 1;
      envelope.properties.delivery_tag = "tag";
    });
    expect(decodeEnvelope(text, ALL)).toMatchObject({
      headers: { tenant: { name: "t1" } },
      properties: { MessageGroupId: "g", delivery_mode: 1 },
    });
    expect((await decodeEnvelope(text, ALL)).properties).not.toHaveProperty("delivery_tag");
  });

  test("keeps the bound on a decompressed body", async () => {
    const facts = { args: ["a".repeat(100_000)] };
    for (const compression of ["gzip", "brotli", "zstd"]) {
      const text = await encodeEnvelope(message({ ...facts, compression }));
      expect(text.length).toBeLessThan(5000);
      expect((await decodeEnvelope(text, ALL)).args).toEqual(facts.args);
      await expect(decodeEnvelope(text, { ...ALL, maxInflatedBytes: 99_999 })).rejects.toThrow(/more than 99999 bytes/);
    }
  });

  test.each<[string, (envelope: Envelope) => unknown, RegExp]>([
    ["no body", (e) => Reflect.deleteProperty(e, "body"), /body is not text/],
    ["four elements", (e) => (e.body = "[[], {}, {}, {}]"), /has 4 elements/],
    ["a text for a body", (e) => (e.body = '"x"'), /not a list/],
    ["args that are no list", (e) => (e.body = "[{}, {}, {}]"), /args is not a list/],
    ["kwargs that are a list", (e) => (e.body = "[[], [], {}]"), /kwargs is not an object/],
    ["an embed that is text", (e) => (e.body = '[[], {}, "x"]'), /third element/],
    [
      "a callback without a task",
      (e) => (e.body = '[[], {}, {"callbacks": [{}]}]'),
      /callbacks holds .* names no task/,
    ],
    ["a chord whose args are text", (e) => (e.body = '[[], {}, {"chord": {"task": "t", "args": "x"}}]'), /whose args/],
    ["an id that is a number", (e) => (e.headers.id = 1), /id is not a text/],
    ["headers that are a list", (e) => (e.headers = [] as never), /headers is not an object/],
    ["a time that is none", (e) => (e.headers.expires = "never"), /expires cannot be read/],
    ["retries below zero", (e) => (e.headers.retries = -1), /retries is not a whole number/],
    ["retries that have no room for one more", (e) => (e.headers.retries = 2 ** 32 - 1), /retries is not/],
    [
      "a nesting that makes the attempt's number inexact",
      (e) => (e.headers.replaced_task_nesting = 1e15),
      /nesting is not/,
    ],
    ["a nesting that is no whole number", (e) => (e.headers.replaced_task_nesting = 0.5), /nesting is not/],
    ["a place in its group that is text", (e) => (e.headers.group_index = "1"), /group_index is not/],
    ["a group that is a number", (e) => (e.headers.group = 1), /group is 1, not a text/],
    ["a time limit below zero", (e) => (e.headers.timelimit = [-1, null]), /timelimit is \[-1,null\]/],
    ["a time limit that no clock can wait for", (e) => (e.headers.timelimit = [null, 1e300]), /timelimit/],
    ["a name that no task can have", (e) => (e.headers.task = "a.b.".repeat(1000)), /name has 4000 characters/],
    ["a time limit that is text", (e) => (e.headers.timelimit = "10"), /timelimit/],
    ["an unknown compression", (e) => (e.headers.compression = "zip"), /compression "zip"/],
    ["damaged compressed data", (e) => Object.assign(e.headers, { compression: "gzip" }), /damaged/],
    ["a body_encoding that is a number", (e) => (e.properties.body_encoding = 1), /body_encoding 1/],
    ["a body that is not base64", (e) => (e.properties.body_encoding = "base64"), /neither JSON nor base64/],
    [
      "a body that is not UTF-8",
      (e) => Object.assign(e, { body: "/w==", properties: { body_encoding: "base64" } }),
      /not text in UTF-8/,
    ],
    ["an unknown tag in a header", (e) => (e.headers.mine = { __type__: "nope", __value__: 1 }), /tag "nope"/],
  ])("is refused with %s", async (_, change, reason) => {
    const reading = (async () => decodeEnvelope(await changed(change), ALL))();
    await expect(reading).rejects.toThrow(DecodeError);
    await expect(reading).rejects.toThrow(reason);
  });

  const part = (task: string, kwargs: object = {}, options: object = {}, subtask_type: string | null = null) => ({
    task,
    args: [],
    kwargs,
    options,
    subtask_type,
    immutable: false,
  });
  const good = part("tasks.next");
  test.each<[string, unknown, RegExp]>([
    ["a chain without its tasks", part("celery.chain", {}, {}, "chain"), /celery.chain without a list of its tasks/],
    ["a group of what is no list", part("celery.group", { tasks: good }, {}, "group"), /without a list of its tasks/],
    ["a group of a text", part("celery.group", { tasks: ["not a signature"] }, {}, "group"), /names no task/],
    ["a chord without a body", part("celery.chord", { header: [] }, {}, "chord"), /the body of a chord/],
    ["a chord without a header", part("celery.chord", { body: good }, {}, "chord"), /the header of a chord/],
    ["a chord by its name alone", part("celery.chord", { header: [good, 1], body: good }), /names no task/],
    ["chunks of no size", part("celery.chunks", { task: good, it: [[1]], n: 0 }), /a list and a size/],
    ["chunks of nothing", part("celery.chunks", { task: good, n: 1 }), /a list and a size/],
    ["a callback of a step that is none", part("t", {}, { link: [{ args: [] }] }), /link in .*names no task/],
    ["an errback of a step that is none", part("t", {}, { link_error: 5 }), /link_error in .*names no task/],
    ["a rest of a chain that is none", part("t", {}, { chain: ["x"] }), /chain in .*names no task/],
    ["a chord's body in an option that is none", part("t", {}, { chord: [] }), /chord in .*names no task/],
    ["an id that is a number", part("t", {}, { task_id: 5 }), /task_id in .* not a text/],
    ["a place that is none", part("t", {}, { group_index: -1 }), /group_index in .* not a whole number/],
    ["a name of 300 characters", part("a".repeat(300)), /name has 300 characters/],
    ["no name", part(""), /names no task/],
    [
      "something deep within",
      part("celery.chain", {
        tasks: [good, part("celery.group", { tasks: [good, part("celery.chord", { header: [good], body: 1 })] })],
      }),
      /the body of a chord/,
    ],
  ])("is refused with %s, wherever a signature can stand", async (_, wrong, reason) => {
    for (const embed of [
      { callbacks: [good, wrong] },
      { errbacks: [wrong] },
      { chain: [wrong, good] },
      { chord: wrong },
    ]) {
      const text = await changed((e) => (e.body = JSON.stringify([[], {}, embed])));
      const reading = (async () => decodeEnvelope(text, ALL))();
      await expect(reading).rejects.toThrow(DecodeError);
      await expect(reading).rejects.toThrow(reason);
      // Those beside it are told of the failure all the same.
      const salvaged = await salvageMessage(text);
      if (embed.callbacks === undefined && embed.errbacks === undefined && embed.chord === undefined)
        expect(salvaged?.chain).toMatchObject([{ task: "tasks.next" }]);
    }
  });

  test.each([
    [Number.NaN, null],
    [1e300, 255],
    [-5, 0],
    [4.4, 4],
    ["9", null],
  ])("a priority of %j is a wish for %j", async (given, read) => {
    const text = (await changed((e) => (e.properties.priority = "here"))).replace(
      '"here"',
      given === "9" ? '"9"' : String(given),
    );
    expect(await decodeEnvelope(text, ALL)).toMatchObject({ priority: read });
  });

  test.each(["", "x", "{", "[]", "null", "AAAA", "[[1], {}, {}]"])("%j is refused", (text) => {
    expect(() => decodeEnvelope(text, ALL)).toThrow(DecodeError);
  });

  test("a type that the app does not accept is refused before its body is looked at", async () => {
    const text = await changed((envelope) =>
      Object.assign(envelope, { "content-type": "application/x-yaml", body: "!!" }),
    );
    expect(() => decodeEnvelope(text, { accept: ["json"] })).toThrow(ContentDisallowed);
  });
});

describe("peekEnvelope", () => {
  test("finds id and task where the message itself is refused", async () => {
    const named = { id: "id-1", task: "tasks.add" };
    const text = await changed((envelope) => (envelope.body = "not json"));
    expect(peekEnvelope(text)).toEqual(named);
    expect(peekEnvelope(Buffer.from(text).toString("base64"))).toEqual(named);
    expect(peekEnvelope(text.slice(0, -20))).toEqual(named);
    expect(
      peekEnvelope(await changed((envelope) => (envelope.headers.mine = { __type__: "nope", __value__: 1 }))),
    ).toEqual(named);
    const old = { body: btoa(JSON.stringify(named)), properties: { body_encoding: "base64" } };
    expect(peekEnvelope(JSON.stringify(old))).toEqual(named);
  });

  test("is silent about what is no message", () => {
    for (const text of ["", "%%%", "{", "[]", '{"headers": 1}', "////"]) expect(peekEnvelope(text)).toEqual({});
  });
});

const json = fc.jsonValue({ maxDepth: 3, stringUnit: "binary" }).map((value) => value ?? null);
const object = fc.dictionary(fc.string({ unit: "binary" }), json, { maxKeys: 3, noNullPrototype: true });
const name = fc.string({ unit: "binary", minLength: 1 });
const iso = fc
  .date({ min: new Date(0), max: new Date("9999-01-01"), noInvalidDate: true })
  .map((date) => date.toISOString());
const signature: fc.Arbitrary<SignatureData> = fc.record({
  task: name,
  args: fc.array(json, { maxLength: 2 }),
  kwargs: object,
  options: object,
  subtask_type: fc.constantFrom(null, "tasks.of-another-kind"),
  immutable: fc.boolean(),
});
const signatures = fc.array(signature, { maxLength: 2 });
const custom = fc.dictionary(
  name.map((key) => `x${key}`),
  json,
  { maxKeys: 3, noNullPrototype: true },
);
const orNull = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null });

const messages = fc
  .record({
    id: name,
    task: name,
    args: fc.array(json, { maxLength: 3 }),
    kwargs: object,
    callbacks: signatures,
    errbacks: signatures,
    chain: signatures,
    chord: orNull(signature),
    eta: orNull(iso),
    expires: orNull(iso),
    retries: fc.nat(),
    timelimit: fc.tuple(orNull(fc.integer({ min: 1 })), orNull(fc.integer({ min: 1 }))),
    ignoreResult: orNull(fc.boolean()),
    rootId: name,
    parentId: orNull(name),
    group: orNull(name),
    groupIndex: orNull(fc.nat()),
    replacedTaskNesting: fc.nat(10),
    stampedHeaders: orNull(fc.array(name, { maxLength: 2 })),
    stamps: object,
    shadow: orNull(name),
    lang: name,
    origin: orNull(name),
    argsrepr: orNull(name),
    kwargsrepr: orNull(name),
    headers: custom,
    correlationId: name,
    replyTo: orNull(name),
    priority: orNull(fc.nat(255)),
    deliveryInfo: fc.record({ exchange: fc.string(), routingKey: name }),
    properties: custom,
    contentType: fc.constant("application/json"),
    compression: fc.constantFrom(null, null, null, "application/x-gzip", "application/zstd", "application/x-brotli"),
  })
  .map((facts): Message => createMessage(facts));

test("any message comes back equal, in a text that SQS takes and no Python worker dies of", async () => {
  await fc.assert(
    fc.asyncProperty(messages, async (sent) => {
      const text = await encodeEnvelope(sent, 0);
      // #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF, as SQS has it.
      expect(text.isWellFormed()).toBe(true);
      expect(text).not.toMatch(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u);
      const envelope = JSON.parse(text) as Envelope;
      expect(envelope["content-type"]).toBe("application/json");
      expect(envelope.properties).toHaveProperty("delivery_info.routing_key");
      expect([undefined, "base64"]).toContain(envelope.properties.body_encoding);
      expect(envelope.headers.id).toBe(sent.id);
      if (sent.compression === null) {
        const body = JSON.parse(envelope.body) as unknown[];
        expect(body).toHaveLength(3);
        expect(Object.keys(body[2] as object)).toEqual(["callbacks", "errbacks", "chain", "chord"]);
      }
      expect(await decodeEnvelope(text, { accept: ["json"] })).toEqual(sent);
      expect(await decodeEnvelope(Buffer.from(text).toString("base64"), { accept: ["json"] })).toEqual(sent);
    }),
    { numRuns: 200 },
  );
});

test("a time that is a whole number beyond JSON's own is a DecodeError as any other", async () => {
  const text = JSON.stringify({
    body: "[[], {}, {}]",
    "content-type": "application/json",
    headers: { task: "t", id: "i", eta: 1 },
    properties: {},
  }).replace('"eta":1', '"eta":179599999999999999999999');
  expect(() => decodeEnvelope(text, { accept: ["json"] })).toThrow(/eta is "?179599999999999999999999/);
});
