/** `lovage queues` and `lovage purge`: what waits in the queues, and the end of it. */
import type { Command } from "commander";
import { harmlessLine } from "../brief.ts";
import type { Lovage } from "../app.ts";
import { deadLetterQueue, type QueueSize } from "../brokers/broker.ts";
import { lookAt, noQueue, queuesOf } from "../control/inspect.ts";
import { type Order, readPaused } from "../control/rows.ts";
import { ask, declined } from "./ask.ts";
import { EXIT_HELP } from "./exit.ts";
import { loadSharedApp } from "./load.ts";
import { appOption, jsonOption, listOption, yesOption } from "./options.ts";
import { complain, pausedText, print, printTable, toJson, withProgress } from "./output.ts";

export function queuesCommand(program: Command): void {
  program
    .command("queues")
    .description("show how many messages and dead letters each queue has, and whether it is paused")
    .addOption(appOption())
    .addOption(jsonOption("a list of objects with queue, ready, delayed, inFlight, deadLetters, paused (Order)"))
    .addHelpText(
      "after",
      `${EXIT_HELP}

Examples:
  $ lovage queues -A ./tasks.ts
  $ lovage queues -A ./tasks.ts --json | jq '.[] | select(.deadLetters > 0)'`,
    )
    .action(async (options: { readonly app: string; readonly json: boolean }) => {
      await using app = await loadSharedApp(options.app);
      const broker = await app.engine.broker();
      const existing = await broker.queues();
      const none: QueueSize = { ready: 0, delayed: 0, inFlight: 0 };
      // A queue that was declared and not used yet is not there, which is no reason to fail.
      const sizeOf = async (queue: string) => (existing.includes(queue) ? broker.size(queue) : none);
      const queues = queuesOf(app.engine, existing);
      const pauses = await pausesOf(app, queues);
      const rowOf = async (queue: string) => {
        const [size, dead] = await Promise.all([sizeOf(queue), sizeOf(deadLetterQueue(queue))]);
        const paused = pauses.get(queue);
        const deadLetters = dead.ready + dead.delayed + dead.inFlight;
        return { queue, ...size, deadLetters, ...(paused !== undefined && { paused }) };
      };
      const rows = await lookAt(app.engine, queues, rowOf);
      if (options.json) return print(toJson(rows, 2));
      const cells = rows.map((row) => [
        row.queue,
        row.ready,
        row.delayed,
        row.inFlight,
        row.deadLetters,
        pausedText(app, row.paused),
      ]);
      printTable([["queue", "ready", "delayed", "in flight", "dead letters", ""], ...cells]);
    });
}

/** Pauses are rows of the result backend: who may see the queues alone still sees them. */
async function pausesOf(app: Lovage, queues: readonly string[]): Promise<ReadonlyMap<string, Order>> {
  try {
    return await readPaused(await app.engine.backend(), queues);
  } catch (error) {
    complain(`lovage: which queues are paused is not known: ${error instanceof Error ? error.message : String(error)}`);
    return new Map();
  }
}

interface PurgeCommandOptions {
  readonly app: string;
  readonly queues?: readonly string[];
  readonly yes: boolean;
  readonly force: boolean;
  readonly json: boolean;
}

export function purgeCommand(program: Command): void {
  program
    .command("purge")
    .description("delete all messages of queues; this cannot be undone")
    .addOption(appOption())
    .addOption(listOption("-Q, --queues <names>", "queues to purge (default: all of taskQueues)"))
    .addOption(yesOption())
    .option("-f, --force", "the same as --yes, as in Celery", false)
    .addOption(jsonOption("the number of messages that were deleted by queue; null: the broker does not tell it"))
    .addHelpText(
      "after",
      `${EXIT_HELP} An answer other than yes is 1.

Examples:
  $ lovage purge -A ./tasks.ts
  $ lovage purge -A ./tasks.ts -Q media,media-dlq --yes`,
    )
    .action(async (options: PurgeCommandOptions) => {
      await using app = await loadSharedApp(options.app);
      const broker = await app.engine.broker();
      const existing = await broker.queues();
      const queues = options.queues ?? Object.keys(app.config.taskQueues);
      for (const queue of queues) {
        if (existing.includes(queue) || queue in app.config.taskQueues) continue;
        throw noQueue(app.engine, queue, existing);
      }
      const sizes = await Promise.all(
        queues.filter((queue) => existing.includes(queue)).map((queue) => broker.size(queue)),
      );
      const count = sizes.reduce((sum, { ready, delayed, inFlight }) => sum + ready + delayed + inFlight, 0);
      const question = `${messages(count)} of ${queues.join(", ")} will be deleted, for ever.`;
      if (!(await ask(question, options.yes || options.force))) return declined();
      const counts: [queue: string, purged: number | null][] = [];
      for (const queue of queues) {
        const purged = existing.includes(queue)
          ? await withProgress((seconds) => `Purging ${queue}: ${seconds} s`, app.control.purge(queue))
          : 0;
        counts.push([queue, purged ?? null]);
        if (!options.json) print(`Purged ${messages(purged)} from ${harmlessLine(queue)}.`);
      }
      if (options.json) print(toJson(Object.fromEntries(counts), 2));
    });
}

const messages = (count: number | undefined): string => `${count ?? "all"} ${count === 1 ? "message" : "messages"}`;
