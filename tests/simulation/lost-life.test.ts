/** What becomes of a task that was offered to a life of a node which ended before it could say whether it had started. */
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { playNode, type HandNode } from "../support/hand-node.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

let cluster: RamCluster;
let node: HandNode;
beforeEach(async () => {
  cluster = await startRamCluster();
  node = await playNode(cluster, "studio");
});
afterEach(async () => {
  await node.close();
  await cluster.stop();
});

async function offered(onLost?: TaskSpec["onLost"]): Promise<TaskId> {
  node.beat(1);
  const spec: TaskSpec = { kind: "echo", input: {}, ...(onLost !== undefined && { onLost }) };
  const [submitted] = await cluster.coordinator.submit({ owner: "me", specs: [spec] });
  await vi.waitFor(() => expect(node.offers).toHaveLength(1));
  return submitted!.id;
}

async function stateOf(id: TaskId) {
  const { state, reason, attempt } = await cluster.coordinator.task(id);
  return { state, reason, attempt };
}

test.each([
  ["fail", { state: "failed", reason: "outcome_unknown", attempt: 1 }],
  ["ask", { state: "waiting", reason: "asked", attempt: 1 }],
  ["retry", { state: "leased", reason: "placed", attempt: 2 }],
  [undefined, { state: "leased", reason: "placed", attempt: 2 }],
] as const)("the node restarted: onLost %s", async (onLost, expected) => {
  const id = await offered(onLost);
  node.beat(2);
  await vi.waitFor(async () => expect(await stateOf(id)).toEqual(expected));
});

test.each([
  ["fail", { state: "failed", reason: "outcome_unknown", attempt: 1 }],
  ["ask", { state: "waiting", reason: "asked", attempt: 1 }],
  // Nothing speaks against the same offer once more: the node answers as before, or runs it.
  [undefined, { state: "leased", reason: "placed", attempt: 1 }],
] as const)("coordinator and node restarted: onLost %s", async (onLost, expected) => {
  const id = await offered(onLost);
  await cluster.restartCoordinator();
  node.beat(2);
  await vi.waitFor(() => expect(cluster.coordinator.node(node.id).state).toBe("ready"));
  expect(await stateOf(id)).toEqual(expected);
});

test("the same life says goodbye and does not hold it: it never started, whatever onLost says", async () => {
  const id = await offered("fail");
  node.beat(1, { goodbye: "offline" });
  await vi.waitFor(async () => expect(await stateOf(id)).toEqual({ state: "queued", reason: "node_stopped", attempt: 1 }));
});
