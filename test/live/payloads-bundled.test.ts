/** The same on the client that a function's bundle has in place of the SDK's. */
import { vi } from "vitest";

vi.mock("#aws/s3", () => import("../../src/aws/bundled-s3.ts"));

await import("./payloads.test.ts");
