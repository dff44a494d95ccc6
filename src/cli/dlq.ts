/** `lovage dlq list | show | redrive | purge`: the dead letters. */
import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import type { Lovage } from "../app.ts";
import { harmlessJson, harmlessLine } from "../brief.ts";
import {
  type DeadLetter,
  type DeadLetterFilter,
  discard,
  redrive,
  type RedriveOptions,
  takeDeadLetters,
} from "../brokers/dead-letters.ts";
import { deadLetterQueue } from "../brokers/broker.ts";
import { noteLetter, queuesWithLetters, textsOf } from "../control/letters.ts";
import { LovageError } from "../errors.ts";
import { EXIT, EXIT_HELP, oneLine } from "./exit.ts";
import { loadSharedApp } from "./load.ts";
import { appOption, jsonParser, listOption, readTime } from "./options.ts";
import { table, toJson, withProgress, complain, print, setIn } from "./output.ts";
import { confirm } from "./queues.ts";

interface Chosen extends DeadLetterFilter {
  readonly app: string;
  readonly queues?: readonly string[];
}

const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value);
const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A number of seconds ago, or a time. */
function parseSince(value: string): number {
  const seconds = Number(value);
  const at = Number.isFinite(seconds) && value.trim() !== "" ? Date.now() - seconds * 1000 : readTime(value);
  if (at !== undefined) return at;
  throw new InvalidArgumentError("It must be a number of seconds ago, or a time in ISO 8601.");
}

const choosing = (command: Command): Command =>
  command
    .addOption(appOption())
    .addOption(listOption("-Q, --queues <names>", "the queues that they came from (default: all that have any)"))
    .option("--task <name>", "only those of this task; * stands for any text, as in media.*")
    .option("--reason <text>", "only those whose reason, or error's name, has this in it")
    .option(
      "--since <seconds|time>",
      "only those since so many seconds ago, or since a time (without an offset: UTC)",
      parseSince,
    )
    .option("--id <id>", "only the one of this task, or of this message");

export function dlqCommand(program: Command): void {
  const dlq = program.command("dlq").description("dead letters: messages that were given up, with the reason");
  listLetters(dlq);
  showLetter(dlq);
  redriveLetters(dlq);
  purgeLetters(dlq);
}

function listLetters(dlq: Command): void {
  choosing(dlq.command("list").description("the dead letters, a line each"))
    .option("--json", "a list of objects, as JSON", false)
    .addHelpText(
      "after",
      `${EXIT_HELP}

Examples:
  $ lovage dlq list -A ./tasks.ts
  $ lovage dlq list -A ./tasks.ts --task 'media.*' --reason timeout --since 3600`,
    )
    .action(async (options: Chosen & { readonly json: boolean }) => {
      await using app = await loadSharedApp(options.app);
      const rows: Readonly<Record<string, string | number>>[] = [];
      await walk(app, options, "Looking at", async (letter) => void rows.push(summary(letter)));
      if (options.json) return print(toJson(rows, 2));
      const columns = ["queue", "dead since", "task", "id", "error", "reason"] as const;
      print(
        rows.length === 0
          ? "No dead letters."
          : table([columns, ...rows.map((row) => columns.map((name) => row[name] ?? ""))]),
      );
    });
}

function summary({ queue, delivery, task, id, error, reason, deliveries, sentAt, deadAt }: DeadLetter) {
  return {
    queue,
    message: delivery.messageId,
    "dead since": (deadAt ?? sentAt)?.toISOString() ?? "",
    sent: sentAt?.toISOString() ?? "",
    deliveries: deliveries ?? "",
    task: task ?? "",
    id: id ?? "",
    error: error ?? "",
    reason: (reason ?? "").replace(/\s+/g, " ").slice(0, 120),
  };
}

function showLetter(dlq: Command): void {
  dlq
    .command("show")
    .description("all that is known of one dead letter, its body as it is")
    .argument("<id>", "of the task, or of the message")
    .addOption(appOption())
    .addOption(listOption("-Q, --queues <names>", "the queues that it may have come from (default: all that have any)"))
    .addHelpText("after", EXIT_HELP)
    .action(async (id: string, options: Chosen) => {
      await using app = await loadSharedApp(options.app);
      let found = 0;
      await walk(app, { ...options, id }, "Looking at", async (letter) => {
        found++;
        for (const [name, value] of Object.entries(summary(letter)))
          print(`${`${name}:`.padEnd(12)}${harmlessLine(String(value))}`);
        if (letter.reason !== undefined) print(`\n${setIn(letter.reason)}`);
        print(`\n${harmlessJson(letter.delivery.body)}`);
      });
      if (found === 0) throw new LovageError(`there is no dead letter of ${id}`);
    });
}

