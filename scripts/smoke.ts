/**
 * `npm run smoke`: sends tasks to the deployed app as any caller would, sees what becomes of them, and prints a table. Ends
 * with 1 when anything is not as it should be. Takes up to 75 s, since beat fires once a minute.
 *
 *     npm run smoke                                       on the local AWS, after `npm run deploy:local`
 *     npm run smoke -- call retry                         only these checks
 *     npm run smoke -- --outputs outputs.json             on AWS, after `cdk deploy --outputs-file outputs.json`
 */
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { TaskError } from "lovage";
import { slotId } from "../src/beat/slot-id.ts";
import { deadLetterQueue } from "../src/brokers/broker.ts";
import { localAws } from "./local-aws.ts";

/** For one task, in seconds: a function's cold start and an emulator that is slow. */
const PATIENCE_S = 20;
/** EventBridge fires once a minute, anywhere within it. */
const BEAT_PATIENCE_S = 75;
const DELAY_S = 3;

const { values, positionals } = parseArgs({ allowPositionals: true, options: { outputs: { type: "string" } } });
const outputs = await outputsOfStack(values.outputs);
process.env["LOVAGE_BROKER_URL"] = outputs("BrokerUrl");
process.env["LOVAGE_RESULT_BACKEND"] = outputs("ResultBackend");
// Now that the environment says where its queues and results are.
const { add, app, div, multiply, unsteady } = await import("../functions/tasks.ts");

/** Each throws when it does not see what its text says. */
const CHECKS = {
  call: [
    "a call is answered: add.delay(1, 2) gives 3",
    async () => same(await (await add.delay(1, 2)).get(patiently), 3),
  ],
  batch: [
    "25 calls in one turn are all answered",
    async () => {
      const results = await Promise.all(Array.from({ length: 25 }, (_, index) => add.delay(index, 1)));
      same(
        await Promise.all(results.map((result) => result.get(patiently))),
        results.map((_, index) => index + 1),
      );
    },
  ],
  route: [
    "another queue has a function of its own",
    async () => same(await (await multiply.applyAsync([6, 7], { queue: "media" })).get(patiently), 42),
  ],
  failure: [
    "what a task throws reaches its caller",
    async () => {
      const result = await div.delay(1, 0);
      const error: unknown = await result.get({ ...patiently, propagate: false });
      if (!(error instanceof TaskError) || error.name !== "RangeError") throw new Error(`get() gave ${String(error)}`);
      same(await result.state(), "FAILURE");
    },
  ],
  retry: [
    "a task that asks for another attempt gets it",
    async () => same(await (await unsteady.delay(1)).get(patiently), "done by attempt 2"),
  ],
  delay: [
    `a task with a countdown of ${DELAY_S} s runs then, not before`,
    async () => {
      const sent = Date.now();
      const result = await add.applyAsync([1, 2], { countdown: DELAY_S });
      same(await result.get(patiently), 3);
      const waited = ((await result.dateDone())?.getTime() ?? 0) - sent;
      // SQS counts in seconds of its own.
      if (waited < (DELAY_S - 1) * 1000) throw new Error(`it was done after ${waited} ms`);
    },
  ],
  revoke: [
    "a revoked task does not run",
    async () => {
      const result = await add.applyAsync([1, 2], { countdown: DELAY_S });
      await result.revoke();
      await result.get({ ...patiently, propagate: false });
      same(await result.state(), "REVOKED");
    },
  ],
  deadLetter: ["what cannot be read is a dead letter, and its row says why", deadLetter],
  beat: [`beat sends what is due (up to ${BEAT_PATIENCE_S} s)`, beat],
} as const satisfies Record<string, readonly [text: string, run: () => Promise<void>]>;

const patiently = { timeout: PATIENCE_S };

const names = positionals.length > 0 ? positionals : Object.keys(CHECKS);
const results = await Promise.all(names.map(check));
await app.close();
const width = Math.max(...results.map(({ text }) => text.length));
for (const { name, text, seconds, error } of results) {
  console.log(
    `${name.padEnd(12)}${text.padEnd(width + 2)}${seconds.toFixed(1).padStart(5)} s  ${error === undefined ? "pass" : "FAIL"}`,
  );
}
for (const { name, error } of results) if (error !== undefined) console.log(`\n${name}: ${error}`);
if (results.some(({ error }) => error !== undefined)) process.exitCode = 1;

