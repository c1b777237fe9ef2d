/**
 * F03: the coordinator dies with a long queue. The next one gives the tasks out in the order in which they waited, soon after
 * it is there, and what ran meanwhile has gone on. `npm run bench -- --restart` measures it with 10,000 tasks.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { crash } from "../../scripts/bench/restart.ts";
import { LAPTOP } from "../../cluster/src/core/liveness.ts";
import { startCluster, type TestCluster } from "../support/daemon.ts";

const OPEN = 2_000;
/** The bound. It is for the whole start; here for what follows on it, as a test machine has others to serve too. */
const DISPATCHING_MS = 5_000;

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster();
  // What runs there is to outlive the start, which on a busy test machine can take longer than the lease of a machine that stays.
  await cluster.addWorker("bench1", { slots: 16, labels: { [LAPTOP]: "yes" } });
  await cluster.addWorker("bench2", { slots: 16 });
});
afterAll(() => cluster?.end());

test("kill -9 with 2,000 open tasks: given out again in their order, and what runs is not disturbed", async () => {
  let upAt = Number.NaN;
  const from = Date.now();
  const seen = await crash(cluster.client, OPEN, async () => {
    await cluster.lead.kill();
    await cluster.lead.start();
    upAt = Date.now();
  });
  expect(seen).toMatchObject({ inOrder: true, disturbed: 0 });
  expect(seen.firstAt).toBeGreaterThan(from);
  expect(seen.firstAt - upAt).toBeLessThanOrEqual(DISPATCHING_MS);
});
