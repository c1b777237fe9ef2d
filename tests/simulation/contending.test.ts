/**
 * Worlds in which control nodes contend for one etcd, while they die, stand still, are cut off and hand over: what holds of tasks holds
 * all the same, no two coordinators commit under one epoch, and somebody leads again.
 */
import { expect, test } from "vitest";
import { simulate } from "./world/world.ts";

const SEEDS = 30;
const STEPS = 1_500;
const kind = { contend: true } as const;

test("the same seed is the same world", async () => {
  const [first, second] = [await simulate(7, STEPS, kind), await simulate(7, STEPS, kind)];
  expect(second).toEqual(first);
  expect(first.tasks).toBeGreaterThan(0);
});

test(`${SEEDS} worlds of ${STEPS} steps`, async () => {
  let changes = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violations, trace, terms } = await simulate(seed, STEPS, kind);
    expect(violations, `npm run sim -- --seed ${seed} --steps ${STEPS} --contend\n${trace.join("\n")}`).toEqual([]);
    changes += terms - 1;
  }
  expect(changes).toBeGreaterThan(SEEDS / 4);
});
