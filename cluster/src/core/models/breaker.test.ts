import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Breakers, FAILURES_MAX, OPEN_MS, PROBE_MS_MAX, type Ending } from "./breaker.ts";
import { lent } from "./fixtures.ts";

const place = lent("a", "m");
const FAULTS: readonly Ending[] = ["unreachable", "silent", "faulty"];

function opened(): Breakers {
  const breakers = new Breakers();
  for (let i = 0; i < FAILURES_MAX; i++) breakers.end(place, "silent", 0);
  return breakers;
}

describe("a breaker", () => {
  it("opens after so many failures in a row, for that place alone", () => {
    expect(opened().waitMs(place, 10)).toBe(OPEN_MS - 10);
    expect(opened().isOpen(lent("b", "m"), 0)).toBe(false);
    const breakers = new Breakers();
    for (let i = 0; i < 3 * FAILURES_MAX; i++) breakers.end(place, i % FAILURES_MAX === 0 ? "answered" : "faulty", 0);
    expect(breakers.isOpen(place, 0)).toBe(false); // K2
  });

  it("does not count what is not the server's fault (K1)", () => {
    const breakers = new Breakers();
    for (let i = 0; i < 20; i++) breakers.end(place, i % 2 === 0 ? "wrong" : "given_up", 0);
    expect(breakers.isOpen(place, 0)).toBe(false);
  });

  it("lets one through after a while, whose end decides (K3)", () => {
    for (const [ending, waitMs] of [
      ["answered", 0],
      ["wrong", 0],
      ["given_up", 0],
      ["faulty", OPEN_MS],
    ] as const) {
      const breakers = opened();
      expect(breakers.isOpen(place, OPEN_MS)).toBe(false);
      breakers.begin(place, OPEN_MS);
      expect(breakers.waitMs(place, OPEN_MS)).toBe(PROBE_MS_MAX);
      breakers.end(place, ending, OPEN_MS);
      expect(breakers.waitMs(place, OPEN_MS)).toBe(waitMs);
    }
    const breakers = opened();
    breakers.begin(place, OPEN_MS);
    expect(breakers.isOpen(place, OPEN_MS + PROBE_MS_MAX)).toBe(false);
  });

  it("is not held open longer by what was sent before it opened, and is closed by an answer to it (K4)", () => {
    const breakers = opened();
    breakers.end(place, "silent", OPEN_MS - 1);
    expect(breakers.waitMs(place, OPEN_MS - 1)).toBe(1);
    breakers.end(place, "answered", OPEN_MS - 1);
    expect(breakers.isOpen(place, OPEN_MS - 1)).toBe(false);
  });

  it("is open for nobody else where all faults come from one asker, and for all when another one meets one (K5)", () => {
    const shut = (): Breakers => {
      const breakers = new Breakers();
      for (let i = 0; i < FAILURES_MAX; i++) breakers.end(place, "faulty", 0, "bob");
      expect([breakers.waitMs(place, 10, "bob"), breakers.waitMs(place, 10, "ann")]).toEqual([OPEN_MS - 10, 0]);
      return breakers;
    };
    // An answer to her closes it for him too (K2).
    const answered = shut();
    answered.begin(place, 1, "ann");
    expect(answered.waitMs(place, 1, "bob")).toBe(OPEN_MS - 1);
    answered.end(place, "answered", 2, "ann");
    expect(answered.isOpen(place, 2, "bob")).toBe(false);
    for (const ending of FAULTS) {
      const failed = shut();
      failed.end(place, ending, 1_000, "ann");
      expect(failed.waitMs(place, 1_000, "ann")).toBe(OPEN_MS - 1_000);
    }
    // Half open it is for him alone, too: what she gives up or fails of is not his one request.
    const halfOpen = shut();
    halfOpen.begin(place, OPEN_MS, "bob");
    halfOpen.end(place, "given_up", OPEN_MS, "ann");
    expect([halfOpen.waitMs(place, OPEN_MS, "bob"), halfOpen.waitMs(place, OPEN_MS, "ann")]).toEqual([PROBE_MS_MAX, 0]);
    halfOpen.end(place, "faulty", OPEN_MS, "bob");
    expect([halfOpen.waitMs(place, OPEN_MS, "bob"), halfOpen.waitMs(place, OPEN_MS, "ann")]).toEqual([OPEN_MS, 0]);
  });

  it("is for all as soon as two askers, or a connection that broke, are among the failures (K5)", () => {
    for (const last of [
      ["faulty", "ann"],
      ["unreachable", "bob"],
    ] as const) {
      const breakers = new Breakers();
      for (let i = 1; i < FAILURES_MAX; i++) breakers.end(place, "faulty", 0, "bob");
      breakers.end(place, last[0], 0, last[1]);
      expect(breakers.isOpen(place, 0, "carol")).toBe(true);
    }
  });

  it("is never open for one asker by what another one's requests make of the server (K5)", () => {
    const anyEnd = fc.record({
      ending: fc.constantFrom<Ending>("answered", "wrong", "given_up", "faulty"),
      passMs: fc.constantFrom(0, 1, OPEN_MS, PROBE_MS_MAX),
    });
    fc.assert(
      fc.property(fc.array(anyEnd, { maxLength: 80 }), (ends) => {
        const breakers = new Breakers();
        let now = 0;
        for (const { ending, passMs } of ends) {
          now += passMs;
          breakers.begin(place, now, "bob");
          breakers.end(place, ending, now, "bob");
          expect(breakers.isOpen(place, now, "ann")).toBe(false);
        }
      }),
    );
  });

  it("behaves as its model does, whatever happens in whatever order", () => {
    const anyStep = fc.oneof(
      fc.record({ kind: fc.constant("pass" as const), ms: fc.constantFrom(1, OPEN_MS / 2, OPEN_MS, PROBE_MS_MAX) }),
      fc.record({ kind: fc.constant("begin" as const) }),
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant("end" as const),
          ending: fc.constantFrom<Ending>("answered", "wrong", "given_up", ...FAULTS),
        }),
      },
    );
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 60 }), (steps) => {
        const breakers = new Breakers();
        let now = 0;
        let inRow = 0;
        let lastFaultMs = -Infinity;
        for (const step of steps) {
          if (step.kind === "pass") now += step.ms;
          else if (step.kind === "begin") breakers.begin(place, now);
          else {
            breakers.end(place, step.ending, now);
            if (FAULTS.includes(step.ending)) {
              inRow++;
              lastFaultMs = now;
            } else if (step.ending !== "given_up") inRow = 0;
          }
          const waitMs = breakers.waitMs(place, now);
          expect(waitMs).toBeLessThanOrEqual(PROBE_MS_MAX);
          // Without so many failures since the last answer it is closed, and an answer always closes it.
          if (inRow < FAILURES_MAX) expect(waitMs).toBe(0);
          if (inRow === FAILURES_MAX && lastFaultMs === now && step.kind === "end" && step.ending !== "given_up")
            expect(waitMs).toBe(OPEN_MS);
        }
      }),
    );
  });
});
