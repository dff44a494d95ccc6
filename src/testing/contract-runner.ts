/**
 * What the contract suites need of a test runner: the functions that Vitest, Jest and Bun all have under these names.
 * `brokerContract(name, make, features, { describe, test, expect, … })`.
 */
export interface ContractRunner {
  describe(name: string, body: () => void): unknown;
  test(name: string, body: () => Promise<void> | void, timeoutMs?: number): unknown;
  beforeAll(body: () => Promise<void> | void): unknown;
  afterAll(body: () => Promise<void> | void): unknown;
  afterEach(body: () => Promise<void> | void): unknown;
  expect(actual: unknown): Expectation;
}

interface Expectation {
  readonly not: Pick<Expectation, "toBe">;
  toBe(expected: unknown): void;
  toEqual(expected: unknown): void;
  toMatchObject(expected: object): void;
  toBeInstanceOf(expected: new (...args: never) => unknown): void;
  toBeUndefined(): void;
  toHaveLength(expected: number): void;
  toBeGreaterThan(expected: number): void;
  toBeLessThan(expected: number): void;
  toBeLessThanOrEqual(expected: number): void;
}
