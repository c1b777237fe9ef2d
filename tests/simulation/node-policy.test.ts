/** A node's own rule in a whole cluster: who may use it and when, passed over by the scheduler, told by why, and kept by the node itself. */
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Policy } from "../../cluster/src/core/policy.ts";
import { HandClock } from "../support/hand-clock.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

const ECHO: TaskSpec = { kind: "echo", input: { value: 1 } };
const ANN = { token: "annannan", owner: "ann" };
const BOB = { token: "bobbobbo", owner: "bob" };
const FOR_ANN = Policy.parse({ version: 1, users: { allow: ["ann"] } });
/** The hand's clock begins on 2023-11-14 at 22:30 in UTC. */
const NIGHTS = Policy.parse({ version: 1, hours: { quiet: ["22:00-07:00"], timeZone: "UTC" } });

let clock: HandClock;
let cluster: RamCluster;
beforeEach(async () => {
  clock = new HandClock();
  cluster = await startRamCluster({ clock });
});
afterEach(() => cluster.stop());

async function submit(by: typeof ANN, spec: TaskSpec = ECHO): Promise<TaskId> {
  const [made] = await cluster.coordinator.submit({ ...by, specs: [spec] });
  return (made as { id: TaskId }).id;
}

/** In steps, with turns of the event loop between. */
async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 500) {
    clock.advance(500);
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  }
}

const stateOf = async (id: TaskId) => (await cluster.coordinator.task(id)).state;

test("a node works for its users only; a task of another goes elsewhere, and why says so, also after a restart", async () => {
  await cluster.addWorker("studio", {}, FOR_ANN);
  const [hers, his] = [await submit(ANN), await submit(BOB)];
  await pass(2_000);
  expect(await stateOf(hers)).toBe("succeeded");
  const waits = "Waits: no node can run it. studio does not allow the user bob (allow it in policy.yaml on studio).";
  expect(await cluster.coordinator.why(his)).toMatchObject({ sentence: waits, refused: [{ node: "studio", code: "policy" }] });
  expect(cluster.coordinator.plan([ECHO], ANN)[0]?.node).toBe("studio");
  expect(cluster.coordinator.plan([ECHO], BOB)[0]?.refused).toMatchObject([{ code: "policy" }]);
  await cluster.restartCoordinator();
  await pass(4_000);
  expect((await cluster.coordinator.why(his)).sentence).toBe(waits);
  await cluster.addWorker("nas");
  await pass(2_000);
  expect(await cluster.coordinator.task(his)).toMatchObject({ state: "succeeded", node: "nas" });
});

test("where the coordinator does not know it, the node refuses by itself, no retry is spent, and nobody else is held up", async () => {
  await cluster.addWorker("studio", { policy: { kinds: ["echo"] } }, FOR_ANN);
  const his = await submit(BOB);
  await pass(1_000);
  expect(await stateOf(his)).toBe("queued");
  expect((await cluster.coordinator.attempts(his))[0]).toMatchObject({ outcome: "refused", error: { code: "policy_denied" } });
  expect((await cluster.coordinator.why(his)).sentence).toContain("the user bob may not use this node");
  // A node that refused one user's task is not passed over for another's.
  const hers = await submit(ANN);
  await pass(1_000);
  expect(await stateOf(hers)).toBe("succeeded");
});

test("a tool, or a conversation of the machine's, that no node allows costs no attempt, and why says so", async () => {
  const openclaw = { version: "1", reachable: true, agents: ["main"], models: [] };
  const policy = Policy.parse({ version: 1, allow: { agents: ["*"], tools: ["web_fetch"] } });
  await cluster.addWorker("studio", { kinds: ["echo", "tool", "agent"], openclaw }, policy);
  const refused: [TaskSpec, string][] = [
    [{ kind: "tool", input: { tool: "exec" } }, "the tool exec"],
    [{ kind: "tool", input: { tool: "web_fetch", session: "main" } }, "the session main"],
    [{ kind: "agent", input: { message: "go on", session: "cluster-abcd1234-t1" } }, "the session cluster-abcd1234-t1"],
  ];
  for (const [spec, what] of refused) {
    const id = await submit(BOB, spec);
    await pass(1_000);
    expect((await cluster.coordinator.why(id)).sentence).toContain(`studio does not allow ${what} (allow it in policy.yaml on studio)`);
    expect(await cluster.coordinator.attempts(id)).toEqual([]);
  }
  for (const spec of [
    { kind: "tool", input: { tool: "web_fetch" } },
    { kind: "agent", input: { message: "go on", session: "daily" } },
  ] as const)
    expect(cluster.coordinator.plan([spec], BOB)[0]?.node).toBe("studio");
});

test("in quiet hours it takes nothing; when they are over it says so, and the work begins", async () => {
  await cluster.addWorker("studio", {}, NIGHTS);
  const id = await submit(ANN);
  await pass(2_000);
  expect((await cluster.coordinator.why(id)).sentence).toBe(
    "Waits: no node can run it. studio does not take work until 07:00 (UTC) by its policy (wait, or change hours in policy.yaml on studio).",
  );
  clock.jump(8.5 * 3_600_000);
  await pass(31_000);
  expect(await stateOf(id)).toBe("succeeded");
});
