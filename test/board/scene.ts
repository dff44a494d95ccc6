/** A shop on a bad day: what the pages are tested on, and what the pictures in the docs show. */
import { chain, chord, crontab, group, Lovage, Reject } from "lovage";
import { seededRandom } from "../../src/testing/random.ts";
import { type TestApp, testApp } from "lovage/testing";
import { writeWorker } from "../../src/control/rows.ts";
import type { JournalEntry } from "../../src/journal/entry.ts";
import { z } from "zod";

class PaymentUnavailable extends Error {
  override readonly name = "PaymentUnavailable";
}

/** With stacks of the shop's, the same wherever the tests run. */
function unavailable(order: number): PaymentUnavailable {
  const cause = new Error("connect ETIMEDOUT 203.0.113.7:443");
  cause.stack = `Error: ${cause.message}\n    at request (file:///shop/node_modules/pay/client.js:88:11)`;
  const error = new PaymentUnavailable(`503 Service Unavailable from api.pay.example for order ${order}`, { cause });
  error.stack = [
    `${error.name}: ${error.message}`,
    "    at post (file:///shop/payments/api.ts:41:11)",
    "    at async charge (file:///shop/payments/charge.ts:17:20)",
  ].join("\n");
  return error;
}

/** When the day is looked at: ten past three in the afternoon in Berlin. */
const NOW = new Date("2026-11-20T14:10:00Z");

export interface Scene {
  readonly app: Lovage;
  readonly t: TestApp;
  /** Ids of what is to be looked at. */
  readonly ids: {
    /** Failed after three attempts. */
    readonly charge: string;
    readonly order: string;
    readonly album: string;
  };
  /** Failed charges. */
  readonly failed: number;
  /** Ends the outage. */
  mend(): void;
}

/** The app alone. `isDown` says whether the payment service is; `work` takes so many milliseconds. */
function shop(isDown: () => boolean, work: (ms: number) => Promise<void> = async () => {}): Lovage {
  const app = new Lovage("shop", {
    timezone: "Europe/Berlin",
    taskQueues: { celery: {}, payments: {}, media: {}, mail: {}, archive: {} },
    taskRoutes: {
      "payments.*": { queue: "payments" },
      "media.*": { queue: "media" },
      "mail.*": { queue: "mail" },
    },
    beatSchedule: {
      "reports-daily": { task: "reports.daily", schedule: crontab({ hour: 6, minute: 30 }) },
      "refresh-rates": { task: "payments.refresh_rates", schedule: 300, args: ["EUR"] },
      "sweep-carts": { task: "shop.sweep_carts", schedule: crontab({ minute: "*/15" }) },
    },
  });
  app.task(
    "payments.charge",
    {
      bind: true,
      autoretryFor: [PaymentUnavailable],
      maxRetries: 2,
      retryBackoff: 4,
      retryJitter: false,
      schema: z.tuple([
        z
          .object({ order: z.int().min(1).describe("Number of the order"), cents: z.int().min(1), card: z.string() })
          .describe("What is charged"),
      ]),
    },
    async (_self, { order, cents }) => {
      // Those of a minute take as long as each other: each instant at which one ends is a step of the clock.
      await work(isDown() ? 2_000 + (Math.floor(order / 12) % 7) * 90 : 240);
      if (isDown()) throw unavailable(order);
      return { order, charged: cents };
    },
  );
  app.task("payments.refresh_rates", (currency: string) => `rates of ${currency}`);
  app.task("shop.checkout", async (order: number) => {
    await work(65);
    return { order, items: 3 };
  });
  app.task("shop.sweep_carts", () => 17);
  app.task("reports.daily", (..._sources: unknown[]) => "report");
  app.task("mail.send", { params: ["to", "subject"] }, (to: string, _subject: string) => {
    if (to.includes("nobody")) throw new Reject(`no such mailbox: ${to}`, { requeue: false });
    return "250 OK";
  });
  app.task("mail.receipt", (order: unknown) => ({ order, sent: true }));
  app.task("media.thumbnail", async (photo: number, width: number) => {
    await work(1_500 + (Math.floor(photo / 20) % 11) * 240);
    if (photo % 97 === 13) throw new RangeError(`photo ${photo} is damaged at byte ${photo * 31}`);
    return { photo, width };
  });
  app.task("media.publish", (photos: readonly unknown[]) => photos.length);
  app.task("media.album", (name: string) => name);
  return app;
}

const MINUTE = 60_000;
const DOWN_AT = -31 * MINUTE;

