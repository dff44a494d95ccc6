/** `lovage dlq list | show | redrive | delete`: the dead letters. */
import type { Command } from "commander";
import type { Lovage } from "../app.ts";
import { harmlessJson, harmlessLine, oneLine } from "../brief.ts";
import type { ChangedLetters, LettersOf, ShownLetter } from "../control/control.ts";
import { LovageError } from "../errors.ts";
import { ask, declined } from "./ask.ts";
import { EXIT, EXIT_HELP, interruptible } from "./exit.ts";
import { loadSharedApp } from "./load.ts";
import {
  appOption,
  byOption,
  fromOption,
  given,
  jsonOption,
  jsonParser,
  limitOption,
  listOption,
  queueOption,
  taskOption,
  toOption,
  yesOption,
} from "./options.ts";
import { complain, print, printTable, setIn, toJson, when, withProgress } from "./output.ts";

interface Chosen {
  readonly app: string;
  readonly queue?: readonly string[];
  readonly task?: readonly string[];
  readonly error?: string;
  readonly from?: number;
  readonly to?: number;
  readonly id?: readonly string[];
  readonly limit?: number;
}

interface Changing extends Chosen {
  readonly dryRun: boolean;
  readonly yes: boolean;
  readonly by?: string;
  readonly json: boolean;
}

const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value);
const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const FROM = "queues from which they came (default: all that have dead letters)";

const choosing = (command: Command): Command =>
  command
    .addOption(appOption())
    .addOption(taskOption())
    .addOption(queueOption(FROM))
    .option("--error <text>", "a part of the reason, or of the error's name")
    .addOption(fromOption())
    .addOption(toOption())
    .addOption(listOption("--id <ids>", "ids of tasks or of messages"))
    .addOption(limitOption());

const changing = (command: Command): Command =>
  choosing(command)
    .option("--dry-run", "only list them", false)
    .addOption(yesOption())
    .addOption(byOption())
    .addOption(
      jsonOption("an object with count, and failed: a list of objects with the id of what stays, and the reason"),
    );

const filterOf = ({ queue, task, error, from, to, id, limit }: Chosen): LettersOf =>
  given({ queue, task, error, from, to, id, limit });

export function dlqCommand(program: Command): void {
  const dlq = program
    .command("dlq")
    .description("look at dead letters (messages that no worker could take), send them back or delete them");
  listLetters(dlq);
  showLetter(dlq);
  redriveLetters(dlq);
  deleteLetters(dlq);
}

function listLetters(dlq: Command): void {
  choosing(dlq.command("list").description("list the dead letters, one a line"))
    .addOption(jsonOption("a list of ShownLetter"))
    .addHelpText(
      "after",
      `${EXIT_HELP}

Examples:
  $ lovage dlq list -A ./tasks.ts
  $ lovage dlq list -A ./tasks.ts --task 'media.*' --error timeout --from 1h`,
    )
    .action(async (options: Chosen & { readonly json: boolean }) => {
      await using app = await loadSharedApp(options.app);
      const letters = await look(app, filterOf(options), (letter) => letter);
      if (options.json) return print(toJson(letters, 2));
      if (letters.length === 0) return print("No dead letters.");
      printTable([
        ["queue", "dead since", "task", "id", "error", "reason"],
        ...letters.map((letter) => {
          const { queue, task, id, error, reason } = summary(letter);
          const since = letter.deadAt ?? letter.sentAt;
          return [queue, since === undefined ? "" : when(app, since.getTime()), task, id, error, reason];
        }),
      ]);
    });
}

