/**
 * `npm run localstack` and `npm run ministack`: an emulator of AWS in the foreground, until Ctrl-C. The commands that follow
 * find it at the default port; for another port, and for SDKs of one's own, it prints what to export. Where AWS_ENDPOINT_URL is set
 * there is an emulator already, and it only sees whether that one answers.
 *
 *     node scripts/localstack.ts [localstack|ministack|dynamodb] [port]
 *
 * EMULATOR names the emulator too. Ends with 69 where this machine lacks what the emulator needs.
 */
import { once } from "node:events";
import { EMULATORS, type EmulatorKind, emulatorEnv, RequirementMissing, startEmulator } from "./emulator.ts";
import { DEFAULT_PORT, localAws, main } from "./local-aws.ts";

/** EX_UNAVAILABLE, as the scripts below scripts/emulators have it. */
const UNAVAILABLE = 69;

const given = process.argv.slice(2);
const kind = given.find((argument) => !/^\d+$/.test(argument)) ?? process.env["EMULATOR"] ?? "localstack";
const port = Number(given.find((argument) => /^\d+$/.test(argument)) ?? DEFAULT_PORT);

await main(async () => {
  if (!isKind(kind)) throw new Error(`there is no emulator ${JSON.stringify(kind)}; known: ${EMULATORS.join(", ")}`);
  if (!process.env["AWS_ENDPOINT_URL"]) return serve(kind);
  const { endpoint } = await localAws();
  console.error(`AWS_ENDPOINT_URL names ${endpoint}, which answers: nothing to start. Next: npm run deploy:local`);
});

async function serve(kind: EmulatorKind): Promise<void> {
  const emulator = await startEmulator(kind, { port }).catch((error: unknown) => {
    if (!(error instanceof RequirementMissing)) throw error;
    console.error(`${kind} cannot run here. ${error.message}`);
    return process.exit(UNAVAILABLE);
  });
  // Listened for before anything is printed: who reads the last line may answer it with a signal at once.
  const told = Promise.race(["SIGINT", "SIGTERM"].map((signal) => once(process, signal)));
  for (const [name, value] of Object.entries(emulatorEnv(emulator.endpoint))) console.log(`export ${name}=${value}`);
  console.error(`${kind} serves ${emulator.endpoint}; Ctrl-C ends it. Next, in another terminal: npm run deploy:local`);
  if (port !== DEFAULT_PORT)
    console.error(`(with AWS_ENDPOINT_URL=${emulator.endpoint} before it, since the port is not ${DEFAULT_PORT})`);
  await told;
  await emulator.stop();
  process.exit(0);
}

function isKind(name: string): name is EmulatorKind {
  return (EMULATORS as readonly string[]).includes(name);
}
