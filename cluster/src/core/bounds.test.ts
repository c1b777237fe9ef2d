import { LimitName } from "@openclaw-cluster/contract/command-limits";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { boundsOf, breachText, Limits, limitsHere } from "./bounds.ts";

const OWN = Limits.parse({ memoryMiB: 1_000 });

test("a policy without a word about limits has some; half of the memory is for one command, and enough to start a runtime", () => {
  const shipped = Limits.parse({});
  expect(limitsHere(shipped, 16_000)).toEqual({ memoryMiB: 8_000, processes: 1_024, fileMiB: 16_384, openFiles: 4_096, nice: 5 });
  expect(limitsHere(shipped, 600).memoryMiB).toBe(512);
  expect(limitsHere(OWN, 600).memoryMiB).toBe(1_000);
});

test("L1: whatever a task asks for, no limit is wider than the policy's, and it says who has set it", () => {
  const size = fc.integer({ min: 16, max: 100_000 });
  const asked = fc.record({ memoryMiB: size, processes: size, fileMiB: size, openFiles: size }, { requiredKeys: [] });
  fc.assert(
    fc.property(asked, (wish) => {
      const bounds = boundsOf(OWN, 8_000, wish);
      const own = boundsOf(OWN, 8_000);
      for (const name of LimitName.options) {
        expect(bounds[name].value).toBe(Math.min(own[name].value, wish[name] ?? Infinity));
        expect(bounds[name].by).toBe(bounds[name].value < own[name].value ? "task" : "policy");
      }
    }),
  );
});

describe("what a breach says", () => {
  test.each(LimitName.options)("%s: how much, and where to change it", (name) => {
    const ofPolicy = breachText("make", name, boundsOf(OWN, 8_000), "studio");
    expect(ofPolicy).toMatch(
      new RegExp(`^make was held to its limit of \\d+ .*; limits\\.${name} in policy\\.yaml on studio sets that limit\\.$`),
    );
    expect(breachText("make", name, boundsOf(OWN, 8_000, { [name]: 16 }), "studio")).toMatch(
      new RegExp(`limit of 16 .*input\\.limits\\.${name}`),
    );
  });
});

test("a limit that is none is a fault of the file", () => {
  for (const bad of [{ memoryMiB: 0 }, { processes: -1 }, { openFiles: 1 }, { nice: -5 }, { nice: 20 }, { memory: 5 }, { fileMiB: 1.5 }])
    expect(Limits.safeParse(bad).success).toBe(false);
});
