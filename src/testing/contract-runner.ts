/**
 * What the contract suites need of a test runner: the functions that Vitest, Jest and Bun all have under these names.
 * `brokerContract(name, make, features, { describe, test, expect, … })`.
 */
export interface ContractRunner {
  /** Makes a block of tests. */
  describe(name: string, body: () => void): unknown;
  /** Makes a test. */
  test(name: string, body: () => Promise<void> | void, timeoutMs?: number): unknown;
  /** Runs before the first test of the block. */
  beforeAll(body: () => Promise<void> | void): unknown;
  /** Runs when all tests of the block have run. */
  afterAll(body: () => Promise<void> | void): unknown;
  /** Runs after each test of the block. */
  afterEach(body: () => Promise<void> | void): unknown;
  /** Says what a value has to be. */
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
