/**
 * A coordinator that stood still, and that another one has replaced meanwhile. It learns of that from its store, with the
 * first turn that it takes, also where that has nothing to write: until then it believes leases that are not true any more.
 */
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { Report } from "@openclaw-cluster/contract/wire";
import { afterEach, beforeEach, expect, test } from "vitest";
import { reportFrom } from "../../cluster/src/bus/subjects.ts";
import { StoreFenced } from "../../cluster/src/store/store.ts";
import { HandClock } from "../support/hand-clock.ts";
import { playNode, type HandNode } from "../support/hand-node.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

/** After that an offer is made again. */
const REOFFER_MS = 3_000;

let clock: HandClock;
let cluster: RamCluster;
let node: HandNode;
let id: TaskId;
beforeEach(async () => {
  clock = new HandClock();
  cluster = await startRamCluster({ clock });
  node = await playNode(cluster, "studio");
  node.beat(1);
  await settle();
  const [submitted] = await cluster.coordinator.submit({ owner: "me", specs: [{ kind: "echo", input: {} }] });
  id = submitted!.id;
  await settle();
  expect(node.offers).toHaveLength(1);
  await cluster.store.claim();
});
afterEach(async () => {
  await node.close();
  await expect(cluster.stop()).rejects.toBeInstanceOf(StoreFenced);
});

async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
}

test("it gives no verdict on what its successor has given out", async () => {
  const outcome = { kind: "succeeded", result: 1 } as const;
  const finished = [{ task: id, attempt: 1, epoch: 2, endedAt: 0, runMs: 0, outcome }];
  const report: Report = { boot: 1, n: 100, started: [], progressed: [], finished };
  const answer = cluster.net.connect(node.id, clock).request(reportFrom(node.id), report, 5_000);
  const heard = answer.then(
    () => "a verdict",
    () => "no answer",
  );
  await settle();
  clock.advance(5_000);
  expect(await heard).toBe("no answer");
});

test("it makes no offer again", async () => {
  clock.advance(REOFFER_MS);
  node.beat(1);
  await settle();
  expect(node.offers).toHaveLength(1);
});
