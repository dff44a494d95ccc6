/** The public suite, told to Vitest. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type ContractJournal, journalContract } from "lovage/testing";

export const describeJournal = (name: string, make: () => Promise<ContractJournal>): void =>
  journalContract(name, make, { describe, test, expect, beforeAll, afterAll, afterEach });
