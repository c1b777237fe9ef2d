import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { agent, command, echo, model } from "./fixtures.ts";
import { mayLead, WINDOW_SLOTS_MAX, windowSlots } from "./window.ts";

describe("the window", () => {
  it("is the slots where the kind is unknown or not short", () => {
    expect(windowSlots(4, undefined)).toBe(4);
    expect(windowSlots(4, 16)).toBe(4);
    expect(windowSlots(4, 900)).toBe(4);
  });

  it("is what the slots work off in 16 ms, up to 64 tasks each", () => {
    expect(windowSlots(4, 0)).toBe(256);
    expect(windowSlots(4, 0.25)).toBe(256);
    expect(windowSlots(4, 1)).toBe(64);
    expect(windowSlots(4, 5)).toBe(12);
  });

  it("never shrinks below the slots, never grows beyond its limit, and falls as work gets longer", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_024 }),
        fc.double({ min: 0, max: 10, noNaN: true }),
        fc.double({ min: 0, max: 10, noNaN: true }),
        (slots, a, b) => {
          const [short, long] = [Math.min(a, b), Math.max(a, b)];
          expect(windowSlots(slots, long)).toBeGreaterThanOrEqual(slots);
          expect(windowSlots(slots, short)).toBeGreaterThanOrEqual(windowSlots(slots, long));
          expect(windowSlots(slots, short)).toBeLessThanOrEqual(WINDOW_SLOTS_MAX);
        },
      ),
    );
  });

  it.each<[boolean, string, TaskSpec]>([
    [true, "an echo", echo()],
    [true, "a command", command()],
    [true, "a command that says the defaults", command({ require: { slots: 1, memoryMiB: 0 }, onLost: "retry" })],
    [true, "a tool", { kind: "tool", input: { tool: "search" } }],
    [false, "an agent turn", agent()],
    [false, "a request to a model", model()],
    [false, "an echo that pretends to work", { kind: "echo", input: { delayMs: 10 } }],
    [false, "what takes two slots", command({ require: { slots: 2 } })],
    [false, "what takes memory", command({ require: { memoryMiB: 1 } })],
    [false, "what may not simply run again", command({ onLost: "ask" })],
    [false, "what may not run again at all", command({ onLost: "fail" })],
  ])("W1: %s for %s", (expected, _name, spec) => {
    expect(mayLead(spec)).toBe(expected);
  });
});
