import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { didYouMean, nearest } from "../src/nearest.ts";

describe("nearest", () => {
  it.each([
    ["taskRoute", "taskRoutes"],
    ["routes", undefined],
    ["TASKROUTES", "taskRoutes"],
    ["taksQueues", "taskQueues"],
    ["xyz", undefined],
    ["taskRouting", "taskRoutes"],
    ["tskRoutingTo", undefined],
  ])("finds for %s %s", (name, expected) => {
    expect(nearest(name, ["taskRoutes", "taskQueues", "timezone"])).toBe(expected);
  });

  it("decides by case between candidates that are equally near", () => {
    expect(nearest("TASK_ROUTE", ["task_routes", "TASK_ROUTES"])).toBe("TASK_ROUTES");
  });

  it("finds every candidate by its own name", () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { minLength: 1 }), fc.nat(), (candidates, i) => {
        const name = candidates[i % candidates.length] as string;
        expect(nearest(name, candidates)).toBe(name);
      }),
    );
  });

  it("finds a name of six letters or more that lacks any one of them", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 6 }), fc.nat(), (name, i) => {
        const at = i % name.length;
        expect(nearest(name.slice(0, at) + name.slice(at + 1), [name])).toBe(name);
      }),
    );
  });
});

describe("didYouMean", () => {
  it("is the end of a sentence, or nothing", () => {
    expect(didYouMean("taskRoute", ["taskRoutes"])).toBe('; did you mean "taskRoutes"?');
    expect(didYouMean("x", ["taskRoutes"])).toBe("");
  });
});
