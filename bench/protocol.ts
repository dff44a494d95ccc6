/** A message from an object to the text that travels, and back: kombu's way, ours, and what JSON and base64 alone take. */
import { join } from "node:path";
import { decodeEnvelope, encodeEnvelope } from "../src/protocol/envelope.ts";
import { createMessage, type Message } from "../src/protocol/message.ts";
import { pythonPeers } from "./cache.ts";
import { check, compare, type Measures } from "./compare.ts";
import { start } from "./processes.ts";

/** What the first argument holds, in bytes: a small call, and one that is mostly payload. */
const SIZES = [1, 10_000];

/** Microseconds a call, over so long. */
const MEASURE_MS = 400;
const WARM_UP = 5000;
const STRIDE = 100;

function timed(run: () => unknown): number {
  for (let index = 0; index < WARM_UP; index++) run();
  const from = performance.now();
  let count = 0;
  let now = from;
  for (; now - from < MEASURE_MS; now = performance.now()) {
    for (let index = 0; index < STRIDE; index++) run();
    count += STRIDE;
  }
  return ((now - from) * 1000) / count;
}

const options = { accept: ["json"] };

export async function protocol(): Promise<void> {
  const python = pythonPeers();
  for (const size of SIZES) {
    const kombu = start(python, [join(import.meta.dirname, "peers", "kombu_protocol.py"), String(size)]);
    try {
      const ready = await kombu.next("ready");
      check(ready["right"] === true, "of kombu's own round trip");
      await compareWith(size, String(ready["text"]), async () => {
        kombu.send("round");
        return kombu.next("round");
      });
    } finally {
      await kombu.stop();
    }
  }
}

async function compareWith(
  size: number,
  celeryText: string,
  askKombu: () => Promise<Readonly<Record<string, unknown>>>,
): Promise<void> {
  const message = (await decodeEnvelope(celeryText, options)) as Message;
  check(message.args[1] === 3 && String(message.args[0]).length === size, "of reading Celery's message");
  const own = createMessage({ ...message, argsrepr: null, kwargsrepr: null, origin: null });
  const ownText = await encodeEnvelope(own);
  const back = (await decodeEnvelope(ownText, options)) as Message;
  check(back.id === message.id && back.args[1] === 3, "of the round trip");

  const { body, ...envelope } = JSON.parse(Buffer.from(celeryText, "base64").toString()) as { readonly body: string };
  const payload: unknown = JSON.parse(Buffer.from(body, "base64").toString());
  const floorDecode = () => {
    const outer = JSON.parse(Buffer.from(celeryText, "base64").toString()) as { readonly body: string };
    return JSON.parse(Buffer.from(outer.body, "base64").toString()) as unknown;
  };
  const floorEncode = () => {
    const inner = Buffer.from(JSON.stringify(payload)).toString("base64");
    return Buffer.from(JSON.stringify({ body: inner, ...envelope })).toString("base64");
  };

  const measures = (encode: number, decode: number, bytes: number): Measures => ({
    encode,
    "decode Celery's": decode,
    "messages a second": 1e6 / (encode + decode),
    throughput: bytes / decode,
    "bytes sent": bytes,
  });
  const celeryBytes = celeryText.length;
  await compare({
    name: `protocol-${size}`,
    work: `encode a message whose first argument has ${size} B, and decode Celery's own text of it`,
    metrics: {
      encode: { unit: "µs", better: "less" },
      "decode Celery's": { unit: "µs", better: "less" },
      "decode ours": { unit: "µs", better: "less" },
      "messages a second": { unit: "1/s", better: "more" },
      throughput: { unit: "MB/s decoded", better: "more" },
      "bytes sent": { unit: "B", better: "less" },
    },
    contenders: [
      {
        name: "Lovage",
        round: async () => {
          const decode = timed(() => decodeEnvelope(celeryText, options));
          return {
            ...measures(
              timed(() => encodeEnvelope(own)),
              decode,
              ownText.length,
            ),
            throughput: celeryBytes / decode,
            "decode ours": timed(() => decodeEnvelope(ownText, options)),
          };
        },
      },
      {
        name: "kombu",
        round: async () => {
          const { encode, decode } = await askKombu();
          return measures(Number(encode), Number(decode), celeryBytes);
        },
      },
      {
        name: "JSON and base64 alone",
        round: async () => measures(timed(floorEncode), timed(floorDecode), celeryBytes),
      },
    ],
  });
}
