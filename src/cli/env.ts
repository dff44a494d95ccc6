/** `lovage env`: the outputs of a deployment as the environment of a shell. */
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import type { Command } from "commander";
import { ENVIRONMENT, outputOf } from "../config/values.ts";
import { ImproperlyConfigured } from "../errors.ts";
import { didYouMean } from "../nearest.ts";
import { EXIT_HELP } from "./exit.ts";
import { jsonOption } from "./options.ts";
import { toJson, print } from "./output.ts";

/** By the end of an output's name, which `TaskQueues` gives it. */
const VARIABLES = new Map(
  (Object.keys(ENVIRONMENT) as (keyof typeof ENVIRONMENT)[]).map((variable) => [outputOf(variable), variable]),
);

type Outputs = Readonly<Record<string, string>>;

export function envCommand(program: Command): void {
  program
    .command("env")
    .description("print the outputs of a deployment as environment variables for a shell")
    .argument(
      "<file>",
      "the file of `cdk deploy --outputs-file`, or the output of `aws cloudformation describe-stacks`; -: standard input",
    )
    .option("--stack <name>", "the stack whose outputs to use, if the file has several")
    .addOption(jsonOption("the values by the names of the variables"))
    .addHelpText(
      "after",
      `${EXIT_HELP}

Examples:
  $ eval "$(lovage env outputs.json)"
  $ eval "$(aws cloudformation describe-stacks --stack-name Shop | lovage env -)"`,
    )
    .action(async (file: string, { stack, json }: { readonly stack?: string; readonly json: boolean }) => {
      const outputs = parseOutputs(file === "-" ? await text(process.stdin) : await read(file));
      const environment = environmentOf(outputs, stack);
      print(
        json
          ? toJson(environment, 2)
          : Object.entries(environment)
              .map(([name, value]) => `export ${name}='${value.replaceAll("'", "'\\''")}'`)
              .join("\n"),
      );
    });
}

const read = (file: string): Promise<string> =>
  readFile(file, "utf8").catch((error: Error) => {
    throw new ImproperlyConfigured("file", `cannot be read: ${error.message}`, { cause: error });
  });

/** The outputs of each stack, from either form. */
function parseOutputs(written: string): ReadonlyMap<string, Outputs> {
  const refuse = (cause?: unknown) =>
    new ImproperlyConfigured(
      "file",
      "must be what `cdk deploy --outputs-file <file>` writes, or the answer of `aws cloudformation describe-stacks`",
      { cause },
    );
  let given: unknown;
  try {
    given = JSON.parse(written);
  } catch (error) {
    throw refuse(error);
  }
  if (typeof given !== "object" || given === null) throw refuse();
  const { Stacks } = given as { readonly Stacks?: readonly Described[] };
  if (Stacks === undefined) return new Map(Object.entries(given as Record<string, Outputs>));
  return new Map(
    Stacks.map(({ StackName, Outputs = [] }) => [
      StackName,
      Object.fromEntries(Outputs.map(({ OutputKey, OutputValue }) => [OutputKey, OutputValue])),
    ]),
  );
}

/** A stack, as CloudFormation describes it. */
interface Described {
  readonly StackName: string;
  readonly Outputs?: readonly { readonly OutputKey: string; readonly OutputValue: string }[];
}

/** Throws `ImproperlyConfigured` where the outputs are not those of one deployment. */
function environmentOf(stacks: ReadonlyMap<string, Outputs>, stack: string | undefined): Record<string, string> {
  if (stack !== undefined && !stacks.has(stack)) {
    throw new ImproperlyConfigured(
      "--stack",
      `the file has no outputs of ${stack}${didYouMean(stack, [...stacks.keys()])}`,
    );
  }
  const found: (readonly [variable: string, value: string, output: string])[] = [];
  for (const [name, outputs] of stacks) {
    if (stack !== undefined && name !== stack) continue;
    for (const [output, value] of Object.entries(outputs)) {
      const end = /Lovage[A-Za-z]+$/.exec(output)?.[0] ?? "";
      const variable = VARIABLES.get(end);
      if (variable !== undefined) found.push([variable, value, `${name}.${output}`]);
    }
  }
  if (found.length === 0) {
    throw new ImproperlyConfigured("file", "has no outputs of TaskQueues: none is called LovageBrokerUrl");
  }
  const twice = Map.groupBy(found, ([variable]) => variable)
    .values()
    .find(({ length }) => length > 1);
  if (twice !== undefined) {
    const outputs = twice.map(([, , output]) => output).join(", ");
    throw new ImproperlyConfigured("--stack", `must be given to say which is meant, because the file has ${outputs}`);
  }
  return Object.fromEntries(found);
}
