import { describe, expect, it } from "vitest";
import { Fairness } from "./fairness.ts";

const LEVEL = 4;

/** One task of this key comes, is served, and was the only one. */
function serveOnce(fairness: Fairness, key: string, slots: number): void {
  const flow = fairness.join(LEVEL, key);
  fairness.serve(LEVEL, flow, slots);
  fairness.leave(LEVEL, flow);
}

describe("virtual time", () => {
  it("grows with what a key was given, and is remembered while it is away", () => {
    const fairness = new Fairness();
    serveOnce(fairness, "eve", 3);
    expect(fairness.peek(LEVEL, "eve")).toBe(3);
    expect(fairness.peek(LEVEL, "mallory")).toBe(0);
    expect(fairness.peek(LEVEL + 1, "eve")).toBe(0);
  });

  it("Q1: gives no arrears to one that was away", () => {
    const fairness = new Fairness();
    serveOnce(fairness, "eve", 1);
    const busy = fairness.join(LEVEL, "mallory");
    for (let i = 0; i < 10; i++) fairness.serve(LEVEL, busy, 1);
    expect(fairness.peek(LEVEL, "eve")).toBe(9);
  });

  it("does not remember for ever: keys that come once and never again take no room", () => {
    const fairness = new Fairness();
    serveOnce(fairness, "eve", 100);
    const waiting = fairness.join(LEVEL, "mallory");
    fairness.serve(LEVEL, waiting, 50);
    for (let i = 0; i < 20_000; i++) serveOnce(fairness, `user${i}`, 1);
    expect(fairness.peek(LEVEL, "eve")).toBe(0);
    expect(fairness.startOf(LEVEL, waiting)).toBe(50);
    expect(fairness.peek(LEVEL, "mallory")).toBe(50);
  });
});
