/** Log lines in Lambda's JSON format: a JSON object a line, which Lambda takes as it is. */
import { jsonLine, LOG_LEVELS, type Log } from "../workers/log.ts";

interface LogTarget {
  readonly now: () => number;
  /** Takes a line, without its end. */
  readonly write: (line: string) => void;
  /** Lambda's name of the lowest level to show, as it stands in `AWS_LAMBDA_LOG_LEVEL`. Default `INFO`. */
  readonly level: string | undefined;
  /** The invocation that speaks. */
  readonly requestId: () => string;
}

const LOWEST: Readonly<Record<string, number>> = { TRACE: 0, DEBUG: 0, INFO: 1, WARN: 2, ERROR: 3, FATAL: 4 };

export function createLambdaLog({ now, write, level, requestId }: LogTarget): Log {
  const lowest = LOWEST[level ?? "INFO"] ?? 1;
  return (severity, line, fields) => {
    if (LOG_LEVELS.indexOf(severity) >= lowest)
      write(jsonLine(now(), severity, { requestId: requestId() }, line, fields));
  };
}
