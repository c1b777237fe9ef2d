import { describe, expect, test } from "vitest";
import { figuresOf, type AnswerMarks, type BenchOutcome } from "./bench-figures.ts";

const answered = (saidMs: AnswerMarks["saidMs"], usage?: AnswerMarks["usage"]): BenchOutcome => ({
  kind: "answered",
  marks: { saidMs, ...(usage && { usage }) },
});
const failed = (detail: string): BenchOutcome => ({ kind: "failed", fault: { code: "node_lost", detail } });

describe("the figures of a place", () => {
  test("by its server's count", () => {
    const usage = { promptTokens: 500, outputTokens: 5 };
    expect(figuresOf([[answered([200, 300, 400, 500, 600], usage)]], 512)).toEqual({
      ...{ firstTokenMs: 200, promptTokensPerS: 2_500, tokensPerS: 10, promptTokens: 500, tokens: 5 },
      ...{ counted: "usage", asked: 1, faults: [] },
    });
  });

  test("by pieces and by the wished prompt, where its server does not count", () => {
    expect(figuresOf([[answered([100, 150, 200])]], 400)).toMatchObject({
      ...{ promptTokensPerS: 4_000, tokensPerS: 20, promptTokens: 400, tokens: 3, counted: "events" },
    });
  });

  test("of pieces with several tokens in each: those of the first one belong to reading (F3)", () => {
    // Twelve tokens in three pieces of four; eight of them in 0.4 s.
    expect(figuresOf([[answered([100, 300, 500], { promptTokens: 10, outputTokens: 12 })]], 10).tokensPerS).toBeCloseTo(20);
  });

  test("are the median of all rounds (F2)", () => {
    const rounds = [answered([100, 200]), answered([5_000, 5_010]), answered([120, 320])].map((one) => [one]);
    expect(figuresOf(rounds, 60)).toMatchObject({ firstTokenMs: 120, tokensPerS: 10, asked: 3 });
    expect(figuresOf(rounds.slice(0, 2), 60).firstTokenMs).toBe(2_550);
  });

  test("of answers at the same time: each one's speed, and that of all together", () => {
    const round = [answered([100, 200, 300, 400, 500]), answered([200, 300, 400, 500, 600])];
    const { tokensPerS, togetherPerS } = figuresOf([round], 10);
    expect(tokensPerS).toBeCloseTo(10);
    expect(togetherPerS).toBeCloseTo(16);
  });

  test("count what failed, and are taken of the rest", () => {
    const figures = figuresOf([[failed("gone")], [answered([100, 200])]], 10);
    expect(figures).toMatchObject({ firstTokenMs: 100, asked: 2, faults: [{ code: "node_lost", detail: "gone" }] });
    expect(figuresOf([[failed("gone")]], 10)).toEqual({ asked: 1, faults: [{ code: "node_lost", detail: "gone" }] });
    expect(figuresOf([], 10)).toEqual({ asked: 0, faults: [] });
  });

  test("leave out what cannot be told: the speed of one piece, or of pieces that came at once", () => {
    for (const saidMs of [[100], [100, 100]] as const) expect(figuresOf([[answered([...saidMs])]], 10).tokensPerS).toBeUndefined();
    expect(figuresOf([[answered([0])]], 10)).toMatchObject({ firstTokenMs: 0, tokens: 1 });
  });
});
