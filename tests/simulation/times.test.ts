/**
 * Timeouts and deadlines (F44) in the real coordinator on a clock that the test moves: each ends a task with its own
 * reason, and what a worker does not end is ended for it.
 */
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { Task } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { AttemptRef, Control } from "@openclaw-cluster/contract/wire";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { controlTo, reportFrom } from "../../cluster/src/bus/subjects.ts";
import { HandClock } from "../support/hand-clock.ts";
import { playNode, type HandNode } from "../support/hand-node.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

let clock: HandClock;
let cluster: RamCluster;
let node: HandNode;
let told: Control[];
beforeEach(async () => {
  clock = new HandClock();
  cluster = await startRamCluster({ clock });
  node = await playNode(cluster, "ada");
  told = [];
  cluster.net.connect("spy").subscribe(controlTo(node.id), ({ body }) => void told.push(body as Control));
  node.beat(1);
  await settle();
});
afterEach(async () => {
  await node.close();
  await cluster.stop();
});

async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
}

/** The node says all the while that it holds these attempts, so its lease never ends. */
async function pass(ms: number, held: readonly AttemptRef[] = []): Promise<void> {
  const stepMs = Math.min(ms, 2_000);
  for (let passed = 0; passed < ms; passed += stepMs) {
    clock.advance(stepMs);
    node.beat(1, { held: [...held] });
    await settle();
  }
}

async function submit(spec: Partial<TaskSpec> = {}): Promise<TaskId> {
  const [made] = await cluster.coordinator.submit({ owner: "me", specs: [{ kind: "echo", input: {}, ...spec } as TaskSpec] });
  await settle();
  return made?.id as TaskId;
}

const task = (id: TaskId): Promise<Task> => cluster.coordinator.task(id);
const cancelled = (): AttemptRef[] => told.flatMap((control) => (control.kind === "cancel" ? control.attempts : []));

async function offered(id: TaskId): Promise<AttemptRef> {
  const offer = await vi.waitFor(() => {
    const found = node.offers.findLast((one) => one.task === id);
    expect(found).toBeDefined();
    return found;
  });
  const { attempt, epoch } = offer as AttemptRef;
  return { task: id, attempt, epoch };
}

async function started(id: TaskId): Promise<AttemptRef> {
  const ref = await offered(id);
  cluster.net
    .connect("ada")
    .publish(reportFrom(node.id), { boot: 1, n: 1, started: [{ ...ref, at: clock.wall() }], progressed: [], finished: [] });
  await settle();
  expect((await task(id)).state).toBe("running");
  return ref;
}

const nowhere: Partial<TaskSpec> = { require: { labels: { gpu: "yes" } } };

describe("in the queue", () => {
  it("queueMs: fails where no node takes it in time", async () => {
    const id = await submit({ ...nowhere, timeouts: { queueMs: 5_000 } });
    await pass(4_000);
    expect((await task(id)).state).toBe("queued");
    await pass(2_000);
    expect(await task(id)).toMatchObject({ state: "failed", reason: "queue_timeout", error: { code: "queue_timeout" } });
  });

  it("queueMs: begins anew when a node had taken it and was lost", async () => {
    const id = await submit({ timeouts: { queueMs: 5_000 } });
    const ref = await started(id);
    await pass(MINUTE_MS, [ref]);
    node.beat(1, { held: [], goodbye: "offline" });
    await settle();
    clock.advance(3_000);
    await settle();
    expect(await task(id)).toMatchObject({ state: "queued", reason: "node_lost" });
    node.beat(2);
    await settle();
    expect(await task(id)).toMatchObject({ state: "leased", attempt: 2 });
  });

  it("deadline: ends it waiting or running, and the node is told", async () => {
    const waiting = await submit({ ...nowhere, deadline: clock.wall() + 5_000 });
    const running = await submit({ deadline: clock.wall() + 5_000 });
    const ref = await started(running);
    await pass(6_000, [ref]);
    for (const id of [waiting, running])
      expect(await task(id)).toMatchObject({ state: "failed", reason: "deadline_passed", error: { code: "deadline_passed" } });
    expect(cancelled()).toContainEqual(ref);
  });

  it("deadline: holds for a task that was run again by hand, also after a restart of the coordinator; one that has passed forbids it", async () => {
    const id = await submit({ ...nowhere, deadline: clock.wall() + 20_000 });
    await cluster.coordinator.cancel(id);
    await cluster.restartCoordinator();
    await cluster.coordinator.retry(id);
    await pass(22_000);
    expect(await task(id)).toMatchObject({ state: "failed", reason: "deadline_passed" });
    await expect(cluster.coordinator.retry(id)).rejects.toMatchObject({ code: "state_conflict" });
  });
});

describe("on a node", () => {
  it("startMs: an offer that is not started goes back, and not to the same node at once", async () => {
    const id = await submit({ timeouts: { startMs: 3_000 } });
    const ref = await offered(id);
    await pass(4_000, [ref]);
    expect(await task(id)).toMatchObject({ state: "queued", reason: "refused_by_node" });
    expect(cancelled()).toContainEqual(ref);
    expect(await cluster.coordinator.attempts(id)).toMatchObject([{ outcome: "refused", error: { code: "start_timeout" } }]);
    expect((await cluster.coordinator.why(id)).refused).toMatchObject([{ node: "ada", code: "penalised" }]);
    await pass(4_000);
    expect(await task(id)).toMatchObject({ state: "leased", attempt: 2 });
  });

  it("U1: an attempt that its node never ends is ended here, as a failure that spends a retry", async () => {
    const id = await submit({ timeouts: { runMs: MINUTE_MS }, retry: { max: 0 } });
    const ref = await started(id);
    // Twice its time and the margin for large results.
    await pass(11 * MINUTE_MS, [ref]);
    expect((await task(id)).state).toBe("running");
    await pass(3 * MINUTE_MS, [ref]);
    expect(await task(id)).toMatchObject({ state: "failed", reason: "attempts_spent", error: { code: "run_timeout" } });
    expect(cancelled()).toContainEqual(ref);
  });

  it("U1: one that is to be cancelled, and whose node does not say that it has, ends as well", async () => {
    const id = await submit({ timeouts: { runMs: MINUTE_MS } });
    const ref = await started(id);
    expect((await cluster.coordinator.cancel(id)).state).toBe("cancelling");
    await pass(14 * MINUTE_MS, [ref]);
    expect(await task(id)).toMatchObject({ state: "cancelled" });
  });

  it("U1: neither a wall clock that jumps nor a coordinator that stood still ends anything", async () => {
    const id = await submit({ timeouts: { runMs: MINUTE_MS } });
    const ref = await started(id);
    await pass(MINUTE_MS, [ref]);
    const { wall } = clock;
    clock.wall = () => wall.call(clock) + 24 * HOUR_MS;
    await pass(MINUTE_MS, [ref]);
    clock.advance(5 * HOUR_MS);
    await pass(MINUTE_MS, [ref]);
    expect(await task(id)).toMatchObject({ state: "running", attempt: 1 });
  });
});
