/** Log lines in Lambda's JSON format: a JSON object a line, which Lambda takes as it is. */
import { harmlessJson } from "../brief.ts";
import { LOG_LEVELS, type Log } from "../workers/log.ts";

export interface LambdaLog {
  readonly log: Log;
  /** The invocation that speaks from now on. */
  begin(requestId: string): void;
}

interface LogTarget {
  readonly now: () => number;
  /** Takes a line, without its end. */
  readonly write: (line: string) => void;
  /** Lambda's name of the lowest level to show, as it stands in `AWS_LAMBDA_LOG_LEVEL`. Default `INFO`. */
  readonly level: string | undefined;
}

const LAMBDA_LEVELS = { debug: "DEBUG", info: "INFO", warning: "WARN", error: "ERROR" } as const;
const LOWEST: Readonly<Record<string, number>> = { TRACE: 0, DEBUG: 0, INFO: 1, WARN: 2, ERROR: 3, FATAL: 4 };

/** The facts of a delivery that only some lines about its task bring along. */
interface TaskFacts {
  readonly queue?: unknown;
  readonly retries?: unknown;
}

export function createLambdaLog({ now, write, level }: LogTarget): LambdaLog {
  const lowest = LOWEST[level ?? "INFO"] ?? LOWEST["INFO"];
  let requestId = "";
  let tasks = new Map<unknown, TaskFacts>();
  return {
    begin(id) {
      requestId = id;
      tasks = new Map();
    },
    log(severity, message, fields = {}) {
      const { id, queue, retries, ...rest } = fields;
      let known = tasks.get(id) ?? {};
      if (queue !== undefined || (retries !== undefined && retries !== known.retries)) {
        known = { queue: queue ?? known.queue, retries: retries ?? known.retries };
        if (id !== undefined) tasks.set(id, known);
      }
      if (LOG_LEVELS.indexOf(severity) < (lowest ?? 0)) return;
      write(
        harmlessJson(
          JSON.stringify({
            timestamp: new Date(now()).toISOString(),
            level: LAMBDA_LEVELS[severity],
            requestId,
            message,
            id,
            queue: known.queue,
            // The first attempt is 1; a message counts the retries before it.
            attempt: typeof known.retries === "number" ? known.retries + 1 : undefined,
            ...rest,
          }),
        ),
      );
    },
  };
}
