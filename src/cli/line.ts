/**
 * The line from a process or a thread to the one that keeps it. The code of tasks has it too, and says what is for others there:
 * `process.send("ready")` for a process manager, or whatever a library sends that was made to be forked. So what Lovage says is marked.
 */
interface Marked {
  readonly lovage: unknown;
}

/** A report as it is said. */
export const marked = (report: unknown): Marked => ({ lovage: report });

/** The report in what came; `undefined`: somebody else said it. `T` is what the other end says. */
export const reportIn = <T>(message: unknown): T | undefined =>
  typeof message === "object" && message !== null && "lovage" in message ? (message.lovage as T) : undefined;
