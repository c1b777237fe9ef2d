import fc from "fast-check";
import { expect, it } from "vitest";
import { ReplayWindow } from "./replay-window.ts";

it("takes each number once, in whatever order they come", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 600 }), (numbers) => {
      const window = new ReplayWindow();
      const taken = numbers.filter((number) => window.take(number));
      expect(taken).toEqual([...new Set(numbers)]);
    }),
  );
});

it("takes none that is far below the highest, and none twice after any number of others", () => {
  const window = new ReplayWindow();
  for (let number = 1; number <= 20_000; number += 1) expect(window.take(number)).toBe(true);
  expect(window.take(1)).toBe(false);
  expect(window.take(19_999)).toBe(false);
  expect(window.take(20_003)).toBe(true);
  expect(window.take(20_001)).toBe(true);
  expect(window.take(20_001)).toBe(false);
});
