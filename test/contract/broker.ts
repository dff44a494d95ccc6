/** The public suite, told to Vitest. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { brokerContract, type ContractBroker, type ContractFeatures } from "lovage/testing";

export { CONTRACT_QUEUES } from "lovage/testing";

export const describeBroker = (name: string, make: () => Promise<ContractBroker>, features: ContractFeatures): void =>
  brokerContract(name, make, features, { describe, test, expect, beforeAll, afterAll, afterEach });
