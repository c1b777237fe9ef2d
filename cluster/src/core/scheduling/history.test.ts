import { describe, expect, it } from "vitest";
import { History, kindIndex, meanRunMs, NodeHistory } from "./history.ts";

const COMMAND = kindIndex("command");

describe("the history", () => {
  it("knows nothing of a node until something ran there", () => {
    const [history, own, other] = [new History(), new NodeHistory(), new NodeHistory()];
    history.observe(own, COMMAND, 100, true);
    expect(meanRunMs(own, COMMAND)).toBe(100);
    expect(meanRunMs(other, COMMAND)).toBeUndefined();
    expect(meanRunMs(own, kindIndex("agent"))).toBeUndefined();
  });

  it("draws a node with few runs towards everybody's average, and lets it stand on its own with many", () => {
    const [history, fast, fresh] = [new History(), new NodeHistory(), new NodeHistory()];
    const slow = new NodeHistory();
    for (let i = 0; i < 200; i++) history.observe(slow, COMMAND, 1_000, true);
    history.observe(fast, COMMAND, 10, true);
    const afterOne = history.expectedRunMs(fast, COMMAND);
    expect(afterOne).toBeGreaterThan(500);
    expect(afterOne).toBeLessThan(1_000);
    expect(history.expectedRunMs(fresh, COMMAND)).toBeGreaterThan(800);
    for (let i = 0; i < 200; i++) history.observe(fast, COMMAND, 10, true);
    expect(history.expectedRunMs(fast, COMMAND)).toBeLessThan(30);
  });

  it("forgets what is long ago", () => {
    const [history, own] = [new History(), new NodeHistory()];
    for (let i = 0; i < 100; i++) history.observe(own, COMMAND, 1_000, true);
    for (let i = 0; i < 50; i++) history.observe(own, COMMAND, 1, true);
    expect(meanRunMs(own, COMMAND)).toBeLessThan(10);
  });

  it("Y1: failures cost trust and teach no run time", () => {
    const [history, own] = [new History(), new NodeHistory()];
    for (let i = 0; i < 10; i++) history.observe(own, COMMAND, 1, false);
    expect(meanRunMs(own, COMMAND)).toBeUndefined();
    expect(own.trust[COMMAND]).toBeLessThan(0.4);
    expect(own.trust[kindIndex("echo")]).toBe(1);
    for (let i = 0; i < 60; i++) history.observe(own, COMMAND, 1, true);
    expect(own.trust[COMMAND]).toBeGreaterThan(0.99);
  });

  it("believes no node that a run took longer than one may, so that the others' averages stay what they are", () => {
    const [history, liar, honest] = [new History(), new NodeHistory(), new NodeHistory()];
    history.observe(honest, COMMAND, 100, true);
    history.observe(liar, COMMAND, Number.MAX_VALUE, true);
    for (let i = 0; i < 500; i++) history.observe(honest, COMMAND, 100, true);
    expect(history.expectedRunMs(honest, COMMAND)).toBeLessThan(200);
  });
});
