/** A node that claims to hold thousands of attempts gets an answer that fits into a message, and the rest with the next ones. */
import { NodeId, taskId } from "@openclaw-cluster/contract/ids";
import { HeartbeatReply } from "@openclaw-cluster/contract/wire";
import { expect, test } from "vitest";
import { heartbeatFrom } from "../../cluster/src/bus/subjects.ts";
import { keyFor } from "../support/fake-keys.ts";
import { startRamCluster } from "../support/ram-cluster.ts";

const LIAR = NodeId.parse("liar");
const HELD = 15_000;
/** Of `held` the coordinator names so many at a time. */
const NAMED_MAX = 5_000;

test("of what it is to stop, an answer names a part", async () => {
  const cluster = await startRamCluster();
  await cluster.coordinator.enrol({ id: LIAR, publicKey: keyFor(LIAR) });
  const bus = cluster.net.connect(LIAR);
  const held = Array.from({ length: HELD }, (_, n) => ({ task: taskId(n + 1), attempt: 1_000_000_000, epoch: 1_000_000_000 }));
  const load = { cpu: 0, memoryFreeMiB: 1, diskFreeMiB: 1, running: 0, held: HELD };
  const reply = HeartbeatReply.parse(await bus.request(heartbeatFrom(LIAR), { node: LIAR, boot: 1, n: 1, load, held }, 5_000));
  expect(reply.stop).toEqual(held.slice(0, NAMED_MAX));
  await bus.close();
  await cluster.stop();
});
