/**
 * Worlds under their seeds: whatever goes wrong, what was promised holds. `npm run sim` runs many more of them, and longer.
 * A bug that it found stays as a plant (world/plants.ts): seeds mean another world as soon as this one changes.
 */
import { expect, test } from "vitest";
import { simulate } from "./world/world.ts";

const SEEDS = 150;
const STEPS = 1_000;

test("the same seed is the same world", async () => {
  const [first, second] = [await simulate(7, STEPS), await simulate(7, STEPS)];
  expect(second).toEqual(first);
  expect(first.tasks).toBeGreaterThan(0);
  expect(first.trace.length).toBeGreaterThan(0);
});

test(`${SEEDS} worlds of ${STEPS} steps`, async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violations, trace } = await simulate(seed, STEPS);
    expect(violations, `npm run sim -- --seed ${seed} --steps ${STEPS}\n${trace.join("\n")}`).toEqual([]);
  }
});
