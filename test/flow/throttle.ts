import { OperationalError } from "lovage";
import type { Backend } from "../../src/results/backend.ts";

export const refused = new OperationalError("slow down", { retryable: true });

/** Has a backend that is open refuse commands, as if the service were throttled, whenever `strikes` says so. */
export function throttleBackend(backend: Backend, strikes: () => boolean): void {
  const apply = backend.apply.bind(backend);
  const spoilt: Backend["apply"] = async (commands) => (strikes() ? commands.map(() => refused) : apply(commands));
  Object.assign(backend, { apply: spoilt });
}
