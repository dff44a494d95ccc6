/** The public suite, told to Vitest. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { backendContract, type ContractBackend } from "lovage/testing";

export const describeBackend = (
  name: string,
  make: () => Promise<ContractBackend>,
  options?: { readonly runs?: number },
): void => backendContract(name, make, { describe, test, expect, beforeAll, afterAll, afterEach }, options);
