/**
 * What becomes of a task that was offered to a life of a node which ended before it could say whether it had started:
 * the coordinator is real, the node is played by hand on the ram bus.
 */
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Heartbeat, Offer, Offers } from "@openclaw-cluster/contract/wire";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Bus } from "../../cluster/src/bus/bus.ts";
import { heartbeatFrom, offersTo } from "../../cluster/src/bus/subjects.ts";
import { factsOf, startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

const NODE = NodeId.parse("studio");
const LOAD = { cpu: 0, memoryFreeMiB: 1_000, diskFreeMiB: 1_000, running: 0, held: 0 };

let cluster: RamCluster;
let bus: Bus;
let offers: Offer[];
beforeEach(async () => {
  cluster = await startRamCluster();
  await cluster.coordinator.enrol({ id: NODE, publicKey: `U${"A".repeat(55)}` });
  bus = cluster.net.connect(NODE);
  offers = [];
  bus.subscribe(offersTo(NODE), ({ body }) => offers.push(...(body as Offers).offers));
});
afterEach(async () => {
  await bus.close();
  await cluster.stop();
});

function beat(boot: number, more: Partial<Heartbeat> = {}): void {
  bus.publish(heartbeatFrom(NODE), { node: NODE, boot, load: LOAD, facts: factsOf(), held: [], ...more } satisfies Heartbeat);
}

async function offered(onLost?: TaskSpec["onLost"]) {
  beat(1);
  const spec: TaskSpec = { kind: "echo", input: {}, ...(onLost !== undefined && { onLost }) };
  const [submitted] = await cluster.coordinator.submit({ owner: "me", specs: [spec] });
  await vi.waitFor(() => expect(offers).toHaveLength(1));
  return submitted!.id;
}

const stateOf = async (id: Awaited<ReturnType<typeof offered>>) => {
  const { state, reason, attempt } = await cluster.coordinator.task(id);
  return { state, reason, attempt };
};

test.each([
  ["fail", { state: "failed", reason: "outcome_unknown", attempt: 1 }],
  ["ask", { state: "waiting", reason: "asked", attempt: 1 }],
  ["retry", { state: "leased", reason: "placed", attempt: 2 }],
  [undefined, { state: "leased", reason: "placed", attempt: 2 }],
] as const)("the node restarted: onLost %s", async (onLost, expected) => {
  const id = await offered(onLost);
  beat(2);
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
  beat(2);
  await vi.waitFor(() => expect(cluster.coordinator.node(NODE).state).toBe("ready"));
  expect(await stateOf(id)).toEqual(expected);
});

test("the same life says goodbye and does not hold it: it never started, whatever onLost says", async () => {
  const id = await offered("fail");
  beat(1, { goodbye: true });
  await vi.waitFor(async () => expect(await stateOf(id)).toEqual({ state: "queued", reason: "node_lost", attempt: 1 }));
});
