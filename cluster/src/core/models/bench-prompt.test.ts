import fc from "fast-check";
import { expect, test } from "vitest";
import { benchPrompt } from "./bench-prompt.ts";

/** A row of numbers from 0 to below 1, other ones for each seed. */
function chance(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 16_807 + 11) % 2_147_483_647) / 2_147_483_647;
}

const BEGINNING_CHARS = 24;

test("no two prompts begin alike (B1)", () => {
  const random = chance(1);
  const beginnings = Array.from({ length: 1_000 }, () => benchPrompt(64, random).slice(0, BEGINNING_CHARS));
  expect(new Set(beginnings).size).toBe(1_000);
});

test("a prompt has about as many words as tokens are wished, and asks for a long answer (B2)", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4_096 }), fc.nat(1_000_000), (tokens, seed) => {
      const prompt = benchPrompt(tokens, chance(seed + 1));
      expect(prompt).toContain("long story");
      const words = prompt.split(/\s+/).length;
      expect(words).toBeGreaterThanOrEqual(Math.min(tokens, 8));
      expect(words).toBeLessThanOrEqual(Math.max(tokens, 30));
      expect(prompt).not.toContain("undefined");
    }),
    { numRuns: 100 },
  );
});
