/**
 * Machines that come with a code, get other keys and leave for good, while storms rage and everything dies, their own commands
 * included: what holds of tasks holds all the same, and no machine is ever shut out by an exchange that was cut short.
 */
import { expect, test } from "vitest";
import { simulate } from "./world/world.ts";

const SEEDS = 30;
const STEPS = 1_500;

test(`${SEEDS} worlds of ${STEPS} steps`, async () => {
  let came = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violations, trace } = await simulate(seed, STEPS, { members: true });
    expect(violations, `npm run sim -- --seed ${seed} --steps ${STEPS} --members\n${trace.join("\n")}`).toEqual([]);
    if (trace.some((line) => /leaves for good|gets another key/.test(line))) came += 1;
  }
  expect(came).toBeGreaterThan(SEEDS / 2);
});
