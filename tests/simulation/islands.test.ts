/**
 * Worlds in which control nodes and machines are cut off together, or left without a quorum, while work goes on that takes long: nodes go on
 * by what is said to them then, and nothing runs twice for it.
 */
import { expect, test } from "vitest";
import { simulate } from "./world/world.ts";

const SEEDS = 15;
const STEPS = 15_000;
const kind = { islands: true } as const;

test(`${SEEDS} worlds of ${STEPS} steps`, { timeout: 120_000 }, async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violations, trace } = await simulate(seed, STEPS, kind);
    expect(violations, `npm run sim -- --seed ${seed} --steps ${STEPS} --islands\n${trace.join("\n")}`).toEqual([]);
  }
});
