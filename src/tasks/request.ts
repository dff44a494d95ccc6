/** A message as the task that runs for it sees it. */
import { checkpointOf, type Message, ownHeaders } from "../protocol/message.ts";
import { parseValue } from "../protocol/values.ts";
import type { Config } from "../config/config.ts";
import type { Request } from "./context.ts";
import type { TaskOptions } from "./options.ts";

/** What the message does not say: facts of the delivery and of the worker. */
export interface RequestFacts {
  readonly queue: string;
  readonly hostname: string;
  readonly deliveries: number;
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
  readonly ignoreResult: boolean;
  readonly isEager?: boolean;
  readonly calledDirectly?: boolean;
}

/** What a call says goes before what its task says, that before what its queue says, and that before the app's settings. */
export function optionsInForce(
  config: Config,
  { timeLimit, softTimeLimit, ignoreResult }: TaskOptions,
  { timelimit: [hard, soft], ignoreResult: own }: Message,
  queue: string,
): Pick<RequestFacts, "timeLimit" | "softTimeLimit" | "ignoreResult"> {
  return {
    timeLimit: hard ?? timeLimit ?? config.taskQueues[queue]?.timeLimit ?? config.taskTimeLimit ?? null,
    softTimeLimit: soft ?? softTimeLimit ?? config.taskSoftTimeLimit ?? null,
    ignoreResult: own ?? ignoreResult ?? config.taskIgnoreResult,
  };
}

function stateOf(message: Message): unknown {
  const { text } = checkpointOf(message) ?? {};
  return text === undefined ? undefined : parseValue(text);
}

export function createRequest(message: Message, facts: RequestFacts): Request {
  return {
    id: message.id,
    task: message.task,
    args: message.args,
    kwargs: message.kwargs,
    retries: message.retries,
    eta: message.eta,
    expires: message.expires,
    rootId: message.rootId ?? message.id,
    parentId: message.parentId,
    group: message.group,
    groupIndex: message.groupIndex,
    chord: message.chord,
    chain: message.chain,
    callbacks: message.callbacks,
    errbacks: message.errbacks,
    timelimit: message.timelimit,
    timeLimit: facts.timeLimit,
    softTimeLimit: facts.softTimeLimit,
    ignoreResult: facts.ignoreResult,
    headers: ownHeaders(message),
    properties: message.properties,
    deliveryInfo: { ...message.deliveryInfo, priority: message.priority, redelivered: facts.deliveries > 1 },
    correlationId: message.correlationId,
    replyTo: message.replyTo,
    hostname: facts.hostname,
    origin: message.origin,
    shadow: message.shadow,
    lang: message.lang,
    argsrepr: message.argsrepr,
    kwargsrepr: message.kwargsrepr,
    replacedTaskNesting: message.replacedTaskNesting,
    stampedHeaders: message.stampedHeaders,
    stamps: message.stamps,
    queue: facts.queue,
    isEager: facts.isEager ?? false,
    calledDirectly: facts.calledDirectly ?? false,
    utc: true,
    deliveries: facts.deliveries,
    checkpoint: stateOf(message),
  };
}
