/** What a worker says, before anybody decides how it looks. */

export const LOG_LEVELS = ["debug", "info", "warning", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Takes a line and its facts. `fields` are for machines: the line says the same in words. */
export type Log = (level: LogLevel, line: string, fields?: Readonly<Record<string, unknown>>) => void;

export const silent: Log = () => {};
