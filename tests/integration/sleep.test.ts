/** A laptop whose lid is closed while it works: its system announces the sleep, and its tasks go to another machine at once. */
import { NodeId, type TaskId } from "@openclaw-cluster/contract/ids";
import type { NodeState } from "@openclaw-cluster/contract/node";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, beforeAll, expect, test } from "vitest";
import { announcedSleep, type AnnouncedSleep } from "../support/announced-sleep.ts";
import { startCluster, until, untilOver, type TestCluster } from "../support/daemon.ts";

/** Far below the 60 s after which a laptop's silence would tell. */
const AT_ONCE_MS = 10_000;

const LAPTOP = NodeId.parse("laptop");
const policy = { allow: { echo: true, commands: ["sh -c *"] } };

let cluster: TestCluster;
let logind: AnnouncedSleep;
beforeAll(async () => {
  logind = announcedSleep();
  cluster = await startCluster();
  const inside = ["env", ...Object.entries(logind.env).map(([name, value]) => `${name}=${value}`)];
  await cluster.addWorker("laptop", { labels: { laptop: "yes" }, inside, slots: 4, policy });
});
afterAll(async () => {
  await cluster?.end();
  logind.remove();
});

const work = (more: Partial<TaskSpec> = {}): TaskSpec =>
  ({ kind: "command", input: { argv: ["sh", "-c", 'case "$OPENCLAW_CLUSTER_NODE" in laptop) sleep 120;; esac'] }, ...more }) as TaskSpec;

const laptopIs = (state: NodeState): Promise<true> =>
  until(`the laptop is ${state}`, async () => (await cluster.client.node({ id: LAPTOP })).state === state || undefined, AT_ONCE_MS);
const taskIs = (id: TaskId, state: string): Promise<true> =>
  until(`${id} is ${state}`, async () => (await cluster.client.getTask({ id })).state === state || undefined, AT_ONCE_MS);

test("its tasks run elsewhere, or wait for a person, long before its silence would tell; awake it works again", async () => {
  const [moves, asks] = [await cluster.client.submit(work()), await cluster.client.submit(work({ onLost: "ask" }))];
  for (const { id } of [moves, asks]) await taskIs(id, "running");
  await cluster.addWorker("studio", { policy });

  logind.signal(true);
  await laptopIs("asleep");
  const moved = await untilOver(cluster, moves.id, AT_ONCE_MS);
  expect(moved).toMatchObject({ state: "succeeded", attempt: 2 });
  const waiting = await cluster.client.getTask({ id: asks.id });
  expect(waiting).toMatchObject({ state: "waiting", error: { code: "node_stopped" } });
  expect(waiting.error?.message).toContain("laptop went to sleep");
  // Told and done: nothing keeps the machine awake any more.
  await until("the sleep is not held back", () => logind.holds().at(-1) === "released" || undefined, AT_ONCE_MS);

  const wanted = await cluster.client.submit({ kind: "echo", input: {}, require: { nodes: ["laptop"] } } as TaskSpec);
  await taskIs(wanted.id, "queued");
  expect((await cluster.cli("why", wanted.id)).stdout).toContain("laptop is asleep");
  expect((await cluster.cli("nodes")).stdout).toContain("asleep");

  logind.signal(false);
  await laptopIs("ready");
  expect(await untilOver(cluster, wanted.id, AT_ONCE_MS)).toMatchObject({ state: "succeeded" });
  expect(logind.holds()).toEqual(["held", "released", "held"]);
});