function summary({ queue, message, task, id, error, reason, deliveries, sentAt, deadAt }: ShownLetter) {
  return {
    queue,
    message,
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
    .description("show one dead letter: its attributes and its unchanged body")
    .argument("<id>", "id of the task or of the message")
    .addOption(appOption())
    .addOption(queueOption(FROM))
    .addOption(jsonOption("a list of ShownLetter, as an id may be that of several"))
    .addHelpText("after", EXIT_HELP)
    .action(async (id: string, options: Chosen & { readonly json: boolean }) => {
      await using app = await loadSharedApp(options.app);
      const found = await look(app, { ...filterOf(options), id }, (letter) => letter);
      if (found.length === 0) throw new LovageError(`there is no dead letter of ${id}`);
      if (options.json) return print(toJson(found, 2));
      for (const letter of found) {
        for (const [name, value] of Object.entries(summary(letter)))
          print(`${`${name}:`.padEnd(12)}${harmlessLine(String(value))}`);
        if (letter.reason !== undefined) print(`\n${setIn(letter.reason)}`);
        print(`\n${harmlessJson(letter.body)}`);
      }
    });
}

function redriveLetters(dlq: Command): void {
  changing(dlq.command("redrive").description("send dead letters back to their queues"))
    .option("-a, --args <json>", "replace their arguments by this list in JSON", jsonParser("a list", isList))
    .option(
      "-k, --kwargs <json>",
      "replace their keyword arguments by this object in JSON",
      jsonParser("an object", isRecord),
    )
    .addHelpText(
      "after",
      `${EXIT_HELP} If a letter cannot be sent back, it stays, and the code is 1.
It is also 1 if --id names a letter that is not there, and for an answer other than yes.
A letter that comes back while the command runs stays, too. You can interrupt the command at any point: letters that were not sent back
yet stay. You see them again at once after Ctrl-C (130), and within a minute after a kill.

Examples:
  $ lovage dlq redrive -A ./tasks.ts --dry-run
  $ lovage dlq redrive -A ./tasks.ts --task 'media.*' --error timeout --yes
  $ lovage dlq redrive -A ./tasks.ts --id 4cf4ab6d-05b4-4ad3-b6a8-ac1ee8f35101 --args '[1, 2]'`,
    )
    .action(async (options: Redriving) => {
      await using app = await loadSharedApp(options.app);
      const { args, kwargs } = options;
      const words = { doing: "Sending back", done: "Sent back", would: "Would send back", will: "will be sent back" };
      await change(app, options, words, (how) =>
        app.control.deadLetters.redrive({ ...how, ...given({ args, kwargs }) }),
      );
    });
}

interface Redriving extends Changing {
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
}

function deleteLetters(dlq: Command): void {
  changing(dlq.command("delete").description("delete dead letters; this cannot be undone"))
    .addHelpText(
      "after",
      `${EXIT_HELP}
The code is also 1 if --id names a letter that is not there, and for an answer other than yes.

Examples:
  $ lovage dlq delete -A ./tasks.ts --task tasks.old --dry-run
  $ lovage dlq delete -A ./tasks.ts --task tasks.old --yes`,
    )
    .action(async (options: Changing) => {
      await using app = await loadSharedApp(options.app);
      const words = { doing: "Deleting", done: "Deleted", would: "Would delete", will: "will be deleted, for ever" };
      await change(app, options, words, (how) => app.control.deadLetters.delete(how));
    });
}

/** Whoever asks for one by its id has seen it. */
const isOne = ({ id }: Chosen): boolean => id?.length === 1;
const letters = (count: number): string => `${count} ${count === 1 ? "dead letter" : "dead letters"}`;

/** Counts, asks, does it, and says how many there were. One that it cannot be done to stays where it is. */
async function change(
  app: Lovage,
  options: Changing,
  words: { readonly doing: string; readonly done: string; readonly would: string; readonly will: string },
  act: (how: LettersOf & How) => Promise<ChangedLetters>,
): Promise<void> {
  const filter = filterOf(options);
  if (options.dryRun || !(options.yes || isOne(options))) {
    const found = await look(app, filter, (letter) => ({
      ...namesOf(letter),
      line: `${words.would} ${nameOf(letter)}: ${harmlessLine(letter.reason ?? "no reason was written")}`,
    }));
    if (options.dryRun && !options.json) for (const { line } of found) print(line);
    if (process.exitCode === EXIT.interrupted) return;
    if (options.dryRun || found.length === 0)
      return sayChanged(options, options.dryRun ? words.would : words.done, found, []);
    if (!(await ask(`${letters(found.length)} ${words.will}.`, false))) return declined();
  }
  const done: Named[] = [];
  const { failed } = await interruptible("looked at", (signal) =>
    withProgress(
      (seconds) => `${words.doing} dead letters: ${done.length}, ${seconds} s`,
      act({ ...filter, ...given({ by: options.by }), signal, each: (letter) => void done.push(namesOf(letter)) }),
    ),
  );
  sayChanged(options, words.done, done, failed);
}

/** How many it was done to, and what stays. Who names a letter expects it to be there; what a limit left out may be. */
function sayChanged(
  { id = [], limit = Number.POSITIVE_INFINITY, json }: Changing,
  what: string,
  done: readonly Named[],
  failed: ChangedLetters["failed"],
): void {
  const refused = failed.map(({ letter, error }) => ({
    ...namesOf(letter),
    name: nameOf(letter),
    reason: error instanceof LovageError ? error.message : oneLine(error),
  }));
  const found = [...done, ...refused];
  const isWhole = process.exitCode !== EXIT.interrupted && found.length < limit;
  const missing = isWhole ? id.filter((one) => !found.some(({ id, message }) => id === one || message === one)) : [];
  if (json) {
    const stays = refused.map(({ id, message, reason }) => ({ id: id ?? message, reason }));
    const gone = missing.map((one) => ({ id: one, reason: "there is no dead letter of it" }));
    print(toJson({ count: done.length, failed: [...stays, ...gone] }, 2));
  } else {
    print(`${what} ${letters(done.length)}.`);
    for (const { name, reason } of refused) complain(`lovage: stays a dead letter: ${name}: ${reason}`);
    for (const one of missing) complain(`lovage: there is no dead letter of ${harmlessLine(one)}`);
  }
  if (refused.length + missing.length > 0) process.exitCode ??= EXIT.failure;
}

type Named = Pick<ShownLetter, "id" | "message">;
/** What it is named by is kept, and not its body. */
const namesOf = ({ id, message }: ShownLetter): Named => ({ id, message });

interface How {
  readonly by?: string;
  readonly signal: AbortSignal;
  readonly each: (letter: ShownLetter) => void;
}

const nameOf = ({ task, id, message, queue }: ShownLetter): string =>
  harmlessLine(`${task ?? "?"}[${id ?? message}] of ${queue}`);

/**
 * What is kept of each letter that is meant. They are printed when all were looked at and are there for others again: on a terminal a
 * line says until then how far it has come.
 */
async function look<T>(app: Lovage, filter: LettersOf, keep: (letter: ShownLetter) => T): Promise<readonly T[]> {
  const kept: T[] = [];
  await interruptible("looked at", (signal) => {
    const work = async () => {
      for await (const letter of app.control.deadLetters.list(filter)) {
        if (signal.aborted) return;
        kept.push(keep(letter));
      }
    };
    return withProgress((seconds) => `Looking at dead letters: ${kept.length}, ${seconds} s`, work());
  });
  return kept;
}
