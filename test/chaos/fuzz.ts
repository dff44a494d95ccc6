/** Damaged messages through a worker: each is run, or becomes a dead letter with a reason, or is put off or known already. */
import { Lovage } from "../../src/app.ts";
import { type Broker, isDeadLetterQueue } from "../../src/brokers/broker.ts";
import { seededRandom } from "../../src/testing/random.ts";
import { type Admission, createWorker } from "../../src/workers/worker.ts";
import { type RecordedMessage, recordings } from "../wire/recordings.ts";

export interface FuzzFigures {
  readonly seed: number;
  readonly bodies: number;
  readonly ran: number;
  readonly dead: number;
  readonly parked: number;
  /** Of a task that has its outcome already. */
  readonly known: number;
  /** What should not be: bodies that were handed back, lost, or given up without a reason. */
  readonly faults: readonly string[];
  readonly seconds: number;
}

const INSERTS = [
  "null",
  "{}",
  "[]",
  '"',
  "}",
  "]",
  ",",
  "NaN",
  "-1",
  "1e400",
  "9".repeat(20),
  "\\u0000",
  "=",
  "\ud800",
  "é",
  "",
  "[".repeat(2000),
  '{"__type__": "datetime", "__value__": 1}',
  '"__proto__": {"x": 1},',
  "2026-13-45T99:99",
  "base64",
  "utf-16",
] as const;

function sources(): readonly string[] {
  const messages = recordings<RecordedMessage>("messages").map(([, { sqsBody }]) => sqsBody);
  const foreign = recordings<{ readonly sqsBody?: string; readonly sent?: { readonly sqsBody?: string } }>("foreign")
    .map(([, recording]) => recording.sqsBody ?? recording.sent?.sqsBody)
    .filter((body) => body !== undefined);
  const texts = messages.map((body) =>
    body.trimStart().startsWith("{") ? body : Buffer.from(body, "base64").toString(),
  );
  return [...messages, ...texts, ...texts, ...foreign];
}

function mutate(text: string, random: () => number): string {
  let result = text;
  for (let edits = 1 + Math.floor(random() * 3); edits > 0; edits--) {
    const at = Math.floor(random() * result.length);
    const dropped = random() < 0.8 ? Math.floor(random() * 3) : Math.floor(random() * 40);
    result = result.slice(0, at) + INSERTS[Math.floor(random() * INSERTS.length)] + result.slice(at + dropped);
  }
  return result;
}

const isHandedBack = (admission: Admission): boolean =>
  "disposition" in admission && admission.disposition.type === "handBack";

let stores = 0;

export async function fuzz(bodies: number, seed: number): Promise<FuzzFigures> {
  const random = seededRandom(seed);
  const began = performance.now();
  let sent: { queue: string; reason: string | undefined }[] = [];
  const app = new Lovage("fuzz", { brokerUrl: "memory://", acceptContent: ["json", "yaml", "msgpack"] }, { env: {} });
  const home = `memory://fuzz-${++stores}`;
  const watch = (broker: Broker): Broker => ({
    ...broker,
    async send(entries) {
      for (const { queue, attributes } of entries) sent.push({ queue, reason: attributes?.["reason"] });
      return broker.send(entries);
    },
  });
  const close = app.engine.move({ config: { brokerUrl: home, resultBackend: home }, platform: {}, wrapBroker: watch });
  const names = new Set(sources().flatMap((text) => /"task": ?"([\w.]+)"/.exec(text)?.[1] ?? []));
  for (const name of names) if (!name.startsWith("celery.")) app.task(name, (...args: unknown[]) => args.length);
  const lines: string[] = [];
  const worker = createWorker(app, {
    hostname: "celery@fuzz",
    log: (level, line) => void (level === "error" && lines.push(line)),
    lease: () => Date.now() + 30_000,
  });
  const all = sources();
  const faults: string[] = [];
  const counts = { ran: 0, dead: 0, parked: 0, known: 0 };
  const broker = await app.engine.broker();

  for (let n = 0; n < bodies; n++) {
    const source = (all[Math.floor(random() * all.length)] ?? "").replaceAll(
      /[0-9a-f]{8}-[0-9a-f]{4}-/g,
      `${String(n).padStart(8, "0")}-0000-`,
    );
    const body = mutate(source, random);
    sent = [];
    lines.length = 0;
    const delivery = {
      queue: "celery",
      body,
      messageId: String(n),
      receipt: "",
      receiveCount: 1,
      sentAt: Date.now(),
      attributes: {},
    };
    let admission = await worker.admit(delivery);
    // A task that nobody knows is handed back three times first, without an error. No more than that comes back.
    for (let again = 0; again < 3 && isHandedBack(admission) && lines.length === 0; again++)
      admission = await worker.admit(delivery);
    const disposition = "run" in admission ? (await admission.run.execute()).disposition : admission.disposition;
    const letter = sent.find(({ queue }) => isDeadLetterQueue(queue));
    if (disposition.type !== "delete") faults.push(`${disposition.type}: ${lines.join("\n")}: ${body.slice(0, 300)}`);
    else if ("run" in admission) counts.ran++;
    else if (letter?.reason) counts.dead++;
    else if (letter !== undefined) faults.push(`a dead letter without a reason: ${body.slice(0, 300)}`);
    else if (sent.length > 0) counts.parked++;
    else counts.known++;
    if (n % 500 === 499) for (const queue of await broker.queues()) await broker.purge(queue);
  }
  await close();
  return { seed, bodies, ...counts, faults, seconds: (performance.now() - began) / 1000 };
}