async function check(name: string) {
  const started = performance.now();
  const [text, run] = (CHECKS as Readonly<Record<string, readonly [string, () => Promise<void>]>>)[name] ?? [
    "",
    () => Promise.reject(new Error(`there is no such check; known: ${Object.keys(CHECKS).join(", ")}`)),
  ];
  const error = await run().then(
    () => undefined,
    (thrown: unknown) => (thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown)),
  );
  return { name, text, seconds: (performance.now() - started) / 1000, error };
}

/** A message that no worker may read: its content is Python's pickle, which runs code when it is read. */
async function deadLetter(): Promise<void> {
  const id = randomUUID();
  const body = JSON.stringify({
    body: "gASVAAAAAAAAAAAu",
    "content-type": "application/x-python-serialize",
    "content-encoding": "binary",
    headers: { lang: "py", task: add.name, id, root_id: id, parent_id: null },
    properties: {
      correlation_id: id,
      delivery_tag: id,
      delivery_mode: 2,
      delivery_info: { exchange: "", routing_key: "celery" },
      body_encoding: "base64",
    },
  });
  const broker = await app.engine.broker();
  const [refused] = await broker.send([{ queue: "celery", body }]);
  if (refused !== undefined) throw refused;

  const deadline = Date.now() + PATIENCE_S * 1000;
  while (Date.now() < deadline) {
    const found = await broker.receive(deadLetterQueue("celery"), { max: 10, wait: 1000, visibility: 2000 });
    // LocalStack spaces the JSON of a body on the way to the function anew, so the text may differ.
    const ours = found.find((delivery) => delivery.attributes["id"] === id);
    await broker.changeVisibility(
      found.filter((delivery) => delivery !== ours).map((delivery) => ({ delivery, visibility: 0 })),
    );
    if (ours === undefined) continue;
    await broker.delete([ours]);
    same(JSON.parse(ours.body), JSON.parse(body));
    if (!ours.attributes["reason"]?.includes("application/x-python-serialize"))
      throw new Error(`its reason is ${ours.attributes["reason"]}`);
    same(await app.result(id).state(), "FAILURE");
    return;
  }
  throw new Error(`it was not in ${deadLetterQueue("celery")} within ${PATIENCE_S} s`);
}

/** The ids of beat's tasks are known beforehand: by app, entry and slot. */
async function beat(): Promise<void> {
  const entry = "every-30-seconds";
  const every = 30_000;
  const started = Date.now();
  // The minute that is running has begun, and LocalStack fires up to a minute early.
  const first = Math.floor(started / 60_000) * 60_000;
  while (Date.now() < started + BEAT_PATIENCE_S * 1000) {
    for (let slot = first; slot <= Date.now() + 2 * every; slot += every) {
      const result = app.result<number>(slotId(app.name, entry, slot));
      const done = (await result.dateDone())?.getTime() ?? 0;
      // One of before shows only what has been.
      if (done < started) continue;
      same(await result.get(patiently), 12);
      return;
    }
    await sleep(1000);
  }
  throw new Error(`no slot of ${entry} ran within ${BEAT_PATIENCE_S} s`);
}

function same(given: unknown, wanted: unknown): void {
  if (JSON.stringify(given) !== JSON.stringify(wanted))
    throw new Error(`got ${JSON.stringify(given)} in place of ${JSON.stringify(wanted)}`);
}

/** What a stack of `TaskQueues` says about itself, by an output's name. */
async function outputsOfStack(given: string | undefined): Promise<(name: string) => string> {
  let file = given;
  if (file === undefined) {
    const aws = await localAws();
    Object.assign(process.env, aws.env);
    file = join(aws.home, "outputs.json");
    if (!existsSync(file)) throw new Error(`there is no deployment on ${aws.endpoint}; first: npm run deploy:local`);
  }
  const stacks = JSON.parse(readFileSync(file, "utf8")) as Readonly<Record<string, Readonly<Record<string, string>>>>;
  const all: Readonly<Record<string, string>> = Object.assign({}, ...Object.values(stacks));
  return (name) => {
    const found = all[`Lovage${name}`];
    if (found === undefined) throw new Error(`${file} has no output Lovage${name}`);
    return found;
  };
}