function redriveLetters(dlq: Command): void {
  choosing(dlq.command("redrive").description("send dead letters back to their queues"))
    .option(
      "-a, --args <json>",
      "with these arguments in place of their own, a list in JSON",
      jsonParser("a list", isList),
    )
    .option("-k, --kwargs <json>", "with these keyword arguments, an object in JSON", jsonParser("an object", isRecord))
    .option("--dry-run", "only say what would be sent back", false)
    .addHelpText(
      "after",
      `${EXIT_HELP} One that could not be sent back stays, and makes it 1.
What comes back while it runs stays, too. It can be interrupted at any point: what was not sent back yet stays a dead letter.
After Ctrl-C (130) it is there at once, after a kill within a minute.

Examples:
  $ lovage dlq redrive -A ./tasks.ts --dry-run
  $ lovage dlq redrive -A ./tasks.ts --id 4cf4ab6d-05b4-4ad3-b6a8-ac1ee8f35101 --args '[1, 2]'`,
    )
    .action(async (options: Chosen & Pick<RedriveOptions, "args" | "kwargs"> & { readonly dryRun: boolean }) => {
      await using app = await loadSharedApp(options.app);
      const broker = await app.engine.broker();
      const { args, kwargs } = options;
      const words = { doing: "Sending back", done: "Sent back", would: "Would send back" };
      const sentBack = new Set<string>();
      await each(app, options, words, async (letter) => {
        const what = letter.id ?? letter.delivery.body;
        if (sentBack.has(what)) throw new LovageError("it was sent back, and has come again");
        await redrive(broker, letter, { now: Date.now(), args, kwargs, texts: textsOf(app.engine) });
        sentBack.add(what);
        await noteLetter(app.engine, "redrive", letter);
      });
    });
}

function purgeLetters(dlq: Command): void {
  choosing(dlq.command("purge").description("delete dead letters, for ever"))
    .option("--dry-run", "only say what would be deleted", false)
    .option("-f, --force", "do not ask", false)
    .addHelpText(
      "after",
      `${EXIT_HELP} An answer other than yes is 1.

Examples:
  $ lovage dlq purge -A ./tasks.ts --task tasks.old --dry-run
  $ lovage dlq purge -A ./tasks.ts --task tasks.old -f`,
    )
    .action(async (options: Chosen & { readonly dryRun: boolean; readonly force: boolean }) => {
      await using app = await loadSharedApp(options.app);
      const broker = await app.engine.broker();
      const queues = (await queuesWithLetters(app.engine, options.queues)).map(deadLetterQueue);
      if (!options.dryRun && !options.force && !(await confirm(queues, "All that match in"))) {
        print("Nothing was deleted.");
        process.exitCode = EXIT.failure;
        return;
      }
      await each(app, options, { doing: "Deleting", done: "Deleted", would: "Would delete" }, async (letter) => {
        await discard(broker, letter);
        await noteLetter(app.engine, "deleteDeadLetter", letter);
      });
    });
}

/** Does something to each letter and says how many there were. One that it cannot be done to stays where it is. */
async function each(
  app: Lovage,
  options: Chosen & { readonly dryRun: boolean },
  words: { readonly doing: string; readonly done: string; readonly would: string },
  act: (letter: DeadLetter) => Promise<void>,
): Promise<void> {
  let count = 0;
  const failures: string[] = [];
  await walk(app, options, words.doing, async (letter) => {
    const name = harmlessLine(`${letter.task ?? "?"}[${letter.id ?? letter.delivery.messageId}] of ${letter.queue}`);
    try {
      if (options.dryRun) print(`${words.would} ${name}: ${harmlessLine(letter.reason ?? "no reason was written")}`);
      else await act(letter);
      count++;
    } catch (error) {
      failures.push(`${name}: ${error instanceof LovageError ? error.message : oneLine(error)}`);
    }
  });
  print(`${options.dryRun ? words.would : words.done} ${count} ${count === 1 ? "dead letter" : "dead letters"}.`);
  for (const failure of failures) complain(setIn(`lovage: stays a dead letter: ${failure}`));
  if (failures.length > 0) process.exitCode ??= EXIT.failure;
}

/**
 * Goes through the letters that are meant. On a terminal a line says how far it has come. Ctrl-C ends it behind the letter
 * in hand, so that the others are there again at once.
 */
async function walk(
  app: Lovage,
  options: Chosen,
  doing: string,
  visit: (letter: DeadLetter) => Promise<void>,
): Promise<void> {
  const broker = await app.engine.broker();
  let count = 0;
  let interrupted = false;
  const interrupt = () => {
    interrupted = true;
  };
  const work = async () => {
    for (const queue of await queuesWithLetters(app.engine, options.queues)) {
      for await (const letter of takeDeadLetters(broker, queue, options)) {
        if (interrupted) return;
        count++;
        await visit(letter);
      }
    }
  };
  // The second one is the system's own, and kills.
  process.once("SIGINT", interrupt);
  try {
    await withProgress((seconds) => `${doing} dead letters: ${count}, ${seconds} s`, work());
  } finally {
    process.off("SIGINT", interrupt);
  }
  if (!interrupted) return;
  complain("lovage: interrupted; the rest was not looked at");
  process.exitCode = EXIT.interrupted;
}