/** The hour before {@link NOW}: a normal one, until the payment service goes down half an hour ago. */
export async function playScene(url: string, { failing = 312, photos = 1000 } = {}): Promise<Scene> {
  let isUp = true;
  const app: Lovage = shop(
    () => !isUp,
    (ms) => app.engine.clock.sleep(ms),
  );
  const begin = NOW.getTime() - 34 * MINUTE;
  const t = testApp(app, {
    config: { brokerUrl: url, resultBackend: url },
    now: new Date(begin),
    queues: ["celery", "payments", "media", "mail"],
    concurrency: 20,
  });
  const random = seededRandom(7);
  const hex = (digits: number) => Array.from({ length: digits }, () => Math.floor(random() * 16).toString(16)).join("");
  const uuid = () => `${hex(8)}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(12)}`;
  // Ids that are counted, as those of a test are, look alike where they are shortened.
  Object.assign(app.engine.platform, { uuid });
  const of = (name: string, ...args: readonly unknown[]) => app.signature(name, args);

  await background(app, uuid, random);

  const done = Math.round(photos * 0.24);
  const album = await chain(
    of("media.album", "Rome"),
    chord(
      group(
        Array.from({ length: photos }, (_, photo) =>
          app.signature("media.thumbnail", [photo, 320], {
            immutable: true,
            ...(photo >= done && { queue: "archive" }),
          }),
        ),
      ),
      of("media.publish"),
    ),
  ).delay();
  await t.advance({ seconds: 120 });

  const order = await chain(
    of("shop.checkout", 4711),
    app.signature("payments.charge", [{ order: 4711, cents: 4_990, card: "visa" }], { immutable: true }),
    group([of("mail.receipt"), app.signature("mail.send", ["ann@shop.example", "Thank you"], { immutable: true })]),
  ).delay();
  await t.advance(NOW.getTime() + DOWN_AT - t.clock.now());

  isUp = false;
  const charged: string[] = [];
  const batch = Math.ceil(failing / 26);
  for (let number = 0; number < failing; number++) {
    const args = [
      { order: 5_000 + number, cents: 1_000 + ((number * 137) % 9_000), card: number % 3 ? "visa" : "amex" },
    ];
    charged.push((await app.sendTask("payments.charge", args)).id);
    if (number % batch === batch - 1) await t.advance({ seconds: 60 });
  }
  await t.put("no envelope at all", "mail");
  for (const who of ["nobody@shop.example", "nobody2@shop.example"])
    await app.sendTask("mail.send", [who, "Your order"]);
  await t.advance({ seconds: 30 });
  await app.control.pause("archive", { by: "ann" });
  await app.sendTask("media.thumbnail", [13, 320]);
  await t.advance(NOW.getTime() - t.clock.now() - 15_000);
  for (let number = 0; number < 9; number++)
    await app.sendTask("reports.daily", [number], { countdown: 600 + number * 60, queue: "celery" });
  await t.advance(NOW.getTime() - t.clock.now());
  for (let number = 0; number < 24; number++) await app.sendTask("mail.send", [`guest${number}@shop.example`, "News"]);
  await workers(app, t.clock.now());
  return {
    app,
    t,
    ids: { charge: charged[0] ?? "", order: firstOf(order), album: firstOf(album) },
    failed: failing,
    mend() {
      isUp = true;
    },
  };
}

/** The id of the task that a workflow begins with. */
function firstOf(result: { readonly id: string; readonly parent?: unknown }): string {
  let at = result;
  while (typeof at.parent === "object" && at.parent !== null) at = at.parent as typeof result;
  return at.id;
}

/** What workers say of themselves. */
async function workers(app: Lovage, now: number): Promise<void> {
  const backend = await app.engine.backend();
  const registered = [...app.tasks.keys()].sort();
  for (const [at, host] of ["shop-1", "shop-2"].entries()) {
    await writeWorker(
      backend,
      {
        name: `celery@${host}`,
        pid: 4_100 + at,
        host,
        queues: at === 0 ? ["celery", "payments", "mail"] : ["media"],
        concurrency: 20,
        since: now - 5 * 3_600_000,
        seen: now - 1_800 * (at + 1),
        done: 18_211 + at * 977,
        version: "2026.11.3",
        active: at === 0 ? [] : [{ id: "b4c1", task: "media.thumbnail", queue: "media", started: now - 2_100 }],
        reserved: [],
        running: at,
        waiting: 0,
        registered,
      },
      false,
    );
  }
}

/** What went well meanwhile is told to the journal alone: nobody runs it again. */
async function background(app: Lovage, uuid: () => string, random: () => number): Promise<void> {
  const kinds = [
    ["shop.checkout", "celery", 0.12],
    ["mail.send", "mail", 0.4],
    ["media.thumbnail", "media", 0.9],
    ["shop.sweep_carts", "celery", 0.05],
  ] as const;
  const from = NOW.getTime() - 66 * MINUTE;
  const entries: JournalEntry[] = [];
  for (let time = from; time < NOW.getTime(); ) {
    const wave = 1 + 0.6 * Math.sin((time - from) / (9 * MINUTE));
    time += 400 + (random() * 3_000) / wave;
    const [task, queue, typical] = kinds[Math.floor(random() * kinds.length)] ?? kinds[0];
    entries.push({
      time: Math.round(time),
      kind: "task",
      id: uuid(),
      task,
      queue,
      state: random() < 0.01 ? "REVOKED" : "SUCCESS",
      runtime: Number((typical * (0.5 + random() * random() * 4)).toFixed(3)),
      waited: Number((0.02 + random() * random() * wave).toFixed(3)),
      worker: `celery@shop-${queue === "media" ? 2 : 1}`,
      args: task === "mail.send" ? '["guest@shop.example", "News"]' : `[${Math.floor(random() * 9_000)}]`,
      kwargs: "{}",
    });
  }
  const journal = await app.engine.journal();
  for (let at = 0; at < entries.length; at += 100) await journal.append(entries.slice(at, at + 100));
}
