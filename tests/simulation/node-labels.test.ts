/** Labels of a node: an operator's are bounded like its own, however many requests they come in, and both together are shown. */
import { NodeId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { Node } from "@openclaw-cluster/contract/node";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

const ONE = NodeId.parse("one");
const labels = (name: string, from: number, count: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`${name}${from + n}`, "yes"]));

let cluster: RamCluster;
beforeEach(async () => {
  cluster = await startRamCluster();
  await cluster.addWorker(ONE, { labels: labels("own", 0, LIMITS.labelsMax) });
});
afterEach(() => cluster.stop());

test("one too many is refused with all that came with it, and noted nowhere", async () => {
  const { coordinator } = cluster;
  await coordinator.patchNode(ONE, { labels: labels("set", 0, LIMITS.labelsMax) });
  const before = (await coordinator.auditLog({ after: 0, limit: 500 })).entries.length;
  await expect(coordinator.patchNode(ONE, { labels: { another: "yes" }, slots: 9 })).rejects.toMatchObject({ code: "bad_request" });
  const node = Node.parse(coordinator.node(ONE));
  expect(Object.keys(node.labels)).toHaveLength(2 * LIMITS.labelsMax);
  expect([node.slots, node.labels["another"]]).toEqual([4, undefined]);
  expect((await coordinator.auditLog({ after: 0, limit: 500 })).entries).toHaveLength(before);
  await coordinator.patchNode(ONE, { labels: { set0: null, another: "yes" } });
  expect(coordinator.node(ONE).labels["another"]).toBe("yes");
});
