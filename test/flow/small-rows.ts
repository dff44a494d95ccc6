/** A result backend in memory whose rows have few bytes: `small://name`. */
import { PayloadTooLarge, registerBackend } from "lovage";
import { openBackend } from "../../src/open.ts";

/** The most bytes of a result. */
export const LIMIT = 2_000;

registerBackend("small", async () => ({
  async open(url, context) {
    const backend = await openBackend(url.replace("small:", "memory:"), context);
    return {
      ...backend,
      maxBytes: LIMIT,
      async apply(commands) {
        const outcomes = [];
        for (const command of commands) {
          const size = "result" in command ? (command.result?.length ?? 0) : 0;
          outcomes.push(
            size > LIMIT ? new PayloadTooLarge("the row", size, LIMIT) : (await backend.apply([command]))[0],
          );
        }
        return outcomes.filter((outcome) => outcome !== undefined);
      },
    };
  },
}));
