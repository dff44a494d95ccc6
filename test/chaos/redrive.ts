/** `lovage dlq redrive`, as a process of its own that is interrupted and killed, until all letters are sent back. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { type Broker, deadLetterQueue } from "../../src/brokers/broker.ts";
import { envelope } from "../flow/envelopes.ts";

const launcher = resolve(import.meta.dirname, "../../bin/lovage.js");
const module = join(import.meta.dirname, "../cli/child.ts");
const QUEUE = "celery";

export interface RedriveRun {
  readonly broker: Broker;
  /** Where the command finds the broker. */
  readonly brokerUrl: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly letters: number;
  /** What ends the command, one run for each. */
  readonly signals: readonly NodeJS.Signals[];
  readonly random: () => number;
  /** Makes visible what a killed process had in hand. */
  reveal(): Promise<void> | void;
}

export interface RedriveFigures {
  /** Ended before they were through, by which signal. */
  readonly ended: readonly NodeJS.Signals[];
  /** Letters that are neither in their queue nor among the dead letters. */
  readonly lost: number;
  /** Sent back a second time: a kill came between the sending and the deletion. */
  readonly doubled: number;
  /** Still dead letters at the end. */
  readonly left: number;
  /** Letters that an interrupted command kept from others. */
  readonly hidden: number;
}

export async function redriveUnderKill(run: RedriveRun): Promise<RedriveFigures> {
  const { broker, letters, random } = run;
  const dead = deadLetterQueue(QUEUE);
  for (let from = 0; from < letters; from += 100) {
    const some = Array.from({ length: Math.min(100, letters - from) }, (_, n) => `letter-${from + n}`);
    const sent = await broker.send(some.map((id) => ({ queue: dead, body: envelope({ task: "cli.add", id }) })));
    if (sent.some((error) => error !== undefined)) throw new Error("the letters could not be put");
  }
  const start = () => {
    const child = spawn(process.execPath, [launcher, "dlq", "redrive", "-A", module, "--yes"], {
      cwd: run.cwd,
      env: { ...process.env, LOVAGE_BROKER_URL: run.brokerUrl, ...run.env, NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const said = Promise.all([text(child.stdout), text(child.stderr)]);
    const exited = once(child, "exit") as Promise<[code: number | null, signal: NodeJS.Signals | null]>;
    return { child, said, exited };
  };
  const sentBack = async () => (await broker.size(QUEUE)).ready;

  const ended: NodeJS.Signals[] = [];
  let hidden = 0;
  for (const signal of run.signals) {
    const before = await sentBack();
    const { child, exited, said } = start();
    // In the middle of its work, not before it.
    while ((await sentBack()) === before && child.exitCode === null) await sleep(2);
    await sleep(random() * 60);
    child.kill(signal);
    const [code, by] = await exited;
    await said;
    if (by === signal || code === 130) ended.push(signal);
    if (signal === "SIGINT") hidden += (await broker.size(dead)).inFlight;
    else await run.reveal();
  }
  const last = start();
  const [code] = await last.exited;
  if (code !== 0) throw new Error((await last.said).join("\n"));

  const copies = new Map<string, number>();
  for (;;) {
    const found = await broker.receive(QUEUE, { max: 100, wait: 0, visibility: 60_000 });
    if (found.length === 0) break;
    for (const { body } of found) {
      const id = /letter-\d+/.exec(body)?.[0] ?? "";
      copies.set(id, (copies.get(id) ?? 0) + 1);
    }
    await broker.delete(found);
  }
  const { ready, inFlight } = await broker.size(dead);
  return {
    ended,
    lost: letters - copies.size,
    doubled: [...copies.values()].reduce((sum, count) => sum + count - 1, 0),
    left: ready + inFlight,
    hidden,
  };
}
