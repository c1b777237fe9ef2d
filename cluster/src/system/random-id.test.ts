import { expect, test } from "vitest";
import { randomId } from "./random-id.ts";

test("a name has the asked letters, eight unless said", () => {
  expect(randomId()).toMatch(/^[a-z2-7]{8}$/);
  expect(randomId(6)).toMatch(/^[a-z2-7]{6}$/);
});

test("every letter comes, each about as often as any other (R1), and no name twice", () => {
  const names = Array.from({ length: 4_000 }, () => randomId());
  expect(new Set(names).size).toBe(names.length);
  const counts = new Map<string, number>();
  for (const letter of names.join("")) counts.set(letter, (counts.get(letter) ?? 0) + 1);
  expect(counts.size).toBe(32);
  // 1,000 of each are expected, with a deviation of 31: ten of them are never met by chance, and one letter more or less is 1,000.
  for (const count of counts.values()) expect(Math.abs(count - 1_000)).toBeLessThan(320);
});
