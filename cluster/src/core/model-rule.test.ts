import { describe, expect, test } from "vitest";
import { lends, modelRefusal, type LendingMoment } from "./model-rule.ts";
import { Policy } from "./policy.ts";

const MAINS: LendingMoment = { now: Date.UTC(2026, 5, 1, 12), timeZone: "UTC", onBattery: false };
const BATTERY: LendingMoment = { ...MAINS, onBattery: true };
const ANN = { token: "t1", name: "ann" };

const policy = (more: object = {}): Policy => Policy.parse({ version: 1, allow: { models: ["*"] }, ...more });

describe("models are lent", () => {
  test("as the lists say, and deny wins over allow (L1)", () => {
    const some = policy({ allow: { models: ["qwen3*"] }, deny: { models: ["*:70b"] } });
    expect(["qwen3:8b", "qwen3:70b", "llama3:8b"].map((model) => lends(some, model, MAINS))).toEqual([true, false, false]);
    expect(modelRefusal(some, "llama3:8b", ANN, MAINS)).toBe("llama3:8b is not lent at the moment");
    expect(lends(Policy.parse({ version: 1 }), "qwen3:8b", MAINS)).toBe(false);
  });

  test("not in quiet hours", () => {
    const quiet = policy({ hours: { quiet: ["11:00-13:00"], timeZone: "UTC" } });
    expect(lends(quiet, "m", MAINS)).toBe(false);
    expect(modelRefusal(quiet, "m", ANN, MAINS)).toBe("m is not lent at the moment");
  });

  test("to whom the policy names", () => {
    const hers = policy({ users: { allow: ["ann"] } });
    expect(modelRefusal(hers, "m", ANN, MAINS)).toBeUndefined();
    expect(modelRefusal(hers, "m", { token: "t2", name: "bob" }, MAINS)).toContain("bob may not use this node");
  });

  test("not on the battery, unless the policy says so (L2)", () => {
    expect([lends(policy(), "m", MAINS), lends(policy(), "m", BATTERY)]).toEqual([true, false]);
    expect(modelRefusal(policy(), "m", ANN, BATTERY)).toBe("m is not lent while its machine runs on its battery");
    const generous = policy({ battery: { models: true } });
    expect([lends(generous, "m", MAINS), lends(generous, "m", BATTERY)]).toEqual([true, true]);
    expect(modelRefusal(generous, "m", ANN, BATTERY)).toBeUndefined();
  });

  test("what is never lent is not said to wait for mains", () => {
    expect(modelRefusal(policy({ deny: { models: ["m"] } }), "m", ANN, BATTERY)).toBe("m is not lent at the moment");
  });
});
