/** An offer whose arrival nobody has confirmed yet may stand on a slow line: a second one behind it would only lengthen the row. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { HandClock } from "../support/hand-clock.ts";
import { playNode, type HandNode } from "../support/hand-node.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

let clock: HandClock;
let cluster: RamCluster;
let node: HandNode;
beforeEach(async () => {
  clock = new HandClock();
  cluster = await startRamCluster({ clock });
  node = await playNode(cluster, "studio");
});
afterEach(async () => {
  await node.close();
  await cluster.stop();
});

/** A heartbeat that names nothing, so long after the last one, and what follows from it. */
async function beatAfter(ms: number): Promise<number> {
  clock.advance(ms);
  node.beat(1);
  for (let count = 0; count < 50; count++) await new Promise(setImmediate);
  return node.offers.length;
}

test("is made again when it arrived and is not held, but not while it is on its way", async () => {
  node.confirms = false;
  await beatAfter(0);
  await cluster.coordinator.submit({ owner: "me", specs: [{ kind: "echo", input: { value: "x".repeat(60_000) } }] });
  expect(await beatAfter(1_000)).toBe(1);
  expect(await beatAfter(2_500)).toBe(1);
  // Then it counts as lost on its way.
  node.confirms = true;
  expect(await beatAfter(2_000)).toBe(2);
  expect(await beatAfter(500)).toBe(3);
});

test("a small one is not confirmed, and made again when it has had its time", async () => {
  node.confirms = false;
  await beatAfter(0);
  await cluster.coordinator.submit({ owner: "me", specs: [{ kind: "echo", input: {} }] });
  expect(await beatAfter(1_000)).toBe(1);
  expect(await beatAfter(1_500)).toBe(1);
  expect(await beatAfter(1_000)).toBe(2);
});
